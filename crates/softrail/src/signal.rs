//! Signals to processes that use a fabric, and to no others.

use std::{io, path::Path};

use rustix::process::Signal;

/// Sends a signal to a process if it has a file of `folder` mapped. Says whether it has.
///
/// The number comes from memory that others write: it may be anybody's, by now or
/// from the start.
///
/// # Errors
/// When the system refuses, or cannot tell what a process has mapped.
pub fn send(process: u32, folder: &Path, signal: Signal) -> io::Result<bool> {
    if process <= 1 || process == std::process::id() {
        return Ok(false);
    }
    platform::send(process, folder, signal)
}

#[cfg(target_os = "linux")]
mod platform {
    use std::{ffi::OsStr, fs, io, os::unix::ffi::OsStrExt, path::Path};

    use rustix::{
        io::Errno,
        process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    };

    pub fn send(process: u32, folder: &Path, signal: Signal) -> io::Result<bool> {
        let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) else {
            return Ok(false);
        };
        // What is asked for its mappings is what gets the signal, even if it ends
        // meanwhile and another process gets its number.
        let sent = pidfd_open(pid, PidfdFlags::empty()).and_then(|handle| {
            let has_it = has_mapped(process, folder);
            if has_it {
                pidfd_send_signal(handle, signal)?;
            }
            Ok(has_it)
        });
        match sent {
            Err(Errno::SRCH) => Ok(false),
            sent => Ok(sent?),
        }
    }

    /// A process that cannot be asked, as another user's, is none that uses the folder.
    fn has_mapped(process: u32, folder: &Path) -> bool {
        let Ok(folder) = fs::canonicalize(folder) else {
            return false;
        };
        let maps = fs::read(format!("/proc/{process}/maps")).unwrap_or_default();
        maps.split(|byte| *byte == b'\n').any(|line| {
            let name = line.iter().position(|byte| *byte == b'/');
            let file = name.map(|at| Path::new(OsStr::from_bytes(&line[at..])));
            file.and_then(Path::parent) == Some(&folder)
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::{io, path::Path};

    use rustix::process::Signal;

    /// Nobody is told here what a process has mapped.
    pub fn send(_: u32, _: &Path, _: Signal) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_has_nothing_to_do_with_the_fabric_gets_no_signal() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut stranger = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat runs");
        for process in [0, 1, std::process::id(), stranger.id(), u32::MAX] {
            let sent = send(process, folder.path(), Signal::KILL);
            assert!(!sent.expect("Linux can tell"), "{process}");
        }
        assert!(stranger.try_wait().expect("it is ours").is_none());
        drop(stranger.stdin.take());
        assert!(stranger.wait().expect("it is ours").success());
    }
}
