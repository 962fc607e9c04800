use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use rail_matrix::Link;

use super::{
    Direction, Time, Transit,
    message::{Message, Remote},
};

/// The most frames a queue holds. jaccl keeps two in flight for each queue pair;
/// the rest is room for clients with deeper send queues.
pub const DEPTH: usize = 64;

/// The most bytes a queue holds, and so the longest message: two of jaccl's
/// longest frames (512 KiB).
pub const QUEUE_BYTES: u64 = 1 << 20;

/// What the receiver did with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Fate {
    /// It took the frame, or lost it without a word.
    Taken,
    /// It had no receive for it.
    NotReady,
    /// It was not to touch the memory that the frame names.
    AccessDenied,
    /// The frame was longer than the receive.
    TooLong,
    /// Its own receive was no good.
    Failed,
}

impl Fate {
    fn decode(code: u32) -> Self {
        [
            Fate::Taken,
            Fate::NotReady,
            Fate::AccessDenied,
            Fate::TooLong,
        ]
        .into_iter()
        .find(|fate| *fate as u32 == code)
        .unwrap_or(Fate::Failed)
    }
}

/// The frames of one sending queue pair that nobody has received yet.
///
/// One sender and one receiver use it at the same time, from two processes. All
/// zeros is an empty queue. The bytes of the frames are elsewhere: the queue only
/// says where, as offsets into a ring of [`QUEUE_BYTES`]. What a read brings back
/// goes into the room that its frame has there.
#[derive(Debug)]
#[repr(C)]
pub struct Queue {
    published: Cursor,
    settled: Cursor,
    frames: [Entry; DEPTH],
}

/// A count of frames, alone on its cache line: one side writes it while the other
/// polls it.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Cursor(AtomicU64);

/// Written by the sender before it moves `published` past it (all but the last
/// two) and by the receiver before it moves `settled` past it (the last two).
#[derive(Debug, Default)]
#[repr(C)]
struct Entry {
    offset: AtomicU64,
    bytes: AtomicU64,
    arrives: AtomicU64,
    remote_address: AtomicU64,
    remote_key: AtomicU32,
    immediate: AtomicU32,
    code: AtomicU32,
    fate: AtomicU32,
    credit: AtomicU64,
}

/// A frame as the receiver finds it at the head of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where its bytes begin in the ring; they may wrap around its end.
    pub offset: u64,
    /// What it carries.
    pub message: Message,
    /// When the last of it arrives.
    pub arrives: Time,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            published: Cursor::default(),
            settled: Cursor::default(),
            frames: std::array::from_fn(|_| Entry::default()),
        }
    }
}

impl Queue {
    /// Empties the queue for its next user. Nobody else may be using it.
    pub fn reset(&self) {
        self.settled.0.store(0, Ordering::Relaxed);
        self.published.0.store(0, Ordering::Release);
    }

    /// The oldest frame that was not settled yet, whether or not it has arrived.
    /// A frame that makes no sense is none: the sender's process is not trusted.
    pub fn head(&self) -> Option<Frame> {
        let settled = self.settled.0.load(Ordering::Relaxed);
        let published = self.published.0.load(Ordering::Acquire);
        // More than there can be would keep the receiver at it for ever.
        if !(1..=DEPTH as u64).contains(&published.wrapping_sub(settled)) {
            return None;
        }
        let entry = self.entry(settled);
        let offset = entry.offset.load(Ordering::Relaxed);
        let bytes = entry.bytes.load(Ordering::Relaxed);
        if offset >= QUEUE_BYTES || bytes > QUEUE_BYTES {
            return None;
        }
        let remote = Remote {
            address: entry.remote_address.load(Ordering::Relaxed),
            key: entry.remote_key.load(Ordering::Relaxed),
        };
        let code = entry.code.load(Ordering::Relaxed);
        let immediate = entry.immediate.load(Ordering::Relaxed);
        Some(Frame {
            offset,
            message: Message::decode(code, bytes, immediate, remote)?,
            arrives: Time::from_nanos(entry.arrives.load(Ordering::Relaxed)),
        })
    }

    /// How many frames it holds.
    pub fn depth(&self) -> u64 {
        let settled = self.settled.0.load(Ordering::Relaxed);
        let published = self.published.0.load(Ordering::Relaxed);
        published.saturating_sub(settled)
    }

    /// Removes the frame at the head. The sender learns of its fate, and has the
    /// room back, at `heard`. The receiver must have copied what it wants before.
    pub fn settle(&self, heard: Time, fate: Fate) {
        let settled = self.settled.0.load(Ordering::Relaxed);
        let entry = self.entry(settled);
        entry.credit.store(heard.as_nanos(), Ordering::Relaxed);
        entry.fate.store(fate as u32, Ordering::Relaxed);
        self.settled
            .0
            .store(settled.wrapping_add(1), Ordering::Release);
    }

    fn entry(&self, frame: u64) -> &Entry {
        &self.frames[(frame % DEPTH as u64) as usize]
    }
}

/// Room for one frame, whose bytes the sender copies into the ring before it
/// publishes the frame.
#[derive(Debug)]
#[must_use = "a frame that is not published stops the queue"]
pub struct Reservation {
    /// Where the bytes go in the ring; they may wrap around its end.
    pub offset: u64,
    /// When the frame leaves and arrives.
    pub transit: Transit,
    frame: u64,
}

impl Reservation {
    /// The frame's number on its queue, from 0.
    pub fn frame(&self) -> u64 {
        self.frame
    }
}

/// The sender's own view of its queue: what it has put there and not got back.
#[derive(Debug, Default)]
pub struct Sender {
    next: u64,
    written: u64,
    used: u64,
    /// The bytes of every frame whose room is not back, oldest first.
    held: VecDeque<u64>,
    /// When the sender heard of those of them that it has heard of.
    credits: VecDeque<Time>,
    latest_credit: Time,
}

impl Sender {
    /// Whether a message of `bytes` needs room that is taken.
    pub fn is_full(&self, bytes: u64) -> bool {
        self.used + bytes > QUEUE_BYTES || self.held.len() == DEPTH
    }

    /// Puts a message on the cable that the application handed over at `posted`.
    /// `None` when the queue is full; [`hear`](Self::hear) makes room.
    ///
    /// The frame starts when both it and the room for it are there, not when this
    /// is called: hardware would not wait for the application to look.
    pub fn reserve(
        &mut self,
        queue: &Queue,
        direction: &Direction,
        link: &Link,
        posted: Time,
        message: Message,
    ) -> Option<Reservation> {
        let bytes = message.bytes;
        while self.is_full(bytes) {
            let credit = self.credits.pop_front()?;
            self.used -= self.held.pop_front()?;
            self.latest_credit = self.latest_credit.max(credit);
        }
        let frame = self.next;
        let offset = self.written % QUEUE_BYTES;
        let ready = posted.max(self.latest_credit);
        let transit = direction.transmit(link, ready, message.carried());
        let remote = message.remote();
        let entry = queue.entry(frame);
        entry.offset.store(offset, Ordering::Relaxed);
        entry.bytes.store(bytes, Ordering::Relaxed);
        entry.code.store(message.code(), Ordering::Relaxed);
        let immediate = message.immediate.unwrap_or_default();
        entry.immediate.store(immediate, Ordering::Relaxed);
        entry
            .remote_address
            .store(remote.address, Ordering::Relaxed);
        entry.remote_key.store(remote.key, Ordering::Relaxed);
        entry
            .arrives
            .store(transit.arrives.as_nanos(), Ordering::Relaxed);
        self.next += 1;
        self.written += bytes;
        self.used += bytes;
        self.held.push_back(bytes);
        Some(Reservation {
            offset,
            transit,
            frame,
        })
    }

    /// Shows the frame to the receiver. Frames are published in the order in
    /// which they were reserved.
    pub fn publish(&self, queue: &Queue, reservation: Reservation) {
        queue
            .published
            .0
            .store(reservation.frame + 1, Ordering::Release);
    }

    /// What became of the oldest frame that the sender has not heard of, if the
    /// word has travelled by `now`. The room is the sender's again, so what a read
    /// brought must be copied before anything else is reserved.
    pub fn hear(&mut self, queue: &Queue, now: Time) -> Option<Heard> {
        let frame = self.next - (self.held.len() - self.credits.len()) as u64;
        if frame == self.next || frame >= queue.settled.0.load(Ordering::Acquire) {
            return None;
        }
        let entry = queue.entry(frame);
        let credit = Time::from_nanos(entry.credit.load(Ordering::Relaxed));
        if credit > now {
            return None;
        }
        self.credits.push_back(credit);
        Some(Heard {
            frame,
            offset: entry.offset.load(Ordering::Relaxed) % QUEUE_BYTES,
            fate: Fate::decode(entry.fate.load(Ordering::Relaxed)),
        })
    }

    /// When there is something to hear, if the receiver has settled more than the
    /// sender has heard of.
    pub fn next_word(&self, queue: &Queue) -> Option<Time> {
        let frame = self.next - (self.held.len() - self.credits.len()) as u64;
        let settled = frame < self.next && frame < queue.settled.0.load(Ordering::Acquire);
        let credit = || Time::from_nanos(queue.entry(frame).credit.load(Ordering::Relaxed));
        settled.then(credit)
    }
}

/// A frame of which the sender has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its number on the queue.
    pub frame: u64,
    /// Where its room begins in the ring.
    pub offset: u64,
    /// What the receiver did with it.
    pub fate: Fate,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fabric::Operation;

    const LINK: Link = Link {
        bytes_per_second: 1_000_000_000,
        latency: Duration::from_nanos(500),
    };

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[derive(Default)]
    struct Rail {
        queue: Queue,
        direction: Direction,
        sender: Sender,
    }

    impl Rail {
        fn send(&mut self, now: Time, posted: Time, bytes: u64) -> Option<Transit> {
            while self.sender.hear(&self.queue, now).is_some() {}
            let message = Message::send(bytes);
            let reservation =
                self.sender
                    .reserve(&self.queue, &self.direction, &LINK, posted, message)?;
            let transit = reservation.transit;
            self.sender.publish(&self.queue, reservation);
            Some(transit)
        }
    }

    #[test]
    fn a_frame_appears_when_published_and_not_before() {
        let mut rail = Rail::default();
        let reservation = rail
            .sender
            .reserve(
                &rail.queue,
                &rail.direction,
                &LINK,
                at(0),
                Message::send(100),
            )
            .expect("an empty queue has room");
        assert_eq!(rail.queue.head(), None);
        rail.sender.publish(&rail.queue, reservation);
        assert_eq!(
            rail.queue.head(),
            Some(Frame {
                offset: 0,
                message: Message::send(100),
                arrives: at(600)
            })
        );
    }

    #[test]
    fn a_full_queue_has_room_again_one_latency_after_the_receiver_took_a_frame() {
        let mut rail = Rail::default();
        assert!(rail.send(at(0), at(0), QUEUE_BYTES).is_some());
        assert_eq!(rail.send(at(0), at(0), 1), None);

        let taken = at(2_000_000);
        rail.queue.settle(taken + LINK.latency, Fate::Taken);
        assert_eq!(rail.send(taken, at(0), 1), None);
        let transit = rail
            .send(at(9_000_000), at(0), 1)
            .expect("the credit is back");
        assert_eq!(
            transit.departs,
            at(2_000_501),
            "it left when it could, not when someone looked"
        );
    }

    #[test]
    fn the_number_of_frames_is_bounded_too() {
        let mut rail = Rail::default();
        assert!((0..DEPTH).all(|_| rail.send(at(0), at(0), 0).is_some()));
        assert_eq!(rail.send(at(0), at(0), 0), None);
    }

    #[test]
    fn the_fate_of_a_frame_reaches_the_sender_once_and_in_its_time() {
        let mut rail = Rail::default();
        for fate in [Fate::NotReady, Fate::AccessDenied, Fate::TooLong] {
            rail.send(at(0), at(0), 10).expect("room");
            rail.queue.settle(at(600), fate);
            assert_eq!(rail.sender.next_word(&rail.queue), Some(at(600)));
            assert_eq!(rail.sender.hear(&rail.queue, at(599)), None);
            let heard = rail.sender.hear(&rail.queue, at(600));
            assert_eq!(heard.map(|heard| heard.fate), Some(fate));
            assert_eq!(rail.sender.hear(&rail.queue, at(600)), None);
        }
    }

    #[test]
    fn a_read_asks_for_bytes_and_carries_none() {
        let mut rail = Rail::default();
        let remote = Remote {
            address: 0x1000,
            key: 7,
        };
        let message = Message {
            operation: Operation::Read(remote),
            ..Message::send(4096)
        };
        let reservation = rail
            .sender
            .reserve(&rail.queue, &rail.direction, &LINK, at(0), message)
            .expect("room");
        assert_eq!(reservation.transit.arrives, at(500));
        rail.sender.publish(&rail.queue, reservation);
        assert_eq!(
            rail.queue.head().map(|frame| frame.message),
            Some(message),
            "what the receiver finds is what was sent"
        );
    }
}
