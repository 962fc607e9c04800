//! What differs between systems, all of it.

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

/// A process's number for the system, if it can be one.
fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// Whether any process has this number. One of another user may get no signals, and is
/// there; so is one that has ended, until its parent asks how.
fn is_there(number: u32) -> bool {
    pid(number).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}
