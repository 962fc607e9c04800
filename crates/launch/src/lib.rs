//! Child processes that are watched, interrupted and never left behind.
//!
//! One way to run other programs, for every kind that this project starts: git, pip,
//! cargo and CMake ([`run`](fn@run), [`watch`], [`capture`], [`output`]), the ranks of a
//! job ([`Ranks`]), and any program on the nodes of a rig
//! ([`together`](fn@together)). All of them are [`Process`]es:
//!
//! * Each is in a process group of its own. A terminal's Ctrl-C reaches only the
//!   launcher, and ending the group also ends what the program started.
//! * The group ends when the launching process does, even by SIGKILL: its leader is a
//!   guardian, whose pipe closes then.
//! * The group ends when its value is dropped: SIGTERM to the group, [`GRACE`], SIGKILL.
//! * Its output is passed on line by line, and the last lines are kept for an error.
//! * [`Cancel`] is checked on every turn, however much the program prints.
//!
//! A program on another machine is run by a local `ssh`, which is such a process; see
//! [`Ranks::start_far`] and the crate `remote`.
//!
//! This crate does not depend on jaccl, MLX or cables. Callers define what ranks report
//! and what cables carry; the [`Watchdog`] gets a count of moved bytes.

#![forbid(unsafe_code)]

mod cancel;
mod death;
pub mod environment;
mod guardian;
mod launcher;
mod lines;
mod process;
mod processor;
mod progress;
mod ranks;
mod run;
mod ssh;
mod together;
mod watchdog;

pub use cancel::{Cancel, Interrupted};
pub use death::{Death, SSH_FAILED, signal_name};
pub use launcher::Launcher;
pub use lines::{Line, Said, Stream};
pub use process::{FAR_GRACE, GRACE, Input, Output, Process, SHOW_STACK, Streams};
pub use processor::Processor;
pub use progress::{Progress, Silent};
pub use ranks::{BEAT, Heard, Ranks, StartError};
pub use run::{Captured, Error, capture, output, output_within, run, watch};
pub use ssh::ssh_remedy;
pub use together::{End, Together, together};
pub use watchdog::{Limit, Watchdog};

use std::time::Duration;

/// How often exits and the caller's stop flag are checked.
const TICK: Duration = Duration::from_millis(20);
