//! The command line of mlx-rails: `cargo xtask VERB`.
//!
//! One file for each verb; `flags.rs` contains the whole command line. stdout carries
//! data, stderr progress: [`terminal::output`]. Exit codes: [`exit`].

#![forbid(unsafe_code)]
#![warn(clippy::print_stdout)]

mod bench;
mod bench_flags;
mod build;
mod cable;
mod cargo;
mod collectives;
mod collectives_flags;
mod doctor;
mod exit;
mod fetch;
mod flags;
mod gc;
mod hosts;
mod job_matrix;
mod matrix;
mod model;
mod overlay;
mod patch;
mod pin;
mod predict;
mod predict_flags;
mod preflight;
mod programs;
mod release;
mod report;
mod rig;
mod rig_doctor;
mod session;
mod test;
mod verify;
mod verify_flags;
mod wheel;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use exit::Result;
use flags::{Cli, Verb};
use session::Session;
use terminal::{out, output, say, warn};

fn main() -> ExitCode {
    // A build starts this program again to run CMake.
    if let Some(code) = toolchain::driver::run_if_asked() {
        return code;
    }
    let cli = match flags::parse() {
        Ok(cli) => cli,
        Err(usage) => return exit::usage(&usage),
    };
    cli.global.terminal.apply();
    // No code looks at state that a panic left incomplete.
    exit::report(catch_unwind(AssertUnwindSafe(|| run(cli))))
}

fn run(cli: Cli) -> Result {
    let launcher = terminal::listen()?;
    // These need no store, so they run where there is none.
    let verb = match cli.verb {
        Verb::Cable(flags) => return cable::run(launcher.cancel(), &flags),
        Verb::Matrix(flags) => return matrix::run(&launcher, *flags),
        Verb::Report(flags) => return report::run(&flags),
        verb => verb,
    };
    let session = Session::begin(launcher, cli.global.offline)?;
    match verb {
        Verb::Bench(flags) => bench::run(&session, &flags),
        Verb::Build(flags) => build::run(&session, &flags),
        Verb::Collectives(flags) => collectives::run(&session, &flags),
        Verb::Doctor(flags) => doctor::run(&session, &flags),
        Verb::Fetch(flags) => fetch::run(&session, &flags),
        Verb::Gc(flags) => gc::run(&session, &flags),
        Verb::Overlay(flags) => overlay::run(&session, &flags),
        Verb::Patch(flags) => patch::run(&session, &flags),
        Verb::Pin(flags) => pin::run(&session, &flags),
        Verb::Predict(flags) => predict::run(&session, &flags),
        Verb::Preflight(flags) => preflight::run(&session, &flags),
        Verb::Release(flags) => release::run(&session, &flags),
        Verb::Rig(flags) => rig::run(&session, &flags),
        Verb::Test(flags) => test::run(&session, &flags),
        Verb::Verify(flags) => verify::run(&session, &flags),
        Verb::Wheel(flags) => wheel::run(&session, &flags),
        Verb::Cable(_) | Verb::Matrix(_) | Verb::Report(_) => {
            unreachable!("done without a session")
        }
    }
}
