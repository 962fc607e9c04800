use std::sync::atomic::{AtomicU64, Ordering};

use super::{Queue, Stream, Time};

/// All that one queue pair puts on its direction of a cable. All zeros is one that
/// never sent anything.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Outlet {
    /// Its messages.
    pub queue: Queue,
    /// What it answers to reads from the other end.
    pub answers: Stream,
    /// Messages that arrive nowhere.
    pub lost: Stream,
    /// What it has had of the cable, in bytes, counting what others had while it
    /// wanted nothing.
    share: AtomicU64,
}

impl Outlet {
    /// Empties it for its next queue pair. Nobody may be using it but late receivers.
    pub fn reset(&self) {
        self.queue.reset();
        self.answers.reset();
        self.lost.reset();
    }

    /// What it wants carried next, and since when.
    pub(super) fn next(&self) -> Option<(Time, &Stream)> {
        let streams = [self.queue.stream(), &self.answers, &self.lost];
        let ready = streams
            .into_iter()
            .filter_map(|stream| Some((stream.ready()?, stream)));
        ready.min_by_key(|(ready, _)| *ready)
    }

    pub(super) fn share(&self) -> u64 {
        self.share.load(Ordering::Relaxed)
    }

    pub(super) fn set_share(&self, share: u64) {
        self.share.store(share, Ordering::Relaxed);
    }
}
