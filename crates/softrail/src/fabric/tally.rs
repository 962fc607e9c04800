use std::sync::atomic::{AtomicU64, Ordering};

/// What became of the frames of one direction, counted by whoever settles them. All
/// zeros is a direction on which nothing happened.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Tally {
    waited: AtomicU64,
    lost: AtomicU64,
    deepest: AtomicU64,
}

impl Tally {
    /// A frame was there before a receive was.
    pub fn count_wait(&self) {
        self.waited.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame was lost: nobody was ready for it, or it could not arrive.
    pub fn count_loss(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// A queue was found to hold this many frames.
    pub fn note_depth(&self, frames: u64) {
        if self.deepest.load(Ordering::Relaxed) < frames {
            self.deepest.fetch_max(frames, Ordering::Relaxed);
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

    /// The most frames that a queue pair had on its way at a time, as its receiver
    /// found them.
    pub fn deepest(&self) -> u64 {
        self.deepest.load(Ordering::Relaxed)
    }
}
