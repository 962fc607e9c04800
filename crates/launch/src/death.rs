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
}

impl Death {
    /// Whether the process ended with code 0.
    pub fn is_success(self) -> bool {
        self == Death::Exited(0)
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
