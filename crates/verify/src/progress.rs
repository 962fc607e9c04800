//! The progress of a sweep.

use std::sync::{Mutex, PoisonError};

pub use launch::{Progress, Silent};

use crate::{case::Case, verdict::Finding};

/// The number of failures that are noted at once, one by one. The report has all of them.
const NOTED: u64 = 10;

/// Counts the cases of one step.
pub(crate) struct Count<'a> {
    progress: &'a dyn Progress,
    unit: &'static str,
    total: u64,
    counted: Mutex<Counted>,
    /// Whether failures are noted. A proof expects some, so it does not note them.
    notes: bool,
}

#[derive(Default)]
struct Counted {
    done: u64,
    failed: u64,
}

impl<'a> Count<'a> {
    /// Counts to `total` cases, or counts sequences if there is no total.
    pub fn begin(
        progress: &'a dyn Progress,
        (verb, what): (&str, &str),
        total: Option<usize>,
        notes: bool,
    ) -> Self {
        progress.step(verb, what);
        Count {
            progress,
            unit: if total.is_some() {
                "cases"
            } else {
                "sequences"
            },
            total: total.unwrap_or(0) as u64,
            counted: Mutex::default(),
            notes,
        }
    }

    /// Counts a case that has ended.
    pub fn case(&self, case: &Case, finding: Option<&Finding>) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.done += 1;
        counted.failed += u64::from(finding.is_some());
        let what = match counted.failed {
            0 => self.unit.to_owned(),
            failed => format!("{}, {failed} failed", self.unit),
        };
        self.progress.advance(counted.done, self.total, &what);
        let Some(finding) = finding.filter(|_| self.notes) else {
            return;
        };
        match counted.failed {
            ..=NOTED => {
                let line = format!("{:<8} {case}: {}", finding.verdict.name(), finding.detail);
                self.progress.note(&line);
            }
            n if n == NOTED + 1 => self.progress.note("more failures are in the report"),
            _ => {}
        }
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.progress.finish();
    }
}

#[cfg(test)]
mod tests {
    use jaccl::Dtype;

    use super::*;
    use crate::{
        case::{Backend, Direction, Frames, Op, Setting},
        verdict::Verdict,
    };

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Heard {
        fn push(&self, line: String) {
            self.0.lock().expect("no panic").push(line);
        }
    }

    impl Progress for Heard {
        fn step(&self, verb: &str, what: &str) {
            self.push(format!("{verb} {what}"));
        }
        fn advance(&self, done: u64, total: u64, what: &str) {
            self.push(format!("{done}/{total} {what}"));
        }
        fn finish(&self) {
            self.push("finished".to_owned());
        }
        fn note(&self, text: &str) {
            self.push(text.to_owned());
        }
    }

    #[test]
    fn failures_are_noted_but_not_thousands() {
        let case = Case {
            setting: Setting {
                backend: Backend::Ring,
                ranks: 2,
                wires: 1,
                frames: Frames::Small,
            },
            op: Op::Barrier,
            bytes: 0,
            dtype: Dtype::UInt8,
            direction: Direction::All,
            in_place: false,
            seed: 0,
        };
        let heard = Heard::default();
        let count = Count::begin(&heard, ("Verifying", "it"), Some(40), true);
        count.case(&case, None);
        let finding = Finding::new(Verdict::Hang, "rank 1 waits");
        for _ in 0..30 {
            count.case(&case, Some(&finding));
        }
        drop(count);
        let heard = heard.0.into_inner().expect("no panic");
        assert_eq!(heard[..2], ["Verifying it", "1/40 cases"]);
        assert_eq!(heard[2], "2/40 cases, 1 failed");
        assert_eq!(
            heard[3],
            "hang     barrier ring ranks=2 wires=1 frames=small: rank 1 waits"
        );
        let noted = heard.iter().filter(|line| line.starts_with("hang")).count();
        assert_eq!(noted, 10);
        let more = |line: &&String| line.as_str() == "more failures are in the report";
        assert_eq!(heard.iter().filter(more).count(), 1);
        assert_eq!(heard.last().map(String::as_str), Some("finished"));
    }
}
