//! Tells silence from slowness.

use std::time::{Duration, Instant};

/// Expires when nothing was heard for longer than its limit, however long the
/// whole thing takes.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: Duration,
    heard: Instant,
}

impl Watchdog {
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, heard: now }
    }

    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    pub(super) fn expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_measures_silence_and_not_the_total() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut watchdog = Watchdog::new(3 * second, start);
        for passed in 1..100 {
            let now = start + 2 * passed * second;
            assert!(!watchdog.expired(now));
            watchdog.hear(now);
        }
        let last = start + 198 * second;
        assert!(!watchdog.expired(last + 2 * second));
        assert!(watchdog.expired(last + 3 * second));
    }
}
