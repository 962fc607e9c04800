//! A receiver that is late with the last sender's message, and a process that is late in
//! giving a message its times, change nothing for the messages that come after.

use std::{sync::Arc, time::Duration};

use loom::{
    sync::atomic::{
        AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    thread,
};
use rail_matrix::Link;
use softrail_models::{
    check,
    fabric::{DEPTH, Direction, Fate, Load, Message, Outlet, Sender, Stream, Time, Transit},
};

const LINK: Link = Link {
    bytes_per_second: 1_000_000_000,
    latency: Duration::from_nanos(500),
};

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

/// A sender's slot: its outlet and the first word of its payload ring.
#[derive(Default)]
struct Slot {
    outlet: Outlet,
    payload: AtomicU64,
}

impl Slot {
    /// Sends a message whose bytes are its payload. Each has the same room in the ring.
    fn send(&self, sender: &mut Sender, direction: &Direction, bytes: u64) {
        let queue = &self.outlet.queue;
        let message = Message::send(bytes);
        let reserved = sender.reserve(queue, at(0), Duration::ZERO, message);
        self.payload.store(bytes, Relaxed);
        sender.publish(queue, reserved.expect("there is room"));
        direction.advance(&LINK, at(1_000_000), Some(0), |_| &self.outlet);
    }

    /// Takes the message at the head as a receiver does.
    fn take(&self, fate: Fate) -> Option<Taken> {
        let queue = &self.outlet.queue;
        let head = queue.head()?;
        let copied = self.payload.load(Relaxed);
        let is_settled = queue.settle(head.number, at(head.message.bytes), fate);
        is_settled.then_some(Taken {
            number: head.number,
            bytes: head.message.bytes,
            copied,
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Taken {
    number: u64,
    bytes: u64,
    copied: u64,
}

/// The receiver takes the first sender's message while that one resets its queue pair and
/// connects it to another peer, which takes the second message in the sender's thread.
/// With a second message the entry of the first is used again if `sent_before` is one less
/// than the number of entries.
fn reset_while_taken(preemptions: usize, sent_before: usize) {
    check(preemptions, move || {
        let slot = Arc::new(Slot::default());
        let direction = Direction::default();
        let mut sender = Sender::of(&slot.outlet.queue);
        slot.send(&mut sender, &direction, 1);
        let late = thread::spawn({
            let slot = Arc::clone(&slot);
            move || slot.take(Fate::TooLong)
        });

        slot.outlet.queue.reset();
        let mut sender = Sender::of(&slot.outlet.queue);
        let second = sent_before as u64 + 2;
        for bytes in 2..=second {
            slot.send(&mut sender, &direction, bytes);
            let taken = slot.take(Fate::Taken).expect("nobody else takes it");
            assert_eq!((taken.bytes, taken.copied), (bytes, bytes));
        }
        if let Some(taken) = late.join().expect("it does not panic") {
            assert_eq!((taken.number, taken.bytes, taken.copied), (0, 1, 1));
        }
        for bytes in 2..=second {
            let heard = sender.hear(&slot.outlet.queue, None, at(bytes));
            let heard = heard.expect("the second peer took it");
            assert_eq!((heard.message, heard.fate), (bytes - 1, Fate::Taken));
        }
    });
}

#[test]
fn who_is_late_neither_takes_the_next_senders_message_nor_reports_its_bytes() {
    reset_while_taken(3, 0);
}

#[test]
fn who_is_late_does_not_say_what_became_of_the_next_message_in_the_entry() {
    reset_while_taken(2, DEPTH - 1);
}

/// The receiver is the next sender's peer, and the first message is still on the cable.
#[test]
fn what_was_reset_before_it_arrived_does_not_arrive() {
    check(3, || {
        let slot = Arc::new(Slot::default());
        let mut sender = Sender::of(&slot.outlet.queue);
        let queue = &slot.outlet.queue;
        let reserved = sender.reserve(queue, at(0), Duration::ZERO, Message::send(1));
        sender.publish(queue, reserved.expect("there is room"));
        let receiver = thread::spawn({
            let slot = Arc::clone(&slot);
            move || slot.take(Fate::Taken)
        });
        slot.outlet.queue.reset();
        assert_eq!(receiver.join().expect("it does not panic"), None);
        assert_eq!(slot.outlet.queue.depth(), 0);
    });
}

/// Places what the stream has, as a process does that holds the lease, or that was stopped
/// while it had it.
fn place(direction: &Direction, outlet: &Outlet, now: u64) {
    direction.advance(&LINK, at(now), Some(0), |_| outlet);
}

/// Two processes give a load its times, of which the one that was stopped found the cable
/// free at another time.
#[test]
fn the_times_of_a_load_are_one_process_s_and_do_not_change() {
    check(3, || {
        let shared = Arc::new((Outlet::default(), AtomicU64::new(0)));
        shared.0.lost.offer(load(100));
        let placers = [10, 2000].map(|free| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (outlet, seen) = &*shared;
                // Each has a direction of its own, which stands for what it had read.
                let direction = direction_free_at(free);
                place(&direction, outlet, 5000);
                let transit = outlet.lost.transit(0).expect("it is placed");
                assert_eq!(transit.arrives, transit.departs + LINK.latency);
                let departs = transit.departs.as_nanos();
                let before = seen.swap(departs, SeqCst);
                assert!([0, departs].contains(&before), "{before} and {departs}");
            })
        });
        for placer in placers {
            placer.join().expect("it does not panic");
        }
    });
}

/// While one process is stopped in the middle of placing, another places so much that the
/// load's item is used again.
#[test]
fn who_is_late_does_not_set_the_times_of_a_later_load() {
    check(2, || {
        let outlet = Arc::new(Outlet::default());
        let stream = &outlet.lost;
        stream.offer(load(100));
        let late = thread::spawn({
            let outlet = Arc::clone(&outlet);
            move || place(&direction_free_at(3_000_000), &outlet, 4_000_000)
        });
        let direction = direction_free_at(5_000_000);
        place(&direction, &outlet, 6_000_000);
        let mut last = 0;
        for _ in 0..DEPTH {
            last = stream.offer(load(100));
            place(&direction, &outlet, 6_000_000);
        }
        let before = times(stream, last);
        late.join().expect("it does not panic");
        let after = times(stream, last);
        assert_eq!(before, after);
        assert!(after.departs >= at(5_000_000), "{after:?}");
        assert_eq!(after.arrives, after.departs + LINK.latency);
    });
}

fn load(bytes: u64) -> Load {
    Load {
        bytes,
        ready: Time::ZERO,
        delay: Duration::ZERO,
    }
}

fn times(stream: &Stream, load: u64) -> Transit {
    stream.transit(load).expect("it is placed")
}

/// A direction that carries something until this time.
fn direction_free_at(nanos: u64) -> Direction {
    let (direction, other) = (Direction::default(), Outlet::default());
    other.lost.offer(load(nanos));
    direction.advance(&LINK, at(nanos), Some(0), |_| &other);
    assert_eq!(direction.next_free(), at(nanos));
    direction
}

