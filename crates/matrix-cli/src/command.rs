//! The command `rail-matrix`.

use std::{
    ffi::OsString,
    panic::{AssertUnwindSafe, catch_unwind},
};

use clap::{CommandFactory, FromArgMatches, Parser};
use terminal::{exit, output};

use crate::{EXO_PIN, Error, Front, Step, flags::Series};

/// Device matrices that jaccl cannot hang on: make one from any description of the cabling, or
/// check one.
#[derive(Parser)]
#[command(
    name = "rail-matrix",
    bin_name = "rail-matrix",
    version,
    after_help = "Exit codes: 0 done; 1 a check failed; 2 your flags or input; 70 our failure; \
                  130 interrupted."
)]
struct RailMatrix {
    #[command(subcommand)]
    step: Step,
    #[command(flatten)]
    global: terminal::Flags,
}

const FRONT: Front = Front {
    command: "rail-matrix",
    mlx: EXO_PIN,
    series: Series::Stock,
};

/// Runs `rail-matrix` with these arguments, of which the first is the program, and returns
/// its exit code. It prints on the process's stdout and stderr and takes over its signals,
/// so a process calls it once.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let command = match parse(&arguments) {
        Ok(command) => command,
        Err(usage) => return exit::usage(&usage),
    };
    command.global.apply();
    // No code looks at state that a panic left incomplete. It has printed its message.
    let outcome = catch_unwind(AssertUnwindSafe(|| answer(&command.step)));
    outcome.unwrap_or(exit::Kind::Ours.code())
}

fn parse(arguments: &[OsString]) -> Result<RailMatrix, clap::Error> {
    terminal::set_colors(arguments);
    let mut command = FRONT.put(RailMatrix::command());
    RailMatrix::from_arg_matches(&command.try_get_matches_from_mut(arguments)?)
}

fn answer(step: &Step) -> u8 {
    let launcher = match terminal::listen() {
        Ok(launcher) => launcher,
        Err(error) => return exit::failed(exit::Kind::Ours, &error, None),
    };
    let answer = match crate::run(&launcher, step) {
        Ok(answer) => answer,
        Err(error) => return failed(&error),
    };
    match output::document(&answer.document) {
        Ok(()) => exit::passed(answer.passed),
        Err(unprinted) => exit::failed(exit::Kind::Ours, &unprinted, None),
    }
}

fn failed(error: &Error) -> u8 {
    exit::failed(error.kind(), error, error.help().as_deref())
}
