use crate::sync::{AtomicU64, Ordering};

/// What became of the messages of one direction. The process that settles a message counts
/// it. All zeros is a direction without any traffic.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Tally {
    waited: AtomicU64,
    lost: AtomicU64,
    deepest: AtomicU64,
}

impl Tally {
    /// Counts a message that arrived before its receive was posted.
    pub fn count_wait(&self) {
        self.waited.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a lost message: no receive was posted for it, or it could not arrive.
    pub fn count_loss(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that a queue held this many messages.
    pub fn note_depth(&self, messages: u64) {
        if self.deepest.load(Ordering::Relaxed) < messages {
            self.deepest.fetch_max(messages, Ordering::Relaxed);
        }
    }

    /// Frames that waited for a receive.
    pub fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    /// Frames that were lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The largest number of messages that one queue pair had in flight at a time, as
    /// observed by its receiver.
    pub fn deepest(&self) -> u64 {
        self.deepest.load(Ordering::Relaxed)
    }
}
