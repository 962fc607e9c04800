//! Tells a hang from slowness.
//!
//! A rank that waits for what never comes spins: it uses its processor, and no byte
//! moves on any cable. A rank that is merely slow moves bytes, or does not get the
//! processor. So the limit is for the time in which no rank said anything and no byte
//! moved, and it only counts while the ranks that are waited for run or sleep, not
//! while they queue for a processor.

use std::time::{Duration, Instant};

use crate::process::Processor;

/// The part of the silence for which a rank must have had a processor, beside its work.
/// Several ranks of a group share one, and a rank that waits lets others go first.
const FAIR: f64 = 0.2;

/// When even a starved rank is called hung, in limits.
const PATIENCE: u32 = 30;

/// How long silence may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// At the least.
    pub silence: Duration,
    /// Processor time that a rank may need while nobody hears of it: to make data and
    /// to compare it.
    pub work: Duration,
}

/// A silence in which no rank has work worth counting.
impl From<Duration> for Limit {
    fn from(silence: Duration) -> Self {
        let work = Duration::ZERO;
        Limit { silence, work }
    }
}

/// Counts the silence.
#[derive(Debug, Clone, Copy)]
pub struct Watchdog {
    limit: Limit,
    since: Instant,
    moved: u64,
}

impl Watchdog {
    /// `moved` is what the cables have carried so far.
    pub fn new(limit: Limit, now: Instant, moved: u64) -> Self {
        Watchdog {
            limit,
            since: now,
            moved,
        }
    }

    /// A rank said something.
    pub fn hear(&mut self, now: Instant) {
        self.since = now;
    }

    /// Looks whether bytes moved since the last look. Gives whether the silence has
    /// lasted long enough to look at processors too.
    pub fn quiet(&mut self, now: Instant, moved: u64) -> bool {
        if moved != self.moved {
            self.moved = moved;
            self.since = now;
        }
        now - self.since >= self.limit.silence
    }

    /// Whether ranks that had `before` of the processor when the silence began, and
    /// have `after` now, hang. What cannot be known of a processor is not held against
    /// the ranks' having hung.
    pub fn expired(
        &self,
        now: Instant,
        ranks: impl IntoIterator<Item = (Option<Processor>, Option<Processor>)>,
    ) -> bool {
        let silence = now - self.since;
        let Limit {
            silence: limit,
            work,
        } = self.limit;
        let starved = |(before, after): (Option<Processor>, Option<Processor>)| {
            before.zip(after).is_some_and(|(before, after)| {
                after.wants && after.used - before.used < work + limit.mul_f64(FAIR)
            })
        };
        silence >= limit
            && (silence >= (limit + work) * PATIENCE || !ranks.into_iter().any(starved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMIT: Limit = Limit {
        silence: SECOND,
        work: Duration::ZERO,
    };

    fn had(seconds: f64, wants: bool) -> Option<Processor> {
        let used = Duration::from_secs_f64(seconds);
        Some(Processor { used, wants })
    }

    #[test]
    fn spinning_and_sleeping_ranks_hang() {
        let start = Instant::now();
        let dog = Watchdog::new(LIMIT, start, 0);
        let later = start + 2 * SECOND;
        assert!(dog.expired(later, [(had(5.0, true), had(6.5, true))]));
        assert!(dog.expired(later, [(had(5.0, false), had(5.0, false))]));
        assert!(!dog.expired(start + SECOND / 2, [(had(0.0, true), had(0.5, true))]));
    }

    #[test]
    fn a_rank_without_a_processor_is_waited_for_but_not_for_ever() {
        let start = Instant::now();
        let dog = Watchdog::new(LIMIT, start, 0);
        let starved = [(had(5.0, true), had(5.1, true))];
        assert!(!dog.expired(start + 2 * SECOND, starved));
        assert!(dog.expired(start + 3 * SECOND, [(had(5.0, true), had(5.3, true))]));
        assert!(dog.expired(start + PATIENCE * SECOND, starved));
    }

    #[test]
    fn a_rank_that_works_is_no_rank_that_hangs() {
        let start = Instant::now();
        let work = 10 * SECOND;
        let dog = Watchdog::new(Limit { work, ..LIMIT }, start, 0);
        assert!(!dog.expired(start + 8 * SECOND, [(had(0.0, true), had(8.0, true))]));
        assert!(dog.expired(start + 12 * SECOND, [(had(0.0, true), had(12.0, true))]));
    }

    #[test]
    fn moving_bytes_are_a_sign_of_life() {
        let start = Instant::now();
        let mut dog = Watchdog::new(LIMIT, start, 0);
        assert!(!dog.quiet(start + SECOND * 2, 1));
        assert!(!dog.expired(start + SECOND * 2, []));
        assert!(dog.quiet(start + SECOND * 3, 1));
    }
}
