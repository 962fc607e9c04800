//! Tells silence from slowness.

use std::time::{Duration, Instant};

/// The most silence that passes between two looks. A longer time is one in which
/// the launcher itself stood still, by Ctrl-Z or on a terminal that takes no
/// more, and heard nothing for that reason.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Expires when nothing was heard for longer than its limit, however long the
/// whole thing takes. Counts only time in which it was looked at.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: Duration,
    silence: Duration,
    looked: Instant,
}

impl Watchdog {
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self {
            limit,
            silence: Duration::ZERO,
            looked: now,
        }
    }

    /// Something was heard.
    pub(super) fn hear(&mut self, now: Instant) {
        self.silence = Duration::ZERO;
        self.looked = now;
    }

    /// Counts the time since the last look as silence, and tells whether that is
    /// now too long.
    pub(super) fn expired(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.looked);
        self.looked = now;
        self.silence += passed.min(LONGEST_LOOK);
        self.silence >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_measures_silence_and_not_the_total() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(3 * SECOND, start);
        for passed in 1..100 {
            let now = start + 2 * passed * SECOND;
            assert!(!watchdog.expired(now));
            watchdog.hear(now);
        }
        let last = start + 198 * SECOND;
        assert!(!watchdog.expired(last + SECOND));
        assert!(!watchdog.expired(last + 2 * SECOND));
        assert!(watchdog.expired(last + 3 * SECOND));
    }

    #[test]
    fn time_in_which_nobody_listened_is_not_silence() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(3 * SECOND, start);
        let stopped = start + 3600 * SECOND;
        assert!(!watchdog.expired(stopped));
        assert!(!watchdog.expired(stopped + SECOND));
        assert!(watchdog.expired(stopped + 2 * SECOND));
    }
}
