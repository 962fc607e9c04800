//! The command line of `rail-matrix`, for two commands: `cargo xtask matrix`, and
//! `rail-matrix` of the Python wheel ([`main`]).
//!
//! [`flags`] is what a user types. [`run`] does one [`Step`] and returns its answer: the
//! document for stdout, and whether all is well. On the way it prints notes and progress
//! on stderr. A command differs from the other in its [`Front`] alone.

#![forbid(unsafe_code)]
#![warn(clippy::print_stdout)]

mod check;
mod command;
mod discover;
mod doctor;
mod error;
pub mod flags;
mod input;
mod plan;
mod reports;

use launch::Launcher;

pub use check::CheckFlagsError;
pub use command::main;
pub use discover::{DiscoverError, Ran, ask, on_hosts};
pub use error::Error;
pub use flags::{EXO_PIN, Front, Matrix, Step};
pub use input::{InputError, file as read_file};
pub use reports::SaveError;

/// What a step found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text for stdout.
    pub document: String,
    /// Whether all that was checked is well.
    pub passed: bool,
}

/// Does one step. The processes that it starts are the launcher's.
///
/// # Errors
/// If flags or input are wrong, there is no such plan, a node cannot be asked, or the
/// caller asked to stop.
pub fn run(launcher: &Launcher, step: &Step) -> Result<Answer, Error> {
    match step {
        Step::Plan(flags) => plan::run(launcher, flags),
        Step::Check(flags) => check::run(launcher, flags),
        Step::Discover(flags) => discover::run(launcher, flags),
        Step::Doctor(flags) => doctor::run(launcher, flags),
    }
}
