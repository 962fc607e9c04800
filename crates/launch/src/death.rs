//! The end of a process in words.

use std::{fmt, os::unix::process::ExitStatusExt, process::ExitStatus};

use rustix::process::Signal;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// The connection to the machine that it runs on ended. It ends with it, in a way that
    /// nobody here sees.
    Lost,
}

/// The exit code of `ssh` if `ssh` failed rather than the command it ran.
pub const SSH_FAILED: i32 = 255;

/// What the exit code of a program that was killed is above the signal, as shells have it.
pub const BY_SIGNAL: i32 = 128;

impl Death {
    /// Whether the process ended with code 0.
    pub fn is_success(self) -> bool {
        self == Death::Exited(0)
    }

    /// The exit code that says the same as this to a shell, and to [`Death::of_far`].
    pub fn code(self) -> i32 {
        match self {
            Death::Exited(code) => code,
            Death::Killed(signal) => BY_SIGNAL + signal,
            Death::Lost => SSH_FAILED,
        }
    }

    /// The end of a program on another machine, by that of the `ssh` that ran it.
    pub(crate) fn of_far(status: ExitStatus) -> Self {
        match status.into() {
            // The connection was ended here.
            Death::Killed(_) | Death::Exited(SSH_FAILED) => Death::Lost,
            Death::Exited(code) if code > BY_SIGNAL => Death::Killed(code - BY_SIGNAL),
            death => death,
        }
    }
}

impl From<ExitStatus> for Death {
    fn from(status: ExitStatus) -> Self {
        match (status.signal(), status.code()) {
            (Some(signal), _) => Death::Killed(signal),
            (None, code) => Death::Exited(code.unwrap_or(-1)),
        }
    }
}

/// `exited with status 3`, `was killed by SIGSEGV`.
impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Death::Exited(code) => write!(f, "exited with status {code}"),
            Death::Killed(signal) => write!(f, "was killed by {}", signal_name(signal)),
            Death::Lost => f.write_str("was lost: the connection to its node has ended"),
        }
    }
}

/// `SIGSEGV`, or `signal 64` for a signal without a name.
pub fn signal_name(signal: i32) -> String {
    let named = [
        (Signal::ABORT, "SIGABRT"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::HUP, "SIGHUP"),
        (Signal::ILL, "SIGILL"),
        (Signal::INT, "SIGINT"),
        (Signal::KILL, "SIGKILL"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::TERM, "SIGTERM"),
        (Signal::TRAP, "SIGTRAP"),
    ];
    match named.iter().find(|(known, _)| known.as_raw() == signal) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("signal {signal}"),
    }
}
