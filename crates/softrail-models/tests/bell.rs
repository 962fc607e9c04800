//! A process that sleeps until its bell rings wakes for everything that was announced.

use std::sync::Arc;

use loom::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};
use softrail_models::{bell::Bell, check};

/// Sleeps until `work` is complete. A lost wake-up is a deadlock, which loom reports.
fn sleep_until(bell: &Bell, work: &AtomicUsize, complete: usize) {
    loop {
        let rings = bell.rings();
        if work.load(Relaxed) == complete {
            return;
        }
        bell.wait(rings, None);
    }
}

/// Two rings are the least with which a wake-up can be lost: the first finds a process
/// that has announced its sleep and does not sleep yet.
#[test]
fn no_ring_of_one_process_is_lost() {
    check(4, || {
        let shared = Arc::new((Bell::default(), AtomicUsize::new(0)));
        let ringer = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (bell, work) = &*shared;
                for step in 1..=2 {
                    work.store(step, Relaxed);
                    bell.ring();
                }
            }
        });
        sleep_until(&shared.0, &shared.1, 2);
        ringer.join().expect("it does not panic");
    });
}

#[test]
fn no_ring_of_two_processes_is_lost() {
    check(3, || {
        let shared = Arc::new((Bell::default(), AtomicUsize::new(0)));
        let ringers = [(); 2].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (bell, work) = &*shared;
                work.fetch_add(1, Relaxed);
                bell.ring();
            })
        });
        sleep_until(&shared.0, &shared.1, 2);
        for ringer in ringers {
            ringer.join().expect("it does not panic");
        }
    });
}

#[test]
fn one_ring_wakes_all_who_sleep() {
    check(3, || {
        let shared = Arc::new((Bell::default(), AtomicUsize::new(0)));
        let sleeper = thread::spawn({
            let shared = Arc::clone(&shared);
            move || sleep_until(&shared.0, &shared.1, 1)
        });
        let ringer = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1.store(1, Relaxed);
                shared.0.ring();
            }
        });
        sleep_until(&shared.0, &shared.1, 1);
        sleeper.join().expect("it does not panic");
        ringer.join().expect("it does not panic");
    });
}
