//! Events that a client can sleep for, with file descriptors that poll readable while
//! there are any.

use std::{
    collections::VecDeque,
    ffi::c_int,
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{bindings as ibv, lock};

/// The most events that may be queued. Further ones are lost, as on a device whose event
/// queue is full.
const MOST: usize = 1 << 15;

/// The application's object that an event is about. It counts the events that the
/// application has read and not acknowledged: until then the object must live.
#[derive(Debug, Default)]
pub struct Subject {
    /// The application's pointer to the object; 0 for the port.
    pub object: usize,
    /// The context value that the application chose for the object.
    pub context: usize,
    unacknowledged: Mutex<u64>,
    acknowledged: Condvar,
}

impl Subject {
    pub fn new(object: usize, context: usize) -> Arc<Self> {
        Arc::new(Subject {
            object,
            context,
            ..Subject::default()
        })
    }

    /// Records that the application has acknowledged this many events.
    pub fn acknowledge(&self, count: u32) {
        let mut left = lock(&self.unacknowledged);
        *left = left.saturating_sub(u64::from(count));
        self.acknowledged.notify_all();
    }

    /// Waits until every event that was read is acknowledged.
    pub fn await_acknowledgements(&self) {
        let left = lock(&self.unacknowledged);
        let waited = self.acknowledged.wait_while(left, |left| *left > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Events in order, and a pair of sockets of which the reader holds one byte exactly
/// while there are any.
#[derive(Debug)]
pub struct EventQueue<T> {
    reader: UnixStream,
    writer: UnixStream,
    events: Mutex<VecDeque<(T, Arc<Subject>)>>,
}

/// The events of a completion channel.
pub type ChannelEvents = EventQueue<()>;

/// The asynchronous events of a device.
pub type AsyncEvents = EventQueue<ibv::ibv_event_type>;

impl<T> EventQueue<T> {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        Ok(EventQueue {
            reader,
            writer,
            events: Mutex::default(),
        })
    }

    /// The descriptor that the application polls, and may make non-blocking.
    pub fn fd(&self) -> c_int {
        self.reader.as_raw_fd()
    }

    pub fn push(&self, event: T, subject: &Arc<Subject>) {
        let mut events = lock(&self.events);
        if events.len() == MOST {
            return;
        }
        events.push_back((event, Arc::clone(subject)));
        if events.len() == 1 {
            // The reader belongs to this queue and holds no byte.
            let _ = send(&self.writer, &[0], SendFlags::DONTWAIT);
        }
    }

    /// Waits for the next event, which the application must acknowledge.
    ///
    /// # Errors
    /// If a signal comes first, or if the application made the descriptor non-blocking
    /// and there is no event.
    pub fn next(&self) -> io::Result<(T, Arc<Subject>)> {
        loop {
            // Takes nothing: another thread may take the event first, or its object may
            // go away.
            recv(&self.reader, &mut [0], RecvFlags::PEEK)?;
            let mut events = lock(&self.events);
            if let Some((event, subject)) = events.pop_front() {
                // Before the lock is released: from then on `forget` does not find it.
                *lock(&subject.unacknowledged) += 1;
                self.clear_if_none(&events);
                return Ok((event, subject));
            }
        }
    }

    /// Drops the events of an object that is destroyed.
    pub fn forget(&self, subject: &Arc<Subject>) {
        let mut events = lock(&self.events);
        let before = events.len();
        events.retain(|(_, other)| !Arc::ptr_eq(other, subject));
        if events.len() < before {
            self.clear_if_none(&events);
        }
    }

    /// Takes the byte from the reader when there is no event left.
    fn clear_if_none(&self, events: &VecDeque<(T, Arc<Subject>)>) {
        if events.is_empty() {
            let _ = recv(&self.reader, &mut [0], RecvFlags::DONTWAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue, and three objects that its events are about.
    fn queue() -> (EventQueue<usize>, [Arc<Subject>; 3]) {
        let subjects = [1, 2, 3].map(|object| Subject::new(object, 0));
        (EventQueue::new().expect("sockets"), subjects)
    }

    fn is_readable<T>(queue: &EventQueue<T>) -> bool {
        crate::tests::is_readable(queue.fd(), 0)
    }

    fn next(queue: &EventQueue<usize>) -> usize {
        queue.next().expect("pushed").0
    }

    #[test]
    fn events_come_in_order_and_those_of_what_went_away_do_not() {
        let (queue, subjects) = queue();
        for subject in &subjects {
            queue.push(subject.object, subject);
        }
        queue.forget(&subjects[1]);
        assert_eq!([next(&queue), next(&queue)], [1, 3]);
    }

    #[test]
    fn the_descriptor_is_readable_while_there_is_an_event_and_no_longer() {
        let (queue, [one, other, _]) = queue();
        for (event, subject) in [(1, &one), (2, &other), (3, &one)] {
            queue.push(event, subject);
        }
        queue.forget(&one);
        assert!(is_readable(&queue), "the other has an event");
        assert_eq!(next(&queue), 2);
        assert!(!is_readable(&queue));
        queue.push(4, &one);
        queue.forget(&other);
        assert!(is_readable(&queue));
        queue.forget(&one);
        assert!(!is_readable(&queue), "its only event went with its object");
        queue.push(5, &other);
        assert_eq!(next(&queue), 5);
    }

    #[test]
    fn a_full_queue_loses_events_and_does_not_make_the_sender_wait() {
        let (queue, [subject, ..]) = queue();
        (0..3 * MOST).for_each(|event| queue.push(event, &subject));
        assert_eq!(next(&queue), 0);
        for event in 0..3 * MOST {
            queue.push(event, &subject);
            queue.forget(&subject);
        }
        queue.push(7, &subject);
        queue.push(8, &subject);
        assert_eq!([next(&queue), next(&queue)], [7, 8]);
    }
}
