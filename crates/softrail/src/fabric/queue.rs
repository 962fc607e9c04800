use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use rail_matrix::Link;

use super::{Direction, Time, Transit};

/// The most frames a queue holds. jaccl keeps two in flight for each queue pair;
/// the rest is room for clients with deeper send queues.
pub const DEPTH: usize = 64;

/// The most bytes a queue holds, and so the longest message: two of jaccl's
/// longest frames (512 KiB).
pub const QUEUE_BYTES: u64 = 1 << 20;

/// What the receiver did with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It took the frame, or lost it without a word.
    Taken,
    /// It turned the frame away.
    Refused,
}

/// The frames of one sending queue pair that nobody has received yet.
///
/// One sender and one receiver use it at the same time, from two processes. All
/// zeros is an empty queue. The bytes of the frames are elsewhere: the queue only
/// says where, as offsets into a ring of [`QUEUE_BYTES`].
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

/// Written by the sender before it moves `published` past it (the first three)
/// and by the receiver before it moves `settled` past it (the last two).
#[derive(Debug, Default)]
#[repr(C)]
struct Entry {
    offset: AtomicU64,
    bytes: AtomicU64,
    arrives: AtomicU64,
    credit: AtomicU64,
    refused: AtomicU32,
}

/// A frame as the receiver finds it at the head of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where its bytes begin in the ring; they may wrap around its end.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
    /// When the last of them arrives.
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
    pub fn head(&self) -> Option<Frame> {
        let settled = self.settled.0.load(Ordering::Relaxed);
        if settled == self.published.0.load(Ordering::Acquire) {
            return None;
        }
        let entry = self.entry(settled);
        Some(Frame {
            offset: entry.offset.load(Ordering::Relaxed),
            bytes: entry.bytes.load(Ordering::Relaxed),
            arrives: Time::from_nanos(entry.arrives.load(Ordering::Relaxed)),
        })
    }

    /// Removes the frame at the head, which met its fate at `at`. The sender
    /// learns of it, and has the room back, one latency later. The receiver must
    /// have copied what it wants before.
    pub fn settle(&self, link: &Link, at: Time, fate: Fate) {
        let settled = self.settled.0.load(Ordering::Relaxed);
        let entry = self.entry(settled);
        entry
            .credit
            .store((at + link.latency).as_nanos(), Ordering::Relaxed);
        entry
            .refused
            .store(u32::from(fate == Fate::Refused), Ordering::Relaxed);
        self.settled.0.store(settled + 1, Ordering::Release);
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
    held: VecDeque<u64>,
    latest_credit: Time,
    refused: bool,
}

impl Sender {
    /// Puts a frame of `bytes` on the cable, which the application handed over at
    /// `posted`. `None` when the queue is full; ask again later.
    ///
    /// The frame starts when both it and the room for it are there, not when this
    /// is called: hardware would not wait for the application to look.
    pub fn reserve(
        &mut self,
        queue: &Queue,
        direction: &Direction,
        link: &Link,
        now: Time,
        posted: Time,
        bytes: u64,
    ) -> Option<Reservation> {
        while self.used + bytes > QUEUE_BYTES || self.held.len() == DEPTH {
            self.reclaim(queue, now)?;
        }
        let frame = self.next;
        let offset = self.written % QUEUE_BYTES;
        let transit = direction.transmit(link, posted.max(self.latest_credit), bytes);
        let entry = queue.entry(frame);
        entry.offset.store(offset, Ordering::Relaxed);
        entry.bytes.store(bytes, Ordering::Relaxed);
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

    /// Whether the sender has heard by `now` what became of a frame.
    pub fn is_settled(&mut self, queue: &Queue, now: Time, frame: u64) -> bool {
        while self.oldest_held() <= frame {
            if self.reclaim(queue, now).is_none() {
                return false;
            }
        }
        true
    }

    /// Whether a settled frame was refused since the last call.
    pub fn take_refusal(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    fn oldest_held(&self) -> u64 {
        self.next - self.held.len() as u64
    }

    /// Takes back the room of the oldest frame, if the receiver settled it and
    /// the word had time to travel.
    fn reclaim(&mut self, queue: &Queue, now: Time) -> Option<()> {
        let oldest = self.oldest_held();
        if oldest == queue.settled.0.load(Ordering::Acquire) {
            return None;
        }
        let entry = queue.entry(oldest);
        let credit = Time::from_nanos(entry.credit.load(Ordering::Relaxed));
        if credit > now {
            return None;
        }
        self.used -= self.held.pop_front()?;
        self.latest_credit = self.latest_credit.max(credit);
        self.refused |= entry.refused.load(Ordering::Relaxed) != 0;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
            let reservation =
                self.sender
                    .reserve(&self.queue, &self.direction, &LINK, now, posted, bytes)?;
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
            .reserve(&rail.queue, &rail.direction, &LINK, at(0), at(0), 100)
            .expect("an empty queue has room");
        assert_eq!(rail.queue.head(), None);
        rail.sender.publish(&rail.queue, reservation);
        assert_eq!(
            rail.queue.head(),
            Some(Frame {
                offset: 0,
                bytes: 100,
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
        rail.queue.settle(&LINK, taken, Fate::Taken);
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
    fn a_refusal_reaches_the_sender_once() {
        let mut rail = Rail::default();
        rail.send(at(0), at(0), 10).expect("room");
        rail.queue.settle(&LINK, at(100), Fate::Refused);
        assert!(!rail.sender.is_settled(&rail.queue, at(599), 0));
        assert!(rail.sender.is_settled(&rail.queue, at(600), 0));
        assert!(rail.sender.take_refusal());
        assert!(!rail.sender.take_refusal());
    }
}
