//! Everything that differs between operating systems.

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(not(target_os = "linux"))]
pub use macos::*;

/// The process number in the system's type, if it is a valid one.
fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// Whether a process has this number. A process of another user counts although it
/// accepts no signal from us, and so does one that has ended until its parent reaps it.
fn is_there(number: u32) -> bool {
    pid(number).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}
