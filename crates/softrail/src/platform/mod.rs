//! Everything that differs between operating systems.

use std::{fs::File, io};

use rustix::{
    fs::{FallocateFlags, fallocate},
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

/// Reserves the memory or the disk blocks of a range of a file, if the file system can.
/// Bytes that are there stay.
pub fn reserve(file: &File, start: u64, length: u64) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), start, length) {
            Err(Errno::INTR) => {}
            // Such a file system shows by a signal only that it is full.
            Err(errno) if [Errno::OPNOTSUPP, Errno::NOTSUP].contains(&errno) => return Ok(()),
            reserved => return Ok(reserved?),
        }
    }
}

/// The process number in the system's type, if it is a valid one.
fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// Whether a process has this number. A process of another user counts although it
/// accepts no signal from us, and so does one that has ended until its parent reaps it.
fn is_there(number: u32) -> bool {
    pid(number).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}
