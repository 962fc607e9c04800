//! A sweep's progress on the terminal.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use launch::Progress;
use toolchain::progress::Progress as _;

use crate::terminal::Terminal;

/// Between two lines about work that has no end of its own.
const INTERVAL: Duration = Duration::from_secs(60);

/// Passes on what a sweep says.
pub struct VerifyProgress {
    terminal: Terminal,
    noted: Mutex<Instant>,
}

impl Default for VerifyProgress {
    fn default() -> Self {
        VerifyProgress {
            terminal: Terminal::default(),
            noted: Mutex::new(Instant::now()),
        }
    }
}

impl Progress for VerifyProgress {
    fn step(&self, verb: &str, what: &str) {
        self.terminal.step(verb, what);
    }

    fn advance(&self, done: u64, total: u64, what: &str) {
        if total > 0 {
            return self.terminal.advance(done, total, what);
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.elapsed() > INTERVAL {
            *noted = Instant::now();
            self.terminal.note(&format!("{done} {what}"));
        }
    }

    fn finish(&self) {
        self.terminal.finish();
    }

    fn note(&self, text: &str) {
        self.terminal.note(text);
    }
}
