use std::collections::VecDeque;

use super::{
    FRAME_BYTES, Load, Stream, Time,
    message::{Message, Operation, Remote},
    stream::Cursor,
};
use crate::sync::{AtomicU32, AtomicU64, ENTRIES, Ordering, fence, overwrite};

/// The most messages a queue holds. jaccl keeps two in flight for each queue pair; the
/// rest is room for clients with deeper send queues.
pub const DEPTH: usize = ENTRIES;

/// The most bytes a queue holds, unless it holds one message that is longer: two of
/// jaccl's longest frames (512 KiB).
pub const QUEUE_BYTES: u64 = 1 << 20;

/// The longest message: 4095 frames, as over Thunderbolt.
pub const MESSAGE_BYTES: u64 = 4095 * FRAME_BYTES;

/// What the receiver did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Fate {
    /// The receiver took the message, or lost it silently.
    Taken,
    /// The receiver had no receive posted.
    NotReady,
    /// The receiver may not access the memory that the message names.
    AccessDenied,
    /// The message was longer than the receive.
    TooLong,
    /// The receiver's own posted receive was invalid.
    Failed,
}

impl Fate {
    fn decode(code: u64) -> Self {
        [
            Fate::Taken,
            Fate::NotReady,
            Fate::AccessDenied,
            Fate::TooLong,
        ]
        .into_iter()
        .find(|fate| *fate as u64 == code)
        .unwrap_or(Fate::Failed)
    }
}

/// The messages of one sending queue pair that the receiver has not yet taken.
///
/// One sender and one receiver use a queue at the same time, from two processes. All
/// zeros is an empty queue. The bytes of the messages are stored elsewhere: the queue
/// holds offsets into a ring of [`QUEUE_BYTES`]; a longer message lies at the ring's start
/// and goes on behind its end. A read's data is returned in the room
/// that its message has there.
#[derive(Debug)]
#[repr(C)]
pub struct Queue {
    /// When the messages leave and arrive.
    stream: Stream,
    settled: Cursor,
    messages: [Entry; DEPTH],
}

/// The sender writes all fields before it offers the message. The receiver writes the
/// verdict before it moves `settled` past the message.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Entry {
    offset: AtomicU64,
    bytes: AtomicU64,
    remote_address: AtomicU64,
    remote_key: AtomicU32,
    immediate: AtomicU32,
    code: AtomicU32,
    /// A [`Verdict`].
    verdict: AtomicU64,
}

/// What the receiver did with a message, and a word about when. They are in one word of
/// memory together with the message's number, which the receiver replaces: a receiver
/// that is late with an earlier message in the same entry does not find its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    fate: Fate,
    /// When the sender is notified of the message's fate. For a read it is the number of
    /// the answer, and the answer's arrival is the notification.
    word: u64,
}

impl Verdict {
    const FATE_BITS: u32 = 3;
    /// Stands in the place of a fate while there is none.
    const OPEN: u64 = (1 << Self::FATE_BITS) - 1;

    /// The word of a message that is not settled.
    fn open(message: u64) -> u64 {
        message << Self::FATE_BITS | Self::OPEN
    }

    fn to_word(self) -> u64 {
        let most = u64::MAX >> Self::FATE_BITS;
        self.word.min(most) << Self::FATE_BITS | self.fate as u64
    }

    fn from_word(word: u64) -> Self {
        Verdict {
            fate: Fate::decode(word & Self::OPEN),
            word: word >> Self::FATE_BITS,
        }
    }
}

/// A message as the receiver finds it at the head of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// Its number on the queue.
    pub number: u64,
    /// Offset of its bytes in the ring. They may wrap around its end.
    pub offset: u64,
    /// The message itself.
    pub message: Message,
    /// When its last byte arrives.
    pub arrives: Time,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            stream: Stream::default(),
            settled: Cursor::default(),
            messages: std::array::from_fn(|_| Entry::default()),
        }
    }
}

impl Queue {
    /// Empties the queue for its next sender. No process may be sending. A receiver that
    /// is still handling a message of the last sender cannot [settle](Self::settle) it
    /// any more.
    pub fn reset(&self) {
        // The messages are gone before the stream claims that all of them have times.
        let next = self.stream.next_number();
        overwrite(&self.settled.0, next);
        // Pairs with the fence in `remove`: a receiver that has read bytes of the next
        // sender finds the cursor moved.
        fence(Ordering::Release);
        self.stream.reset();
    }

    /// The loads that the queue's messages put on the cable.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The oldest message that is not settled, whether or not it has arrived. `None`
    /// while its arrival time is unknown; [advancing](super::Direction::advance) the
    /// direction determines it. Also `None` for an invalid message: the sender's process
    /// is not trusted.
    pub fn head(&self) -> Option<Incoming> {
        let settled = self.settled.0.load(Ordering::Relaxed);
        let transit = self.stream.transit(settled)?;
        // An impossible count would keep the receiver busy without end.
        if !(1..=DEPTH as u64).contains(&self.stream.offered().wrapping_sub(settled)) {
            return None;
        }
        let entry = self.entry(settled);
        let offset = entry.offset.load(Ordering::Relaxed);
        let bytes = entry.bytes.load(Ordering::Relaxed);
        let is_long = bytes > QUEUE_BYTES;
        // A message that cannot be settled would keep the receiver busy, too.
        let is_open = entry.verdict.load(Ordering::Relaxed) == Verdict::open(settled);
        let is_wrong = offset >= QUEUE_BYTES || is_long && (offset != 0 || bytes > MESSAGE_BYTES);
        if is_wrong || !is_open {
            return None;
        }
        let remote = Remote {
            address: entry.remote_address.load(Ordering::Relaxed),
            key: entry.remote_key.load(Ordering::Relaxed),
        };
        let code = entry.code.load(Ordering::Relaxed);
        let immediate = entry.immediate.load(Ordering::Relaxed);
        Some(Incoming {
            number: settled,
            offset,
            message: Message::decode(code, bytes, immediate, remote)?,
            arrives: transit.arrives,
        })
    }

    /// How many messages the queue holds.
    pub fn depth(&self) -> u64 {
        let settled = self.settled.0.load(Ordering::Relaxed);
        self.stream.offered().saturating_sub(settled)
    }

    /// Removes message `number`, which was found at the [head](Self::head). The sender is
    /// notified of its fate and gets the room back at `heard`. The receiver must have
    /// copied the bytes it needs.
    ///
    /// `false` if the sender has reset its queue meanwhile. The message is gone then, and
    /// the bytes that the receiver has copied may be those of the next sender.
    #[must_use = "the message may be gone"]
    pub fn settle(&self, number: u64, heard: Time, fate: Fate) -> bool {
        let word = heard.as_nanos();
        self.remove(number, Verdict { fate, word })
    }

    /// Removes read `number`, which was found at the [head](Self::head). The data is in
    /// the message's room, and is valid for the sender once load `answer` of the
    /// receiver's answers has arrived. `false` as for [`settle`](Self::settle).
    #[must_use = "the message may be gone"]
    pub fn answer(&self, number: u64, answer: u64) -> bool {
        let (fate, word) = (Fate::Taken, answer);
        self.remove(number, Verdict { fate, word })
    }

    fn remove(&self, number: u64, verdict: Verdict) -> bool {
        // After the bytes were copied, before the cursor is read.
        fence(Ordering::Acquire);
        let (open, closed) = (Verdict::open(number), verdict.to_word());
        let (entry, relaxed) = (self.entry(number), Ordering::Relaxed);
        let cursor = &self.settled.0;
        // Each exchange fails if the queue was reset: the first if another message uses
        // the entry by now, the second in every case.
        let named = entry
            .verdict
            .compare_exchange(open, closed, relaxed, relaxed);
        let next = number.wrapping_add(1);
        named.is_ok()
            && cursor
                .compare_exchange(number, next, Ordering::Release, relaxed)
                .is_ok()
    }

    fn verdict(&self, message: u64) -> Verdict {
        Verdict::from_word(self.entry(message).verdict.load(Ordering::Relaxed))
    }

    fn entry(&self, message: u64) -> &Entry {
        &self.messages[(message % DEPTH as u64) as usize]
    }
}

/// Room for one message. The sender copies the bytes into the ring before it publishes
/// the message.
#[derive(Debug)]
#[must_use = "a message that is not published stops the queue"]
pub struct Reservation {
    /// Offset of the bytes in the ring. They may wrap around its end.
    pub offset: u64,
    load: Load,
}

/// The sender's own view of its queue: the messages it has offered and whose room it has
/// not got back.
#[derive(Debug, Default)]
pub struct Sender {
    next: u64,
    written: u64,
    used: u64,
    /// Every message whose room is still in use, oldest first.
    held: VecDeque<Held>,
    /// The times at which the sender was notified, for those messages that it was
    /// notified of.
    credits: VecDeque<Time>,
    latest_credit: Time,
}

#[derive(Debug)]
struct Held {
    bytes: u64,
    is_read: bool,
}

impl Sender {
    /// The sender of an empty queue.
    pub fn of(queue: &Queue) -> Self {
        Sender {
            next: queue.stream.offered(),
            ..Self::default()
        }
    }

    /// Whether the sender must wait for room before it can send a message of `bytes`.
    pub fn is_full(&self, bytes: u64) -> bool {
        let is_full = self.used > 0 && self.used + bytes > QUEUE_BYTES;
        is_full || self.held.len() == DEPTH
    }

    /// Reserves room for a message that is this load on the cable. `None` when the queue
    /// is full; [`hear`](Self::hear) frees room.
    ///
    /// The message starts when both it and its room are available, not when this is
    /// called: hardware would not wait for the application to look.
    pub fn reserve(&mut self, queue: &Queue, load: Load, message: Message) -> Option<Reservation> {
        let bytes = message.bytes;
        while self.is_full(bytes) {
            let credit = self.credits.pop_front()?;
            self.used -= self.held.pop_front()?.bytes;
            self.latest_credit = self.latest_credit.max(credit);
        }
        let offset = match bytes > QUEUE_BYTES {
            true => 0,
            false => self.written % QUEUE_BYTES,
        };
        let remote = message.remote();
        let entry = queue.entry(self.next);
        entry.offset.store(offset, Ordering::Relaxed);
        entry.bytes.store(bytes, Ordering::Relaxed);
        entry.code.store(message.code(), Ordering::Relaxed);
        let immediate = message.immediate.unwrap_or_default();
        entry.immediate.store(immediate, Ordering::Relaxed);
        entry
            .remote_address
            .store(remote.address, Ordering::Relaxed);
        entry.remote_key.store(remote.key, Ordering::Relaxed);
        overwrite(&entry.verdict, Verdict::open(self.next));
        self.next += 1;
        // A longer message is alone in the ring, so the next one finds all of it free.
        self.written += if bytes > QUEUE_BYTES { 0 } else { bytes };
        self.used += bytes;
        self.held.push_back(Held {
            bytes,
            is_read: matches!(message.operation, Operation::Read(_)),
        });
        Some(Reservation {
            offset,
            load: Load {
                ready: load.ready.max(self.latest_credit),
                ..load
            },
        })
    }

    /// Offers the message to the cable and returns its number on the queue; the first
    /// message has number 0. Messages are published in the order in which they were
    /// reserved.
    pub fn publish(&self, queue: &Queue, reservation: Reservation) -> u64 {
        queue.stream.offer(reservation.load)
    }

    /// When a message leaves, once that is settled. For a message that is no longer
    /// remembered this is the origin of time.
    pub fn departs(&self, queue: &Queue, message: u64) -> Option<Time> {
        if message < self.next - self.held.len() as u64 {
            return Some(Time::ZERO);
        }
        queue.stream.transit(message).map(|transit| transit.departs)
    }

    /// The fate of the oldest message that the sender was not yet notified of, if the
    /// notification has arrived by `now`. `answers` are the receiver's answers to reads,
    /// while the receiver exists. The message's room is free afterwards, so the caller
    /// must copy the data of a read before it reserves anything.
    pub fn hear(&mut self, queue: &Queue, answers: Option<&Stream>, now: Time) -> Option<Heard> {
        let heard = self.next_word(queue, answers)?;
        if heard > now {
            return None;
        }
        let message = self.unheard();
        self.credits.push_back(heard);
        let entry = queue.entry(message);
        Some(Heard {
            message,
            at: heard,
            offset: entry.offset.load(Ordering::Relaxed) % QUEUE_BYTES,
            fate: queue.verdict(message).fate,
        })
    }

    /// When the sender's next notification arrives, if the receiver has settled more
    /// messages than the sender knows of and the time is known.
    pub fn next_word(&self, queue: &Queue, answers: Option<&Stream>) -> Option<Time> {
        let message = self.unheard();
        if message >= queue.settled.0.load(Ordering::Acquire).min(self.next) {
            return None;
        }
        let Verdict { fate, word } = queue.verdict(message);
        match self.held[self.credits.len()].is_read && fate == Fate::Taken {
            true => answers?.transit(word).map(|transit| transit.arrives),
            false => Some(Time::from_nanos(word)),
        }
    }

    /// The oldest message that the sender was not notified of, or else the next message.
    fn unheard(&self) -> u64 {
        self.next - (self.held.len() - self.credits.len()) as u64
    }
}

/// A message whose fate the sender was notified of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its number on the queue.
    pub message: u64,
    /// When the notification arrived.
    pub at: Time,
    /// Offset of its room in the ring.
    pub offset: u64,
    /// What the receiver did with the message.
    pub fate: Fate,
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, time::Duration};

    use proptest::prelude::*;
    use rig::Link;

    use super::*;
    use crate::fabric::{Direction, Outlet};

    const LINK: Link = Link {
        bytes_per_second: 1_000_000_000,
        latency: Duration::from_nanos(500),
    };

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[derive(Default)]
    struct Rail {
        outlet: Outlet,
        direction: Direction,
        sender: Sender,
    }

    impl Rail {
        /// Sends if there is room. Returns the offset in the ring.
        fn send(&mut self, now: Time, posted: Time, message: Message) -> Option<u64> {
            let queue = &self.outlet.queue;
            while self.sender.hear(queue, None, now).is_some() {}
            let reserved = self
                .sender
                .reserve(queue, Load::of(&message, posted), message)?;
            let offset = reserved.offset;
            self.sender.publish(queue, reserved);
            self.direction
                .advance(&LINK, now, Some(0), |_| &self.outlet);
            Some(offset)
        }

        fn hear(&mut self, now: Time) -> Option<Heard> {
            self.sender.hear(&self.outlet.queue, None, now)
        }

        /// Settles the oldest message, even if it is not on the cable yet.
        fn settle(&self, heard: Time, fate: Fate) {
            let queue = &self.outlet.queue;
            let number = queue.settled.0.load(Ordering::Relaxed);
            assert!(queue.settle(number, heard, fate));
        }
    }

    #[test]
    fn a_message_appears_when_published_and_not_before() {
        let mut rail = Rail::default();
        let queue = &rail.outlet.queue;
        let message = Message::send(100);
        let reserved = rail
            .sender
            .reserve(queue, Load::of(&message, at(0)), message)
            .expect("an empty queue has room");
        assert_eq!(queue.depth(), 0);
        rail.sender.publish(queue, reserved);
        assert_eq!((queue.depth(), queue.head()), (1, None));
        rail.direction
            .advance(&LINK, at(0), Some(0), |_| &rail.outlet);
        let incoming = Incoming {
            number: 0,
            offset: 0,
            message,
            arrives: at(600),
        };
        assert_eq!(queue.head(), Some(incoming));
    }

    #[test]
    fn a_full_queue_has_room_again_one_latency_after_the_receiver_took_a_message() {
        let mut rail = Rail::default();
        let one = Message::send(1);
        let all = Message::send(QUEUE_BYTES);
        assert!(rail.send(at(0), at(0), all).is_some());
        assert_eq!(rail.send(at(0), at(0), one), None);

        let taken = at(2_000_000);
        rail.settle(taken + LINK.latency, Fate::Taken);
        assert_eq!(rail.send(taken, at(0), one), None);
        assert!(rail.send(at(9_000_000), at(0), one).is_some());
        assert_eq!(
            rail.sender.departs(&rail.outlet.queue, 1),
            Some(at(2_000_501)),
            "it left when it could, not when someone looked"
        );
    }

    #[test]
    fn the_number_of_messages_is_bounded_too() {
        let mut rail = Rail::default();
        let mut send = || rail.send(at(0), at(0), Message::send(0));
        assert!((0..DEPTH).all(|_| send().is_some()));
        assert_eq!(send(), None);
    }

    #[test]
    fn the_fate_of_a_message_reaches_the_sender_once_and_in_its_time() {
        let mut rail = Rail::default();
        for fate in [Fate::NotReady, Fate::AccessDenied, Fate::TooLong] {
            rail.send(at(0), at(0), Message::send(10)).expect("room");
            rail.settle(at(600), fate);
            let word = rail.sender.next_word(&rail.outlet.queue, None);
            assert_eq!(word, Some(at(600)));
            assert_eq!(rail.hear(at(599)), None);
            assert_eq!(rail.hear(at(600)).map(|heard| heard.fate), Some(fate));
            assert_eq!(rail.hear(at(600)), None);
        }
    }

    /// The receiver copies the message while its sender resets the queue, connects it to
    /// another peer and sends again, in the same entry.
    #[test]
    fn who_is_late_with_the_last_senders_message_settles_no_other() {
        for sends in [0, 1, DEPTH] {
            let mut rail = Rail::default();
            rail.send(at(0), at(0), Message::send(10)).expect("room");
            let late = rail.outlet.queue.head().expect("it is on the cable");
            rail.outlet.reset();
            rail.sender = Sender::of(&rail.outlet.queue);
            assert_eq!(
                (rail.outlet.queue.depth(), rail.outlet.queue.head()),
                (0, None)
            );
            for bytes in 0..sends as u64 {
                let message = Message::send(100 + bytes);
                rail.send(at(1_000_000), at(50), message).expect("room");
            }
            let queue = &rail.outlet.queue;
            assert!(!queue.settle(late.number, at(60), Fate::TooLong));
            assert_eq!(queue.depth(), sends as u64);
            for bytes in 0..sends as u64 {
                let head = rail.outlet.queue.head().expect("it was not taken");
                assert_eq!(head.message.bytes, 100 + bytes);
                rail.settle(at(70), Fate::Taken);
                let queue = &rail.outlet.queue;
                assert!(!queue.settle(late.number, at(80), Fate::TooLong));
                let heard = rail.hear(at(70)).expect("it was settled");
                assert_eq!((heard.message, heard.fate), (head.number, Fate::Taken));
            }
        }
    }

    #[test]
    fn a_read_asks_for_bytes_carries_none_and_is_heard_of_when_they_are_there() {
        let mut rail = Rail::default();
        let remote = Remote {
            address: 0x1000,
            key: 7,
        };
        let message = Message {
            operation: Operation::Read(remote),
            ..Message::send(4096)
        };
        rail.send(at(0), at(0), message).expect("room");
        let head = rail.outlet.queue.head().expect("it is on the cable");
        assert_eq!((head.message, head.arrives), (message, at(500)));

        let (other, back) = (Outlet::default(), Direction::default());
        let answer = other.answers.offer(Load {
            bytes: 4096,
            ready: at(500),
            delay: Duration::ZERO,
        });
        assert!(rail.outlet.queue.answer(head.number, answer));
        let answers = Some(&other.answers);
        let queue = &rail.outlet.queue;
        assert_eq!(rail.sender.hear(queue, answers, at(9999)), None);
        back.advance(&LINK, at(500), Some(0), |_| &other);
        assert_eq!(rail.sender.next_word(queue, answers), Some(at(5096)));
        let heard = rail.sender.hear(queue, answers, at(5096));
        assert_eq!(heard.map(|heard| heard.fate), Some(Fate::Taken));
    }

    proptest! {
        /// In whatever order senders and receivers take turns, no message gets room that
        /// is still in use.
        #[test]
        fn messages_never_share_room(
            steps in prop::collection::vec((prop::option::of(1..=QUEUE_BYTES / 3), 1..9_000u64), 1..300),
        ) {
            let mut rail = Rail::default();
            let mut held: VecDeque<(u64, u64)> = VecDeque::new();
            let mut now = Time::ZERO;
            for (send, pause) in steps {
                now = now + Duration::from_nanos(pause);
                match send {
                    Some(bytes) => {
                        if let Some(offset) = rail.send(now, now, Message::send(bytes)) {
                            for (other, length) in &held {
                                let after = (offset + QUEUE_BYTES - other) % QUEUE_BYTES;
                                prop_assert!(after >= *length || *length == 0);
                                prop_assert!(after + bytes <= QUEUE_BYTES);
                            }
                            held.push_back((offset, bytes));
                        }
                    }
                    None if rail.outlet.queue.head().is_some() => {
                        rail.settle(now, Fate::Taken);
                        held.pop_front();
                    }
                    None => {}
                }
            }
        }
    }
}
