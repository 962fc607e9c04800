//! Identifies a process and finds out whether it still runs.

use std::{io, path::Path};

use rustix::process::{Signal, getpid};

use crate::platform;

/// A process, in one word that processes can exchange. The process number alone is not
/// enough: some time after a process has ended the system gives its number to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process(u64);

impl Process {
    /// The calling process.
    pub fn own() -> Self {
        Self::numbered(getpid().as_raw_nonzero().get().unsigned_abs())
    }

    /// The process that has this number now.
    pub fn numbered(number: u32) -> Self {
        let start = platform::start_of_process(number).unwrap_or_default();
        Process(u64::from(start) << 32 | u64::from(number))
    }

    /// The process from a word of [`to_word`](Self::to_word). Any other word is accepted
    /// too; 0 is no process.
    pub fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Process(word))
    }

    /// The process as a word other than 0.
    pub fn to_word(self) -> u64 {
        self.0
    }

    /// The process number.
    pub fn number(self) -> u32 {
        self.0 as u32
    }

    /// Whether the process still runs. A process that was killed does not, even while its
    /// parent has yet to reap it. If the system did not report the start time, then or
    /// now, the number decides.
    pub fn is_alive(self) -> bool {
        let start = (self.0 >> 32) as u32;
        let told = platform::start_of_process(self.number());
        told.is_some_and(|told| told == start || told == 0 || start == 0)
    }

    /// Sends a signal to the process if it has a file in `folder` mapped. Returns whether
    /// it has. The number comes from shared memory and may name any process.
    ///
    /// # Errors
    /// When the system refuses, or does not report what a process has mapped.
    pub fn signal_user(self, folder: &Path, signal: Signal) -> io::Result<bool> {
        let spared = [0, 1, std::process::id()];
        if spared.contains(&self.number()) || !self.is_alive() {
            return Ok(false);
        }
        platform::signal_user(self.number(), folder, signal)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_alive_until_it_ends() {
        let own = Process::own();
        assert!(own.is_alive());
        assert_eq!(Process::from_word(own.to_word()), Some(own));

        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat runs");
        let process = Process::numbered(child.id());
        assert!(process.is_alive());
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(!process.is_alive());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_is_killed_is_not_alive_even_if_nobody_asks_how_it_ended() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat runs");
        let process = Process::numbered(child.id());
        child.kill().expect("it runs");
        while process.is_alive() {
            std::thread::yield_now();
        }
        child.wait().expect("it ends");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_process_of_the_same_number_is_another() {
        let Process(word) = Process::own();
        assert!(!Process(word ^ 1 << 32).is_alive());
    }

    #[test]
    fn who_was_seen_where_nobody_tells_when_it_was_started_is_alive() {
        assert!(Process(u64::from(std::process::id())).is_alive());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_has_nothing_to_do_with_a_folder_gets_no_signal() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut stranger = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat runs");
        for number in [0, 1, std::process::id(), stranger.id(), u32::MAX] {
            let sent = Process::numbered(number).signal_user(folder.path(), Signal::KILL);
            assert!(!sent.expect("Linux can tell"), "{number}");
        }
        assert!(stranger.try_wait().expect("it is ours").is_none());
        drop(stranger.stdin.take());
        assert!(stranger.wait().expect("it is ours").success());
    }

    #[test]
    fn any_word_may_be_asked_for() {
        assert_eq!(Process::from_word(0), None);
        for word in [1 << 32, u64::MAX, u64::from(u32::MAX)] {
            assert!(!Process(word).is_alive());
        }
    }
}
