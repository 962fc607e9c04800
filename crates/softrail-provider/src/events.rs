//! What a client can sleep for: events, and file descriptors that poll readable
//! while there are any.

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

use super::{bindings as ibv, lock};

/// Events that may wait to be asked for. Further ones are lost, as a device loses them
/// whose queue of events is full: a pipe has room for twice as many.
const MOST: usize = 1 << 15;

/// Events in order, and a pipe that holds a byte for each.
#[derive(Debug)]
pub struct EventQueue<T> {
    reader: PipeReader,
    writer: PipeWriter,
    events: Mutex<VecDeque<T>>,
}

impl<T> EventQueue<T> {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(EventQueue {
            reader,
            writer,
            events: Mutex::default(),
        })
    }

    /// What the application polls, and may make non-blocking.
    pub fn fd(&self) -> c_int {
        self.reader.as_raw_fd()
    }

    pub fn push(&self, event: T) {
        let mut events = lock(&self.events);
        if events.len() == MOST {
            return;
        }
        events.push_back(event);
        drop(events);
        // The reader is ours.
        let _ = (&self.writer).write(&[0]);
    }

    /// The next event, once there is one.
    ///
    /// # Errors
    /// When a signal comes first, or the application made the descriptor
    /// non-blocking and there is none.
    pub fn next(&self) -> io::Result<T> {
        loop {
            // Not `read_exact`, which does not stop for a signal.
            let _one = (&self.reader).read(&mut [0])?;
            if let Some(event) = lock(&self.events).pop_front() {
                return Ok(event);
            }
        }
    }

    /// Drops the events of an object that goes away.
    pub fn forget(&self, is_of: impl Fn(&T) -> bool) {
        lock(&self.events).retain(|event| !is_of(event));
    }
}

/// An asynchronous event of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsyncEvent {
    pub kind: ibv::ibv_event_type,
    /// The application's object that it is about; 0 for the port.
    pub object: usize,
}

impl AsyncEvent {
    /// One that is about the port.
    pub fn of_port(kind: ibv::ibv_event_type) -> Self {
        AsyncEvent { kind, object: 0 }
    }
}

/// Tells a completion channel of one completion queue.
#[derive(Debug)]
pub struct Notifier {
    channel: Arc<EventQueue<usize>>,
    armed: AtomicU8,
}

/// Which completions the application wants to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Wanted {
    Nothing,
    /// Of messages that were sent as solicited, and of failures.
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

    /// Asks for one event.
    pub fn arm(&self, wanted: Wanted) {
        self.armed.fetch_max(wanted as u8, Ordering::SeqCst);
    }

    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed) != Wanted::Nothing as u8
    }

    /// There is a new completion in `queue`. `worthy` completions are told to who
    /// wants only solicited ones, too.
    pub fn completed(&self, queue: usize, worthy: bool) {
        let armed = self.armed.load(Ordering::SeqCst);
        let wanted = armed == Wanted::Everything as u8 || armed != Wanted::Nothing as u8 && worthy;
        if wanted && self.armed.swap(Wanted::Nothing as u8, Ordering::SeqCst) == armed {
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
