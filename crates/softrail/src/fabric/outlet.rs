use super::{Queue, Stream, Time};

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
}
