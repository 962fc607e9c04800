//! Distinguishes a hang from slowness.
//!
//! A hung rank waits for a message that never comes, and spins: it uses its processor,
//! and no byte moves on any cable. A slow rank moves bytes, or waits for a processor. So
//! the limit is for the time in which no rank reported anything and no byte moved. That
//! time counts only while the ranks that still have something to do run or sleep, not
//! while they queue for a processor. It does not count while the launcher itself was
//! stopped.

use std::time::{Duration, Instant};

use crate::processor::Processor;

/// The fraction of the silence for which a rank must have had a processor, beside its
/// work. Several ranks of a job share one processor, and a rank that waits yields it to
/// others.
const FAIR: f64 = 0.2;

/// The silence after which even a rank without processor time counts as hung, as a
/// multiple of the limit.
const PATIENCE: u32 = 30;

/// The longest silence between two looks. If more time passes, the launcher itself was
/// stopped, by Ctrl-Z or by a terminal that accepts no more output, and therefore
/// received nothing.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// The limit on silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The minimum.
    pub silence: Duration,
    /// Processor time that a rank may need while it reports nothing: to generate data and
    /// to compare it.
    pub work: Duration,
}

/// A limit for ranks whose own work is negligible.
impl From<Duration> for Limit {
    fn from(silence: Duration) -> Self {
        let work = Duration::ZERO;
        Limit { silence, work }
    }
}

/// Measures the silence of the ranks of one job.
#[derive(Debug, Clone)]
pub struct Watchdog {
    limit: Limit,
    silence: Duration,
    looked: Instant,
    moved: u64,
    /// The processor time of each rank when the silence began.
    before: Vec<Option<Processor>>,
}

impl Watchdog {
    /// `moved` is the number of bytes that the cables have carried so far.
    pub fn new(limit: Limit, now: Instant, moved: u64) -> Self {
        Watchdog {
            limit,
            silence: Duration::ZERO,
            looked: now,
            moved,
            before: Vec::new(),
        }
    }

    /// Resets the silence, because a rank reported something.
    pub fn hear(&mut self, now: Instant) {
        self.silence = Duration::ZERO;
        self.looked = now;
        self.before.clear();
    }

    /// Whether the ranks that still have something to do hang. Call it every few
    /// milliseconds in which no event arrives: the time since the last look counts as
    /// silence. `processors` gives the processor time of each rank; `waits` gives the
    /// ranks that still have something to do. A rank whose processor time is unknown
    /// counts as having had a processor.
    pub fn hangs(
        &mut self,
        now: Instant,
        moved: u64,
        processors: impl FnOnce() -> Vec<Option<Processor>>,
        waits: impl Fn(usize) -> bool,
    ) -> bool {
        if moved != self.moved {
            self.moved = moved;
            self.hear(now);
        }
        let passed = now.saturating_duration_since(self.looked);
        self.looked = now;
        self.silence += passed.min(LONGEST_LOOK);
        let Limit { silence, work } = self.limit;
        if self.before.is_empty() {
            self.before = processors();
            // The first look has no earlier one to compare with.
            return self.silence >= silence && self.before.iter().all(Option::is_none);
        }
        if self.silence < silence {
            return false;
        }
        let starved = |(before, after): (Option<Processor>, Option<Processor>)| {
            before.zip(after).is_some_and(|(before, after)| {
                let had = after.used.saturating_sub(before.used);
                after.wants && had < work + silence.mul_f64(FAIR)
            })
        };
        let both = self.before.iter().copied().zip(processors()).enumerate();
        let mut waited_for = both.filter(|(rank, _)| waits(*rank));
        self.silence >= (silence + work) * PATIENCE || !waited_for.any(|(_, both)| starved(both))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn had(seconds: f64, wants: bool) -> Vec<Option<Processor>> {
        let used = Duration::from_secs_f64(seconds);
        vec![Some(Processor { used, wants })]
    }

    /// Looks twice a second for this long at a rank that uses the processor at this rate.
    /// Returns when it was reported as hung.
    fn hung_after(
        dog: &mut Watchdog,
        start: Instant,
        seconds: u32,
        rate: f64,
        wants: bool,
    ) -> Option<f64> {
        (0..=2 * seconds)
            .map(|half| f64::from(half) / 2.0)
            .find(|at| {
                let now = start + Duration::from_secs_f64(*at);
                dog.hangs(now, 0, || had(5.0 + rate * at, wants), |_| true)
            })
    }

    #[test]
    fn spinning_and_sleeping_ranks_hang() {
        let start = Instant::now();
        for (rate, wants) in [(0.9, true), (0.0, false)] {
            let mut dog = Watchdog::new((2 * SECOND).into(), start, 0);
            let hung = hung_after(&mut dog, start, 10, rate, wants);
            assert_eq!(hung, Some(2.0), "{rate} {wants}");
        }
    }

    #[test]
    fn it_measures_silence_and_not_the_total() {
        let start = Instant::now();
        let mut dog = Watchdog::new((3 * SECOND).into(), start, 0);
        for passed in 1..100 {
            let now = start + 2 * passed * SECOND;
            assert!(!dog.hangs(now, 0, || had(0.0, false), |_| true));
            dog.hear(now);
        }
    }

    #[test]
    fn a_rank_without_a_processor_is_waited_for_within_reason() {
        let start = Instant::now();
        let mut dog = Watchdog::new(SECOND.into(), start, 0);
        let hung = hung_after(&mut dog, start, 100, 0.001, true);
        assert_eq!(hung, Some(f64::from(PATIENCE)));
    }

    #[test]
    fn a_rank_that_works_is_no_rank_that_hangs() {
        let start = Instant::now();
        let limit = Limit {
            silence: SECOND,
            work: 10 * SECOND,
        };
        let mut dog = Watchdog::new(limit, start, 0);
        let hung = hung_after(&mut dog, start, 100, 1.0, true);
        assert_eq!(hung, Some(10.5));
    }

    #[test]
    fn moving_bytes_are_a_sign_of_life() {
        let start = Instant::now();
        let mut dog = Watchdog::new(SECOND.into(), start, 0);
        for passed in 0..50 {
            let now = start + passed * SECOND;
            assert!(!dog.hangs(now, passed.into(), || had(0.0, false), |_| true));
        }
        assert!(dog.hangs(start + 50 * SECOND, 49, || had(0.0, false), |_| true));
    }

    #[test]
    fn time_in_which_the_launcher_stood_still_is_no_silence() {
        let start = Instant::now();
        let mut dog = Watchdog::new((3 * SECOND).into(), start, 0);
        let mut hangs = |seconds| {
            let now = start + seconds * SECOND;
            dog.hangs(now, 0, || had(0.0, false), |_| true)
        };
        assert!(!hangs(0));
        assert!(!hangs(3600));
        assert!(!hangs(3601));
        assert!(hangs(3602));
    }

    #[test]
    fn ranks_that_are_done_are_not_asked_for() {
        let start = Instant::now();
        let mut dog = Watchdog::new(SECOND.into(), start, 0);
        let two = |at: f64| {
            let starved = had(at * 0.001, true).remove(0);
            let sleeps = had(0.0, false).remove(0);
            vec![starved, sleeps]
        };
        assert!(!dog.hangs(start, 0, || two(0.0), |rank| rank == 1));
        let later = start + SECOND;
        assert!(dog.hangs(later, 0, || two(1.0), |rank| rank == 1));
    }
}
