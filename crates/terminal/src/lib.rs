//! The manners of a command, for every command of the workspace.
//!
//! * [`output`]: data on stdout, progress and warnings on stderr.
//! * [`Terminal`]: the progress of long work, as a bar or as lines.
//! * [`exit`]: exit codes, and how an error is printed.
//! * [`Flags`]: `--quiet`, `--verbose` and `--color`.
//! * [`listen`]: Ctrl-C and SIGTERM end the command and the processes that it started.
//!
//! A command has one stdout, one stderr and one handler of signals, so their settings are
//! the process's: its `main` sets them once.

#![forbid(unsafe_code)]
#![warn(clippy::print_stdout)]

pub mod exit;
mod flags;
pub mod output;
mod progress;
mod signals;

pub use exit::Kind;
pub use flags::{Flags, ReportFormat, one_of, set_colors};
pub use progress::Terminal;
pub use signals::{NotListening, listen};
