//! Exclusive use of something in shared memory, which no process can keep for ever.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::fabric::Time;

/// Longer than anybody needs it who is not dead or stopped.
pub const TERM: Duration = Duration::from_secs(1);

/// Who has it has it for a term at most: then it is anybody's, because its holder was
/// killed or stopped while he had it. One that was stopped may go on later and believe
/// that he still has it, so what it protects must survive that. All zeros is a lease
/// that nobody has.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Lease(AtomicU64);

impl Lease {
    /// Takes it at `now`, until the answer is dropped. Nothing when somebody has it.
    pub fn try_take(&self, now: Time) -> Option<Leased<'_>> {
        let mine = now.as_nanos().max(1);
        let theirs = self.0.load(Ordering::Relaxed);
        let begun = Time::from_nanos(theirs);
        if theirs != 0 && begun.max(now) - begun.min(now) < TERM {
            return None;
        }
        let taken = self
            .0
            .compare_exchange(theirs, mine, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(Leased { lease: self, mine })
    }
}

/// A lease that somebody has.
#[derive(Debug)]
#[must_use = "it is given back at once"]
pub struct Leased<'a> {
    lease: &'a Lease,
    mine: u64,
}

impl Drop for Leased<'_> {
    fn drop(&mut self) {
        // It may be somebody else's by now.
        let (lease, mine) = (&self.lease.0, self.mine);
        let _ = lease.compare_exchange(mine, 0, Ordering::Release, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time_and_nobody_for_ever() {
        let lease = Lease::default();
        let begin = Time::ZERO + TERM;
        let held = lease.try_take(begin).expect("nobody has it");
        assert!(lease.try_take(begin + TERM / 2).is_none());
        let taken_over = lease.try_take(begin + TERM).expect("the term is over");
        drop(held);
        assert!(lease.try_take(begin + TERM).is_none());
        drop(taken_over);
        assert!(lease.try_take(begin).is_some());
    }

    #[test]
    fn nobody_has_it_from_a_time_to_come() {
        let lease = Lease(AtomicU64::new(u64::MAX));
        assert!(lease.try_take(Time::ZERO).is_some());
    }
}
