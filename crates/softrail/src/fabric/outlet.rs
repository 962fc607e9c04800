use super::{Queue, Stream, Time};
use crate::sync::{AtomicU64, Ordering};

/// Everything that one queue pair puts on its direction of a cable. All zeros is an
/// outlet that never sent anything.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Outlet {
    /// The queue pair's messages.
    pub queue: Queue,
    /// The queue pair's answers to reads from the other end.
    pub answers: Stream,
    /// Messages that never arrive.
    pub lost: Stream,
    /// The bytes that this outlet was given, raised to the share of the others while it
    /// had nothing to send.
    share: AtomicU64,
}

impl Outlet {
    /// Empties the outlet for its next queue pair. No process may be using it, except a
    /// receiver that is late.
    pub fn reset(&self) {
        self.queue.reset();
        self.answers.reset();
        self.lost.reset();
    }

    /// The stream that is ready first, and when it is ready.
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
