//! Ends a process group whose launcher is gone.

use std::{
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// Waits for a word, or for the end of the process that could write it. The guardian
/// ignores the signals that are meant for the group; the last one, SIGKILL, ends it too.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
read -r dismissed && exit
kill -s TERM -- "-$$"
kill -s CONT -- "-$$"
sleep 2
kill -s KILL -- "-$$"
"#;

/// The leader of a process group: a small shell that reads a pipe whose only writer is
/// its launcher. It exists before the first process of the group, so the launcher cannot
/// die at a moment that would leave that process behind.
#[derive(Debug)]
pub(crate) struct Guardian(Child);

impl Guardian {
    pub(crate) fn start() -> io::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Guardian(shell))
    }

    /// The number of its group, for `process_group`.
    pub(crate) fn group(&self) -> io::Result<i32> {
        i32::try_from(self.0.id()).map_err(io::Error::other)
    }

    /// Sends a signal to every process of the group.
    pub(crate) fn signal(&self, signal: Signal) {
        // The group may be gone, which is the aim.
        let _ = kill_process_group(Pid::from_child(&self.0), signal);
    }
}

/// Ends the guardian, because the group no longer needs one.
impl Drop for Guardian {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            // It fails if the guardian was killed with its group.
            let _ = writeln!(pipe, "dismissed");
        }
        let _ = self.0.wait();
    }
}
