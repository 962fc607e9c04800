//! Tells a person on a terminal how far the sweep is, and everybody what fails.

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{case::Case, verdict::Finding};

/// Failures that are told one by one as they come. The report has them all.
const TOLD: u64 = 10;

/// Between two lines of progress where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(60);

/// Progress on standard error.
pub struct Progress {
    bar: ProgressBar,
    failed: ProgressBar,
    terminal: bool,
    silent: bool,
    told: Mutex<Instant>,
}

impl Progress {
    /// A bar on a terminal, lines elsewhere.
    pub fn stderr() -> Self {
        Self::over(std::io::stderr().is_terminal())
    }

    /// Says nothing.
    pub fn silent() -> Self {
        Progress {
            silent: true,
            ..Self::over(false)
        }
    }

    fn over(terminal: bool) -> Self {
        let bar = match terminal {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        Progress {
            bar,
            failed: ProgressBar::hidden(),
            terminal,
            silent: false,
            told: Mutex::new(Instant::now()),
        }
    }

    /// A variant begins; 0 cases when nobody knows how many.
    pub fn begin(&self, variant: &str, cases: usize) {
        let template = match cases {
            0 => "{spinner} {prefix}  {pos} sequences, {elapsed}  {msg}",
            _ => "{prefix}  {wide_bar} {pos}/{len}  {eta}  {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.reset();
        self.bar.set_length(cases as u64);
        self.bar.set_prefix(variant.to_owned());
        self.bar.enable_steady_tick(Duration::from_millis(200));
        if !self.terminal && !self.silent {
            eprintln!("verifying {variant}");
        }
    }

    /// A case is over.
    pub fn case(&self, case: &Case, finding: Option<&Finding>) {
        self.bar.inc(1);
        self.tell_now_and_then();
        let Some(finding) = finding else { return };
        self.failed.inc(1);
        let failed = self.failed.position();
        self.bar.set_message(format!("{failed} failed"));
        if self.silent {
            return;
        }
        let line = format!("{:>8}  {case}: {}", finding.verdict, finding.detail);
        match failed {
            ..=TOLD => self.bar.suspend(|| eprintln!("{line}")),
            n if n == TOLD + 1 => {
                self.bar
                    .suspend(|| eprintln!("          more are counted, and in the report"));
            }
            _ => {}
        }
    }

    /// A log shows that the sweep goes on.
    fn tell_now_and_then(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.terminal && !self.silent && told.elapsed() > INTERVAL {
            *told = Instant::now();
            let (done, failed) = (self.bar.position(), self.failed.position());
            match self.bar.length().unwrap_or(0) {
                0 => eprintln!("{done} sequences, {failed} failed"),
                all => eprintln!("{done} of {all} cases, {failed} failed"),
            }
        }
    }

    /// The variant is over.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
