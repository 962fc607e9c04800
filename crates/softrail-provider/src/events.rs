//! Events that a client can sleep for, with file descriptors that poll readable while
//! there are any.

use std::{
    collections::VecDeque,
    ffi::c_int,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
};

use rustix::io::ioctl_fionbio;

use super::{bindings as ibv, lock};

/// The most events that may be queued. Further ones are lost, as on a device whose event
/// queue is full.
const MOST: usize = 1 << 15;

/// Events in order, and a pipe that holds a byte while there are any. The pipe may also
/// hold bytes of events that were dropped.
#[derive(Debug)]
pub struct EventQueue<T> {
    reader: PipeReader,
    writer: PipeWriter,
    events: Mutex<VecDeque<T>>,
}

impl<T> EventQueue<T> {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // The thread that queues an event holds locks of a queue pair and must not wait
        // for a reader.
        ioctl_fionbio(&writer, true)?;
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

    pub fn push(&self, event: T) {
        let mut events = lock(&self.events);
        if events.len() == MOST {
            return;
        }
        events.push_back(event);
        if events.len() == 1 {
            self.mark();
        }
    }

    /// Makes the descriptor readable.
    fn mark(&self) {
        // The reader belongs to this queue, and a pipe without room is readable.
        let _ = (&self.writer).write(&[0]);
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// If a signal comes first, or if the application made the descriptor non-blocking
    /// and there is no event.
    pub fn next(&self) -> io::Result<T> {
        loop {
            // Not `read_exact`, which does not return on a signal.
            let _one = (&self.reader).read(&mut [0])?;
            let mut events = lock(&self.events);
            if let Some(event) = events.pop_front() {
                if !events.is_empty() {
                    self.mark();
                }
                return Ok(event);
            }
        }
    }

    /// Drops the events of an object that is destroyed.
    pub fn forget(&self, is_of: impl Fn(&T) -> bool) {
        lock(&self.events).retain(|event| !is_of(event));
    }
}

/// An asynchronous event of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsyncEvent {
    pub kind: ibv::ibv_event_type,
    /// The application's object that the event is about; 0 for the port.
    pub object: usize,
}

impl AsyncEvent {
    /// An event about the port.
    pub fn of_port(kind: ibv::ibv_event_type) -> Self {
        AsyncEvent { kind, object: 0 }
    }
}

/// Reports the completions of one completion queue to a completion channel.
#[derive(Debug)]
pub struct Notifier {
    channel: Arc<EventQueue<usize>>,
    armed: AtomicU8,
}

/// The completions for which the application requested an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Wanted {
    Nothing,
    /// Those of solicited messages, and failures.
    Solicited,
    Everything,
}

impl Notifier {
    pub fn new(channel: Arc<EventQueue<usize>>) -> Self {
        Notifier {
            channel,
            armed: AtomicU8::new(Wanted::Nothing as u8),
        }
    }

    pub fn channel(&self) -> &EventQueue<usize> {
        &self.channel
    }

    /// Requests one event.
    pub fn arm(&self, wanted: Wanted) {
        self.armed.fetch_max(wanted as u8, Ordering::SeqCst);
    }

    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed) != Wanted::Nothing as u8
    }

    /// Reports a new completion in `queue`. A `worthy` completion also produces an event
    /// if the application requested one for solicited messages only.
    pub fn completed(&self, queue: usize, worthy: bool) {
        let disarmed = |armed| {
            let everything = armed == Wanted::Everything as u8;
            let wanted = everything || armed != Wanted::Nothing as u8 && worthy;
            wanted.then_some(Wanted::Nothing as u8)
        };
        // In one step, because the application may request another event at this moment.
        let told = self
            .armed
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, disarmed);
        if told.is_ok() {
            self.channel.push(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_those_of_what_went_away_do_not() {
        let queue = EventQueue::new().expect("a pipe");
        [1, 2, 3].into_iter().for_each(|event| queue.push(event));
        queue.forget(|event| *event == 2);
        let both = [queue.next(), queue.next()].map(|event| event.expect("pushed"));
        assert_eq!(both, [1, 3]);
    }

    #[test]
    fn who_tells_does_not_wait_for_who_never_asks() {
        let queue = EventQueue::new().expect("a pipe");
        (0..3 * MOST).for_each(|event| queue.push(event));
        assert_eq!(queue.next().expect("pushed"), 0);
    }

    #[test]
    fn who_tells_does_not_wait_even_if_all_is_forgotten() {
        let queue = EventQueue::new().expect("a pipe");
        for event in 0..3 * MOST {
            queue.push(event);
            queue.forget(|_| true);
        }
        queue.push(7);
        queue.push(8);
        let both = [queue.next(), queue.next()].map(|event| event.expect("pushed"));
        assert_eq!(both, [7, 8]);
    }

    #[test]
    fn one_event_is_told_for_each_time_that_one_was_asked_for() {
        let channel = Arc::new(EventQueue::new().expect("a pipe"));
        let notifier = Notifier::new(Arc::clone(&channel));
        notifier.completed(1, true);
        notifier.arm(Wanted::Solicited);
        notifier.completed(2, false);
        notifier.completed(3, true);
        notifier.completed(4, true);
        notifier.arm(Wanted::Everything);
        notifier.completed(5, false);
        let told = [channel.next(), channel.next()].map(|event| event.expect("pushed"));
        assert_eq!(told, [3, 5]);
    }
}
