//! Cables in virtual time: computes what happens on them, without waiting and without
//! running programs.
//!
//! A simulation uses the same parts as the provider (see [`fabric`](crate::fabric)), on
//! the heap and with a clock that jumps from one event to the next. It can simulate rigs
//! far larger than the machine: an event costs O(queue pairs of its cable + log cables),
//! and a message of n frames is n + 2 events or fewer.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use rail_matrix::{Link, ReceiverNotReady};

use crate::{
    fabric::{
        Decision, Direction, Fate, Load, Message, OUTLETS, Operation, Outlet, Sender, Stream, Time,
        decide,
    },
    shm::Side,
};

/// Cables, and the queue pairs on them.
#[derive(Debug, Default)]
pub struct Simulation {
    now: Time,
    cables: Vec<Cable>,
    /// The time at which each cable is due. An entry is out of date where the cable
    /// itself has another time.
    agenda: BinaryHeap<Reverse<(Time, usize)>>,
    completions: VecDeque<Completion>,
}

/// A queue pair of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    cable: usize,
    index: usize,
    side: Side,
}

/// What a completion reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A message that the queue pair sent: it has left, or, on a reliable connection, it
    /// was answered.
    Send(Fate),
    /// A receive that a message has used up.
    Receive,
}

/// A completion, with the earliest time at which a completion queue could have reported
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The time of the completion.
    pub at: Time,
    /// The queue pair that it belongs to.
    pub pair: Pair,
    /// What has ended.
    pub ended: Ended,
    /// The bytes of the message.
    pub bytes: u64,
}

impl Simulation {
    /// Adds a cable with the properties of `link` in each direction.
    pub fn add_cable(&mut self, link: Link, policy: ReceiverNotReady) -> usize {
        self.cables.push(Cable {
            link,
            policy,
            directions: Default::default(),
            pairs: Vec::new(),
            next: None,
        });
        self.cables.len() - 1
    }

    /// Adds two queue pairs to a cable and connects them. The first is at the cable's
    /// first end.
    ///
    /// # Panics
    /// If there is no such cable, or if the cable already has as many queue pairs as a
    /// device can have.
    pub fn connect(&mut self, cable: usize, is_reliable: bool) -> [Pair; 2] {
        let Cable { policy, pairs, .. } = &mut self.cables[cable];
        assert!(pairs.len() < OUTLETS, "{OUTLETS} queue pairs a device");
        let is_answered = is_reliable || *policy == ReceiverNotReady::Error;
        pairs.push(Side::BOTH.map(|_| End::new(is_reliable, is_answered)));
        let index = pairs.len() - 1;
        Side::BOTH.map(|side| Pair { cable, index, side })
    }

    /// The current virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The bytes sent over a cable from one of its ends.
    pub fn bytes(&self, cable: usize, from: Side) -> u64 {
        self.cables[cable].directions[from.index()].bytes()
    }

    /// Sends a message. It must not be longer than
    /// [`QUEUE_BYTES`](crate::fabric::QUEUE_BYTES).
    pub fn send(&mut self, pair: Pair, message: Message) {
        let now = self.now;
        self.end(pair).waiting.push_back((now, message));
        self.schedule(pair.cable, now);
    }

    /// Posts a receive.
    pub fn receive(&mut self, pair: Pair) {
        let now = self.now;
        self.end(pair).posted.push_back(now);
        self.schedule(pair.cable, now);
    }

    /// Advances the clock to the next completion and returns it, or `None` if no event is
    /// left.
    pub fn step(&mut self) -> Option<Completion> {
        while self.completions.is_empty() {
            let &Reverse((time, _)) = self.agenda.peek()?;
            self.follow_agenda(time);
        }
        self.completions.pop_front()
    }

    /// Advances the clock to a time and processes every event until then.
    pub fn run_until(&mut self, time: Time) -> impl Iterator<Item = Completion> {
        self.follow_agenda(time);
        self.now = self.now.max(time);
        self.completions.drain(..)
    }

    /// Advances the clock to a time, or leaves it alone if that time has passed, and
    /// looks at the cables only then. This models a machine that was busy until that
    /// time.
    pub fn sleep_until(&mut self, time: Time) -> impl Iterator<Item = Completion> {
        for cable in 0..self.cables.len() {
            self.look_at(cable, time);
        }
        self.completions.drain(..)
    }

    fn follow_agenda(&mut self, until: Time) {
        while let Some(&Reverse((time, cable))) = self.agenda.peek()
            && time <= until
        {
            self.agenda.pop();
            if self.cables[cable].next == Some(time) {
                self.look_at(cable, time);
            }
        }
    }

    fn look_at(&mut self, index: usize, time: Time) {
        self.now = self.now.max(time);
        let (now, found) = (self.now, &mut self.completions);
        let cable = &mut self.cables[index];
        cable.look(now, |pair, side, at, ended, bytes| {
            let pair = Pair {
                cable: index,
                index: pair,
                side,
            };
            found.push_back(Completion {
                at,
                pair,
                ended,
                bytes,
            });
        });
        cable.next = None;
        if let Some(next) = cable.next_event(now) {
            self.schedule(index, next);
        }
    }

    fn schedule(&mut self, index: usize, time: Time) {
        let next = &mut self.cables[index].next;
        if next.is_none_or(|next| time < next) {
            *next = Some(time);
            self.agenda.push(Reverse((time, index)));
        }
    }

    fn end(&mut self, pair: Pair) -> &mut End {
        &mut self.cables[pair.cable].pairs[pair.index][pair.side.index()]
    }
}

#[derive(Debug)]
struct Cable {
    link: Link,
    policy: ReceiverNotReady,
    directions: [Direction; 2],
    pairs: Vec<[End; 2]>,
    /// When the cable is due.
    next: Option<Time>,
}

/// One of two queue pairs that are connected with each other.
#[derive(Debug)]
struct End {
    is_reliable: bool,
    /// Whether a send ends when it is answered rather than when it has left.
    is_answered: bool,
    outlet: Box<Outlet>,
    sender: Sender,
    /// Messages that the queue has no room for.
    waiting: VecDeque<(Time, Message)>,
    /// Messages that are on the queue and have not ended, with their numbers.
    sent: VecDeque<(u64, Message)>,
    posted: VecDeque<Time>,
}

impl End {
    fn new(is_reliable: bool, is_answered: bool) -> Self {
        End {
            is_reliable,
            is_answered,
            outlet: Box::default(),
            sender: Sender::default(),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            posted: VecDeque::new(),
        }
    }

    /// Moves messages onto the queue while it has room.
    fn offer(&mut self) {
        let queue = &self.outlet.queue;
        while let Some(&(posted, message)) = self.waiting.front() {
            let reservation = self
                .sender
                .reserve(queue, Load::of(&message, posted), message);
            let Some(reservation) = reservation else {
                return;
            };
            let number = self.sender.publish(queue, reservation);
            self.waiting.pop_front();
            self.sent.push_back((number, message));
        }
    }

    /// Completes the sends that have ended by `now`. Returns whether room became free.
    fn end_sends(
        &mut self,
        now: Time,
        answers: &Stream,
        mut ended: impl FnMut(Time, Fate, u64),
    ) -> bool {
        let queue = &self.outlet.queue;
        let mut has_heard = false;
        while let Some(word) = self.sender.next_word(queue, Some(answers))
            && let Some(heard) = self.sender.hear(queue, Some(answers), now)
        {
            has_heard = true;
            if self.is_answered
                && let Some((_, message)) = self.sent.pop_front()
            {
                ended(word, heard.fate, message.bytes);
            }
        }
        while !self.is_answered
            && let Some(&(number, message)) = self.sent.front()
            && let Some(departs) = self.sender.departs(queue, number)
            && departs <= now
        {
            self.sent.pop_front();
            ended(departs, Fate::Taken, message.bytes);
        }
        has_heard
    }

    /// Takes the messages that have arrived by `now` from the other end. Returns whether
    /// there were any.
    fn take(
        &mut self,
        other: &Outlet,
        policy: ReceiverNotReady,
        latency: Duration,
        now: Time,
        mut received: impl FnMut(Time, u64),
    ) -> bool {
        let mut has_taken = false;
        while let Some(incoming) = other.queue.head() {
            let message = incoming.message;
            let posted = self.posted.front().copied();
            let decision = decide(policy, self.is_reliable, now, &incoming, posted);
            let (at, fate) = match decision {
                Decision::Pending => break,
                Decision::Deliver(at) => (at, Fate::Taken),
                Decision::Drop => (incoming.arrives, Fate::Taken),
                Decision::Refuse => (incoming.arrives, Fate::NotReady),
            };
            has_taken = true;
            if matches!(message.operation, Operation::Read(_)) {
                let answer = self.outlet.answers.offer(Load {
                    bytes: message.bytes,
                    ready: at,
                    delay: Duration::ZERO,
                });
                let is_answered = other.queue.answer(incoming.number, answer);
                debug_assert!(is_answered, "no queue is reset");
                continue;
            }
            let is_settled = other.queue.settle(incoming.number, at + latency, fate);
            debug_assert!(is_settled, "no queue is reset");
            if decision == Decision::Deliver(at) && message.uses_receive() {
                self.posted.pop_front();
                received(at, message.bytes);
            }
        }
        has_taken
    }

    /// The next time after `now` at which something happens to a message that this queue
    /// pair sent.
    fn next_event(&self, now: Time, answers: &Stream) -> Option<Time> {
        let queue = &self.outlet.queue;
        let oldest = self.sent.front();
        let times = [
            queue.head().map(|message| message.arrives),
            self.sender.next_word(queue, Some(answers)),
            oldest.and_then(|(number, _)| self.sender.departs(queue, *number)),
        ];
        times.into_iter().flatten().filter(|time| *time > now).min()
    }
}

impl Cable {
    /// Processes everything that is due by `now`.
    fn look(&mut self, now: Time, mut completed: impl FnMut(usize, Side, Time, Ended, u64)) {
        let latency = self.link.latency;
        let mut goes_on = true;
        while goes_on {
            self.advance(now);
            goes_on = false;
            for (pair, [first, second]) in self.pairs.iter_mut().enumerate() {
                for side in Side::BOTH {
                    let (mine, other) = match side {
                        Side::First => (&mut *first, &*second.outlet),
                        Side::Second => (&mut *second, &*first.outlet),
                    };
                    goes_on |= mine.take(other, self.policy, latency, now, |at, bytes| {
                        completed(pair, side, at, Ended::Receive, bytes);
                    });
                    goes_on |= mine.end_sends(now, &other.answers, |at, fate, bytes| {
                        completed(pair, side, at, Ended::Send(fate), bytes);
                    });
                }
            }
        }
    }

    fn advance(&mut self, now: Time) {
        for side in Side::BOTH.map(Side::index) {
            let direction = &self.directions[side];
            for (number, pair) in self.pairs.iter_mut().enumerate() {
                pair[side].offer();
                direction.announce(number);
            }
            let outlet = |pair: usize| &*self.pairs[pair][side].outlet;
            direction.advance(&self.link, now, None, outlet);
        }
    }

    fn next_event(&self, now: Time) -> Option<Time> {
        let busy = self.directions.iter().filter(|it| it.has_backlog());
        let starts = busy.map(|direction| direction.next_free().max(now));
        let ends = self.pairs.iter().flat_map(|[first, second]| {
            [
                first.next_event(now, &second.outlet.answers),
                second.next_event(now, &first.outlet.answers),
            ]
        });
        starts.chain(ends.flatten()).min()
    }
}
