//! A receiver that is late with the last sender's message, and a process that is late in
//! giving a message its times, change nothing for the messages that come after.

use std::{sync::Arc, time::Duration};

use loom::{
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
    },
    thread,
};
use rig::Link;
use softrail_models::{
    check,
    fabric::{DEPTH, Direction, Fate, Load, Message, Outlet, Sender, Time},
};

const LINK: Link = Link {
    bytes_per_second: 1_000_000_000,
    latency: Duration::from_nanos(500),
};

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

/// A sender's slot: its outlet, the first word of its payload ring, and the queue pair that
/// it is connected to.
#[derive(Default)]
struct Slot {
    outlet: Outlet,
    payload: AtomicU64,
    peer: AtomicU32,
}

#[derive(Debug, PartialEq, Eq)]
struct Taken {
    number: u64,
    bytes: u64,
    copied: u64,
}

impl Slot {
    /// Sends a message whose bytes are its payload. Each has the same room in the ring.
    fn send(&self, sender: &mut Sender, direction: &Direction, bytes: u64) {
        let queue = &self.outlet.queue;
        let message = Message::send(bytes);
        let reserved = sender.reserve(queue, Load::of(&message, at(0)), message);
        self.payload.store(bytes, Relaxed);
        sender.publish(queue, reserved.expect("there is room"));
        place(direction, &self.outlet, 1_000_000);
    }

    /// Takes the message at the head as the queue pair `own` does.
    fn take(&self, own: u32, fate: Fate) -> Option<Taken> {
        let queue = &self.outlet.queue;
        let head = queue.head()?;
        if self.peer.load(Acquire) != own {
            return None;
        }
        let copied = self.payload.load(Relaxed);
        let is_settled = queue.settle(head.number, at(head.message.bytes), fate);
        is_settled.then_some(Taken {
            number: head.number,
            bytes: head.message.bytes,
            copied,
        })
    }
}

const FIRST: u32 = 1;
const SECOND: u32 = 2;

/// The first peer takes a message while its sender resets its queue pair, connects it to
/// the second peer, and sends that one some messages, which it takes at once.
fn reset_while_taken(preemptions: usize, later: u64) {
    check(preemptions, move || {
        let slot = Arc::new(Slot::default());
        let direction = Direction::default();
        let mut sender = Sender::of(&slot.outlet.queue);
        slot.peer.store(FIRST, Release);
        slot.send(&mut sender, &direction, 1);
        let next = thread::spawn({
            let slot = Arc::clone(&slot);
            move || {
                slot.peer.store(0, Release);
                slot.outlet.queue.reset();
                let mut sender = Sender::of(&slot.outlet.queue);
                slot.peer.store(SECOND, Release);
                for bytes in 2..2 + later {
                    slot.send(&mut sender, &direction, bytes);
                    let taken = slot.take(SECOND, Fate::Taken);
                    let taken = taken.expect("nobody else takes it");
                    assert_eq!((taken.bytes, taken.copied), (bytes, bytes));
                }
                sender
            }
        });
        if let Some(taken) = slot.take(FIRST, Fate::TooLong) {
            assert_eq!((taken.number, taken.bytes, taken.copied), (0, 1, 1));
        }
        let mut sender = next.join().expect("it does not panic");
        for bytes in 2..2 + later {
            let heard = sender.hear(&slot.outlet.queue, None, at(bytes));
            let heard = heard.expect("the second peer took it");
            assert_eq!((heard.message, heard.fate), (bytes - 1, Fate::Taken));
        }
    });
}

#[test]
fn who_is_late_neither_takes_the_next_peers_message_nor_reports_its_bytes() {
    reset_while_taken(3, 1);
}

/// The last of the later messages is in the entry of the first.
#[test]
fn who_is_late_does_not_say_what_became_of_the_next_message_in_the_entry() {
    reset_while_taken(2, DEPTH as u64);
}

/// The message is still to be placed on the cable when its sender resets the queue.
#[test]
fn what_was_reset_before_it_left_does_not_arrive() {
    check(3, || {
        let slot = Arc::new(Slot::default());
        let mut sender = Sender::of(&slot.outlet.queue);
        let queue = &slot.outlet.queue;
        let message = Message::send(1);
        let reserved = sender.reserve(queue, Load::of(&message, at(0)), message);
        sender.publish(queue, reserved.expect("there is room"));
        let receiver = thread::spawn({
            let slot = Arc::clone(&slot);
            move || slot.take(0, Fate::Taken)
        });
        slot.outlet.queue.reset();
        assert_eq!(receiver.join().expect("it does not panic"), None);
        assert_eq!(slot.outlet.queue.depth(), 0);
    });
}

/// Two processes give a load its times, of which the one that was stopped found the cable
/// free at another time.
#[test]
fn the_times_of_a_load_are_those_of_one_process_and_do_not_change() {
    check(3, || {
        let shared = Arc::new((Outlet::default(), AtomicU64::new(0)));
        shared.0.lost.offer(load(100));
        let placers = [10, 2000].map(|free| {
            let shared = Arc::clone(&shared);
            // Each has a direction of its own, which stands for what it has read there.
            let direction = direction_free_at(free);
            thread::spawn(move || {
                let (outlet, seen) = &*shared;
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
        outlet.lost.offer(load(100));
        let late = direction_free_at(3000);
        let other = thread::spawn({
            let outlet = Arc::clone(&outlet);
            let direction = direction_free_at(5000);
            move || {
                place(&direction, &outlet, 1_000_000);
                let mut last = 0;
                for _ in 0..DEPTH {
                    last = outlet.lost.offer(load(100));
                    place(&direction, &outlet, 1_000_000);
                }
                (last, outlet.lost.transit(last))
            }
        });
        place(&late, &outlet, 4000);
        let (last, times) = other.join().expect("it does not panic");
        assert_eq!(outlet.lost.transit(last), times);
    });
}

/// Places what an outlet has by `now`, as a process does that holds the lease, or that
/// was stopped while it had it.
fn place(direction: &Direction, outlet: &Outlet, now: u64) {
    direction.advance(&LINK, at(now), Some(0), |_| outlet);
}

/// A direction that carries something until this time.
fn direction_free_at(nanos: u64) -> Direction {
    let (direction, other) = (Direction::default(), Outlet::default());
    other.lost.offer(Load {
        ready: at(nanos),
        ..load(0)
    });
    place(&direction, &other, nanos);
    assert_eq!(direction.next_free(), at(nanos));
    direction
}

fn load(bytes: u64) -> Load {
    Load {
        bytes,
        ready: Time::ZERO,
        delay: Duration::ZERO,
    }
}
