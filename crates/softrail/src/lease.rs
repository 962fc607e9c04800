//! Exclusive use of something in shared memory. A dead or stopped process cannot keep it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::fabric::Time;

/// Longer than any running process needs it.
pub const TERM: Duration = Duration::from_secs(1);

/// A holder keeps the lease for one term at most. After that any process may take it: the
/// holder must have been killed or stopped. A holder that was stopped may go on later and
/// believe that it still has the lease, so what the lease protects must survive that. All
/// zeros is a free lease.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Lease(AtomicU64);

impl Lease {
    /// Takes the lease at `now`, until the returned guard is dropped. `None` while
    /// another process holds it.
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
        // Only then: a guard that is made and dropped would free the lease of a process that
        // took it in the same nanosecond.
        taken.is_ok().then(|| Leased { lease: self, mine })
    }
}

/// A lease that is held.
#[derive(Debug)]
#[must_use = "it is given back at once"]
pub struct Leased<'a> {
    lease: &'a Lease,
    mine: u64,
}

impl Drop for Leased<'_> {
    fn drop(&mut self) {
        // The lease may have another holder by now.
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
