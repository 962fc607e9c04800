//! The command line of mlx-rails: `cargo xtask VERB`.
//!
//! One file a verb; `flags.rs` is the whole command line at a glance. stdout
//! carries data, stderr progress. Exit codes: [`exit`].

#![forbid(unsafe_code)]

mod bench;
mod bench_flags;
mod build;
mod cable;
mod cargo;
mod doctor;
mod exit;
mod fetch;
mod flags;
mod gc;
mod matrix;
mod patch;
mod preflight;
mod programs;
mod rig;
mod session;
mod terminal;
mod test;
mod verify;
mod verify_flags;
mod wheel;

use std::process::ExitCode;

use clap::Parser;
use flags::{Cli, Verb};
use session::Session;

fn main() -> ExitCode {
    // A build starts this program again to drive CMake.
    if let Some(code) = toolchain::driver::run_if_asked() {
        return code;
    }
    exit::on_panic();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return exit::usage(&usage),
    };
    exit::report(run(cli.verb))
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    let session = Session::begin()?;
    match verb {
        Verb::Bench(flags) => bench::run(&session, &flags),
        Verb::Build(flags) => build::run(&session, &flags),
        Verb::Cable(flags) => cable::run(&session, &flags),
        Verb::Doctor(flags) => doctor::run(&session, &flags),
        Verb::Fetch(flags) => fetch::run(&session, &flags),
        Verb::Gc(flags) => gc::run(&session, &flags),
        Verb::Matrix(flags) => matrix::run(&session, &flags),
        Verb::Patch(flags) => patch::run(&session, &flags),
        Verb::Preflight(flags) => preflight::run(&session, &flags),
        Verb::Rig(flags) => rig::run(&session, &flags),
        Verb::Test(flags) => test::run(&session, &flags),
        Verb::Verify(flags) => verify::run(&session, &flags),
        Verb::Wheel(flags) => wheel::run(&session, &flags),
    }
}
