//! Child processes that are watched, interrupted and never left behind.
//!
//! One way to run other programs, for whatever this project starts: git, pip, cargo and
//! CMake ([`run`](fn@run), [`watch`], [`capture`], [`output`]), the ranks of a job ([`Ranks`]), and any
//! program on the nodes of a rig ([`together`]). All of them are [`Process`]es:
//!
//! * Each is in a process group of its own. A terminal's Ctrl-C reaches the launcher alone,
//!   and what ends the group ends what the program started, too.
//! * The group ends when the launching process does, also by SIGKILL: its leader is a
//!   guardian, whose pipe closes then.
//! * It ends when its value is dropped: SIGTERM to the group, [`GRACE`], SIGKILL.
//! * Its output is handed on line by line, and the last lines are kept for an error.
//! * [`Cancel`] is looked at on every turn, however much the program prints.
//!
//! This crate knows no jaccl, no MLX and no cables. What ranks say to each other and what
//! cables carry is for its callers; the [`Watchdog`] is told a count of moved bytes.

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
mod together;
mod watchdog;

pub use cancel::{Cancel, Interrupted};
pub use death::{Death, signal_name};
pub use launcher::Launcher;
pub use lines::{Line, Said, Stream};
pub use process::{GRACE, Input, Output, Process, Streams};
pub use processor::Processor;
pub use progress::{Progress, Silent};
pub use ranks::{Heard, Ranks, StartError};
pub use run::{Captured, Error, capture, output, run, watch};
pub use together::{End, Together, together};
pub use watchdog::{Limit, Watchdog};

use std::time::Duration;

/// How often exits and the caller's wish to stop are looked at.
const TICK: Duration = Duration::from_millis(20);
