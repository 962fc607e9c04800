//! What must hold of a cable whatever is sent over it, in virtual time.

use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;
use rail_matrix::{Link, ReceiverNotReady};
use softrail::fabric::{
    Decision, Direction, Fate, Message, QUEUE_BYTES, Queue, Sender, Time, decide, serialisation,
};

/// A queue pair's end of a cable and the receiver at the other, stepped by hand.
struct Rail {
    link: Link,
    policy: ReceiverNotReady,
    direction: Direction,
    queue: Queue,
    sender: Sender,
    waiting: VecDeque<(Time, u64)>,
    posted: VecDeque<Time>,
    departures: Vec<Time>,
    delivered: Vec<(u64, Time)>,
    dropped: usize,
    ring: Vec<u64>,
    sent: u64,
}

impl Rail {
    fn new(link: Link, policy: ReceiverNotReady) -> Self {
        Rail {
            link,
            policy,
            direction: Direction::default(),
            queue: Queue::default(),
            sender: Sender::default(),
            waiting: VecDeque::new(),
            posted: VecDeque::new(),
            departures: Vec::new(),
            delivered: Vec::new(),
            dropped: 0,
            ring: vec![u64::MAX; (QUEUE_BYTES / UNIT) as usize],
            sent: 0,
        }
    }

    /// Everything that either side does when it looks at `now`.
    fn look(&mut self, now: Time) {
        while self.sender.hear(&self.queue, now).is_some() {}
        while let Some(&(posted, bytes)) = self.waiting.front() {
            let (queue, direction, link) = (&self.queue, &self.direction, &self.link);
            let Some(reservation) =
                self.sender
                    .reserve(queue, direction, link, posted, Message::send(bytes))
            else {
                break;
            };
            self.waiting.pop_front();
            for cell in cells(reservation.offset, bytes) {
                self.ring[cell] = self.sent;
            }
            self.sent += 1;
            self.departures.push(reservation.transit.departs);
            self.sender.publish(&self.queue, reservation);
        }
        while let Some(frame) = self.queue.head() {
            match decide(
                self.policy,
                now,
                frame.arrives,
                self.posted.front().copied(),
            ) {
                Decision::Pending => break,
                Decision::Deliver(at) => {
                    self.posted.pop_front();
                    let number = (self.delivered.len() + self.dropped) as u64;
                    for cell in cells(frame.offset, frame.message.bytes) {
                        assert_eq!(self.ring[cell], number, "overwritten before it was read");
                    }
                    self.delivered.push((frame.message.bytes, at));
                    self.queue.settle(at + self.link.latency, Fate::Taken);
                }
                Decision::Drop | Decision::Refuse => {
                    self.dropped += 1;
                    let heard = frame.arrives + self.link.latency;
                    self.queue.settle(heard, Fate::Taken);
                }
            }
        }
    }
}

/// Frames are whole multiples of this here, so that the ring can be checked in
/// cells instead of bytes.
const UNIT: u64 = 4096;

fn cells(offset: u64, bytes: u64) -> impl Iterator<Item = usize> {
    (0..bytes / UNIT).map(move |cell| ((offset + cell * UNIT) % QUEUE_BYTES / UNIT) as usize)
}

/// A step of a run: some time passes, then something happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    Send(u64),
    Receive,
    Look,
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        (1..=128_u64).prop_map(|units| Event::Send(units * UNIT)),
        Just(Event::Receive),
        Just(Event::Look),
    ];
    prop::collection::vec((0..3_000_000_u64, event), 1..200)
}

fn links() -> impl Strategy<Value = Link> {
    (1_000_000..5_000_000_000_u64, 0..1_000_u64).prop_map(|(bytes_per_second, micros)| Link {
        bytes_per_second,
        latency: Duration::from_micros(micros),
    })
}

/// Runs the events; then receives are posted until nothing is left.
fn run(link: Link, policy: ReceiverNotReady, events: &[(u64, Event)]) -> (Rail, Vec<u64>) {
    let mut rail = Rail::new(link, policy);
    let mut now = Time::ZERO;
    let mut sent = Vec::new();
    for (passes, event) in events {
        now = now + Duration::from_nanos(*passes);
        match *event {
            Event::Send(bytes) => {
                sent.push(bytes);
                rail.waiting.push_back((now, bytes));
                rail.look(now);
            }
            Event::Receive => rail.posted.push_back(now),
            Event::Look => rail.look(now),
        }
    }
    for _ in 0..10 * sent.len() {
        now = now + Duration::from_secs(1);
        rail.posted.push_back(now);
        rail.look(now);
    }
    (rail, sent)
}

proptest! {
    #[test]
    fn waiting_delivers_everything_once_and_in_order(link in links(), events in events()) {
        let (rail, sent) = run(link, ReceiverNotReady::Wait, &events);
        let received: Vec<_> = rail.delivered.iter().map(|(bytes, _)| *bytes).collect();
        prop_assert_eq!(received, sent);
        prop_assert_eq!(rail.dropped, 0);
    }

    #[test]
    fn dropping_loses_frames_but_neither_duplicates_nor_stops(
        link in links(),
        events in events(),
    ) {
        let (rail, sent) = run(link, ReceiverNotReady::Drop, &events);
        prop_assert_eq!(rail.delivered.len() + rail.dropped, sent.len());
    }

    #[test]
    fn a_cable_never_beats_its_line_rate_nor_its_latency(link in links(), events in events()) {
        let (rail, sent) = run(link, ReceiverNotReady::Wait, &events);
        let mut free = Time::ZERO;
        for ((departs, bytes), (_, delivered)) in
            rail.departures.iter().zip(&sent).zip(&rail.delivered)
        {
            let duration = serialisation(&link, *bytes);
            prop_assert!(*departs >= free + duration);
            prop_assert!(*delivered >= *departs + link.latency);
            free = *departs;
        }
        prop_assert_eq!(rail.direction.bytes(), sent.iter().sum::<u64>());
    }

    /// Looking often changes nothing that hardware would have done by itself.
    #[test]
    fn a_receiver_that_is_always_ready_gets_frames_at_line_rate_however_rarely_it_looks(
        link in links(),
        lengths in prop::collection::vec(1..=4_u64, 1..60),
        pause in 1..50_000_000_u64,
    ) {
        let mut rail = Rail::new(link, ReceiverNotReady::Wait);
        for units in &lengths {
            rail.posted.push_back(Time::ZERO);
            rail.waiting.push_back((Time::ZERO, units * UNIT));
        }
        let mut now = Time::ZERO;
        while rail.delivered.len() < lengths.len() {
            rail.look(now);
            now = now + Duration::from_nanos(pause);
        }
        let serial: Duration = lengths.iter().map(|units| serialisation(&link, units * UNIT)).sum();
        let last = rail.delivered.last().map(|(_, at)| *at);
        prop_assert_eq!(last, Some(Time::ZERO + serial + link.latency));
    }
}
