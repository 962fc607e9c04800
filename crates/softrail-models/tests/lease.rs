//! A lease is held by one process at a time, unless its holder was stopped for a term.

use std::{sync::Arc, time::Duration};

use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
};
use softrail_models::{
    check,
    fabric::Time,
    lease::{Lease, TERM},
};

/// What a lease protects, the clock, and since when the lease is held.
#[derive(Default)]
struct Shared {
    lease: Lease,
    clock: AtomicU64,
    held_since: AtomicU64,
}

/// Not the origin of time, which stands for a free lease.
const BEGIN: u64 = 1;

impl Shared {
    fn now(&self) -> Time {
        // A clock never shows an earlier time, as a load of loom's may.
        Time::from_nanos(BEGIN + self.clock.fetch_add(0, SeqCst))
    }

    fn pass(&self, time: Duration) {
        self.clock.fetch_add(time.as_nanos() as u64, SeqCst);
    }

    /// Takes the lease if it can. It must not be one that another process has had for less
    /// than a term, unless this process was itself stopped for a term meanwhile.
    fn work(&self) {
        let begun = self.now();
        let mut taken = Time::ZERO;
        let leased = self.lease.try_take(|| {
            taken = self.now();
            taken
        });
        if leased.is_some() {
            let before = self.held_since.swap(taken.as_nanos(), SeqCst);
            let (others, now) = (Time::from_nanos(before), self.now());
            let is_over = before == 0 || now >= others + TERM;
            let is_late = now >= begun + TERM;
            assert!(is_over || is_late, "held since {others:?}, now {now:?}");
            // Another process may have it by now.
            let own = taken.as_nanos();
            let _ = self.held_since.compare_exchange(own, 0, SeqCst, SeqCst);
        }
    }
}

/// While no term passes, what the lease protects is one process's alone, and each holder
/// sees what the one before has written.
#[test]
fn two_do_not_hold_it_together() {
    struct Protected(Lease, UnsafeCell<u32>);
    check(4, || {
        #[expect(clippy::arc_with_non_send_sync, reason = "loom reports a race")]
        let protected = Arc::new(Protected(Lease::default(), UnsafeCell::new(0)));
        let threads = [5, 5 + TERM.as_nanos() as u64 - 1].map(|nanos| {
            let protected = Arc::clone(&protected);
            thread::spawn(move || {
                let Protected(lease, cell) = &*protected;
                let leased = lease.try_take(|| Time::from_nanos(nanos));
                if leased.is_some() {
                    // loom reports two threads that access it at the same time.
                    cell.with_mut(|_| ());
                }
            })
        });
        for thread in threads {
            thread.join().expect("it does not panic");
        }
    });
}

/// A process is stopped while it takes the lease, or while it has it, and more than a term
/// passes.
#[test]
fn who_was_stopped_takes_it_from_nobody() {
    check(3, || {
        let shared = Arc::new(Shared::default());
        let stopped = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.work()
        });
        let other = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.pass(2 * TERM);
                shared.work();
            }
        });
        stopped.join().expect("it does not panic");
        other.join().expect("it does not panic");
    });
}

/// A holder that was stopped for a term drops the lease when another process has it.
#[test]
fn who_is_late_gives_back_no_other_lease() {
    check(3, || {
        let shared = Arc::new(Shared::default());
        let late = thread::spawn({
            let shared = Arc::clone(&shared);
            move || drop(shared.lease.try_take(|| shared.now()))
        });
        shared.pass(TERM);
        let held = shared.lease.try_take(|| shared.now());
        late.join().expect("it does not panic");
        if held.is_some() {
            assert!(shared.lease.try_take(|| shared.now()).is_none());
        }
    });
}
