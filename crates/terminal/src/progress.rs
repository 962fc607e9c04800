//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use launch::Progress;

use crate::{output, say};

/// The interval at which a log without a terminal gets a line about a long step.
const PLAIN_EVERY_PERCENT: u64 = 10;
/// The same interval for a step without a known end.
const PLAIN_EVERY: Duration = Duration::from_secs(60);

/// Shows the progress of long work on stderr.
pub struct Terminal {
    interactive: bool,
    step: Mutex<Option<Step>>,
}

struct Step {
    bar: ProgressBar,
    told_percent: u64,
    told_at: Instant,
}

impl Step {
    /// Work without a known end.
    fn count(&mut self, interactive: bool, done: u64, what: &str) {
        if interactive {
            self.bar.set_prefix(format!("{done} {what}"));
        } else if self.told_at.elapsed() > PLAIN_EVERY {
            self.told_at = Instant::now();
            say!("{:>12} {done} {what}", "");
        }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Terminal {
            interactive: std::io::stderr().is_terminal() && !output::is_quiet(),
            step: Mutex::new(None),
        }
    }
}

impl Terminal {
    fn with_step(&self, change: impl FnOnce(&mut Option<Step>)) {
        change(&mut self.step.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Progress for Terminal {
    fn step(&self, verb: &str, what: &str) {
        let bar = if self.interactive {
            let bar = ProgressBar::new_spinner()
                .with_style(spinner())
                .with_message(format!("{verb:>12} {what}"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            say!("{verb:>12} {what}");
            ProgressBar::hidden()
        };
        self.with_step(|step| {
            if let Some(before) = step.replace(Step {
                bar,
                told_percent: 0,
                told_at: Instant::now(),
            }) {
                before.bar.finish_and_clear();
            }
        });
    }

    fn advance(&self, done: u64, total: u64, what: &str) {
        self.with_step(|step| {
            let Some(step) = step else { return };
            if total == 0 {
                step.count(self.interactive, done, what);
            } else if self.interactive {
                if step.bar.length() != Some(total) {
                    step.bar.set_length(total);
                    step.bar.set_style(bar());
                }
                step.bar.set_position(done);
            } else {
                let percent = done * 100 / total.max(1);
                if percent >= step.told_percent + PLAIN_EVERY_PERCENT && total > PLAIN_EVERY_PERCENT
                {
                    step.told_percent = percent - percent % PLAIN_EVERY_PERCENT;
                    say!("{:>12} {done} of {total} {what}", "");
                }
            }
        });
    }

    fn finish(&self) {
        self.with_step(|step| {
            if let Some(step) = step.take()
                && self.interactive
            {
                let elapsed = step.bar.elapsed().as_secs_f32();
                let message = step.bar.message();
                step.bar.finish_and_clear();
                say!("{message} ({elapsed:.1} s)");
            }
        });
    }

    fn note(&self, text: &str) {
        self.with_step(|step| {
            let print = || say!("{:>12} {text}", "note");
            match step {
                Some(step) => step.bar.suspend(print),
                None => print(),
            }
        });
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{msg} {spinner} {elapsed} {prefix}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bar() -> ProgressStyle {
    ProgressStyle::with_template("{msg} [{wide_bar}] {pos}/{len} {elapsed}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
