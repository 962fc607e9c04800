//! Waking a process at the other end of a cable.

use std::time::Duration;

use crate::{
    platform,
    sync::{AtomicU32, Ordering},
};

/// A counter in shared memory that a process at one end of a cable waits on, and that a
/// process with work for it rings. All zeros is a bell that was never rung.
///
/// Ringing takes a system call only while a process sleeps.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Bell {
    /// Twice the number of rings. [`ASLEEP`] is set by a process that is about to sleep
    /// and cleared by the next ring. The flag must be in the word that the system compares
    /// before it puts a process to sleep. In a word of its own a ring could clear the flag
    /// after a process has set it and before that process sleeps, which no later ring
    /// would notice.
    word: AtomicU32,
}

/// A flag and not a count: a process that is killed in its sleep causes at most one
/// unnecessary system call.
const ASLEEP: u32 = 1;
const RING: u32 = 2;

impl Bell {
    /// A number that changes with every ring. Read it before looking for work, so that
    /// [`wait`](Self::wait) does not sleep through work that arrives afterwards.
    pub fn rings(&self) -> u32 {
        self.word.load(Ordering::SeqCst) & !ASLEEP
    }

    /// Wakes every waiting process. The caller must have written what they are to see.
    pub fn ring(&self) {
        if self.count() & ASLEEP != 0 {
            platform::wake(&self.word);
        }
    }

    /// Wakes every waiting process, even if the shared memory says that none waits. Other
    /// processes can write to that memory and must not be able to keep a process asleep
    /// that is to end.
    pub fn rouse(&self) {
        self.count();
        platform::wake(&self.word);
    }

    /// Counts a ring and clears the flag. Returns the word from before.
    fn count(&self) -> u32 {
        let mut before = self.word.load(Ordering::Relaxed);
        loop {
            let after = before.wrapping_add(RING) & !ASLEEP;
            let order = Ordering::SeqCst;
            match self.word.compare_exchange(before, after, order, order) {
                Ok(before) => return before,
                Err(found) => before = found,
            }
        }
    }

    /// Sleeps until the bell was rung after [`rings`](Self::rings) returned `rings`, or
    /// until `timeout` has passed. It may also return early without a reason.
    pub fn wait(&self, rings: u32, timeout: Option<Duration>) {
        let asleep = rings | ASLEEP;
        let order = Ordering::SeqCst;
        match self.word.compare_exchange(rings, asleep, order, order) {
            // Another process may sleep already.
            Ok(_) => {}
            Err(found) if found == asleep => {}
            Err(_) => return,
        }
        platform::wait(&self.word, asleep, timeout);
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
            while bell.word.load(Ordering::SeqCst) & ASLEEP == 0 {
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
            while bell.word.fetch_and(!ASLEEP, Ordering::SeqCst) & ASLEEP == 0 {
                thread::yield_now();
            }
            while !sleeper.is_finished() {
                bell.rouse();
            }
        });
    }

    #[test]
    fn the_count_of_rings_wraps() {
        let bell = Bell::default();
        bell.word.store(u32::MAX - 1, Ordering::SeqCst);
        let rings = bell.rings();
        bell.ring();
        assert_eq!(bell.rings(), 0);
        bell.wait(rings, None);
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
