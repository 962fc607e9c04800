//! Waking a process at the other end of a cable.

use std::{
    sync::atomic::{AtomicU32, Ordering, fence},
    time::Duration,
};

use crate::platform;

/// A counter in shared memory that a process at one end of a cable waits on, and that a
/// process with work for it rings. All zeros is a bell that was never rung.
///
/// Ringing takes a system call only while a process sleeps.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Bell {
    rings: AtomicU32,
    asleep: AtomicU32,
}

impl Bell {
    /// How often the bell was rung. Read it before looking for work, so that
    /// [`wait`](Self::wait) does not sleep through work that arrives afterwards.
    pub fn rings(&self) -> u32 {
        self.rings.load(Ordering::SeqCst)
    }

    /// Wakes every waiting process. The caller must have written what they are to see.
    pub fn ring(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        if self.asleep.swap(0, Ordering::SeqCst) != 0 {
            platform::wake(&self.rings);
        }
    }

    /// Wakes every waiting process, even if the shared memory says that none waits. Other
    /// processes can write to that memory and must not be able to keep a process asleep
    /// that is to end.
    pub fn rouse(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        platform::wake(&self.rings);
    }

    /// Sleeps until the bell was rung more often than `rings` times or `timeout` has
    /// passed. It may also return early without a reason.
    pub fn wait(&self, rings: u32, timeout: Option<Duration>) {
        // A flag, not a count: a process that is killed in its sleep causes at most one
        // unnecessary system call.
        self.asleep.store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        platform::wait(&self.rings, rings, timeout);
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_not_slept_through() {
        let bell = Bell::default();
        let rings = bell.rings();
        bell.ring();
        bell.wait(rings, None);
    }

    #[test]
    fn a_ring_wakes_everybody() {
        let bell = Bell::default();
        let rings = bell.rings();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while bell.rings() == rings {
                        bell.wait(rings, None);
                    }
                });
            }
            while bell.asleep.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            bell.ring();
        });
    }

    #[test]
    fn who_is_to_end_is_woken_whatever_the_memory_says() {
        let bell = Bell::default();
        let rings = bell.rings();
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| bell.wait(rings, None));
            while bell.asleep.swap(0, Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            while !sleeper.is_finished() {
                bell.rouse();
            }
        });
    }

    #[test]
    fn nobody_waits_longer_than_asked() {
        let bell = Bell::default();
        let start = Instant::now();
        let time = Duration::from_millis(2);
        while start.elapsed() < time {
            bell.wait(bell.rings(), Some(time));
        }
    }
}
