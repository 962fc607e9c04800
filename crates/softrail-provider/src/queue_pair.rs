//! A queue pair: work requests in, completions out.
//!
//! A process that looks at the queue pair does everything that is due by then: the
//! application when it posts and polls, or the [engine](super::engine). Both directions
//! share one lock, which is contended only while both look.

mod course;
mod receiving;
mod sending;

use std::{
    collections::VecDeque,
    mem, slice,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rail_matrix::{DeviceFault, Link, ReceiverNotReady};

use super::{
    bindings as ibv,
    completions::Completions,
    events::{AsyncEvent, EventQueue, Notifier},
    lock,
    memory::Regions,
    work::{ReceiveRequest, SendRequest},
};
use sending::Send;
use softrail::{
    Process,
    config::Device,
    fabric::{QUEUE_BYTES, Queue, Sender, Time},
    shm::{ClaimError, EndState, SharedCable, Slot, slot_of},
};

/// The transport of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UC: a send completes when it has left.
    Unreliable,
    /// RC: a send completes when the other end has answered.
    Reliable,
}

/// The attributes that the application chose when it created the queue pair.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub sends: usize,
    pub receives: usize,
    pub signal_all: bool,
}

/// The halves of a queue pair that report to a completion queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    Sends,
    Receives,
    Both,
}

/// The parts that a queue pair consists of.
pub struct Parts {
    pub cable: Arc<SharedCable>,
    pub device: Device,
    pub regions: Arc<Regions>,
    pub transport: Transport,
    pub limits: Limits,
    /// The events for completions of sends and of receives, if there is a channel.
    pub send_events: Option<Arc<Notifier>>,
    pub receive_events: Option<Arc<Notifier>>,
    pub async_events: Arc<EventQueue<AsyncEvent>>,
}

/// Why a work request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostError {
    /// The queue pair's state does not permit it.
    State,
    /// The queue is full: the maximum that the application set is outstanding.
    Full,
    /// The message is longer than the port's longest.
    TooLong,
    /// The transport has no such operation.
    Operation,
    /// The device refuses all requests.
    Refused,
}

/// The specification's states, as far as they differ here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Reset,
    Init,
    ReadyToReceive,
    ReadyToSend,
    Error,
}

/// The address that a queue pair is connected to.
#[derive(Debug, Clone, Copy)]
pub enum Peer {
    /// The queue pair of this number at the other end of the cable.
    Number(u32),
    /// An address that is not at the other end of the cable. Frames leave and never
    /// arrive, as on a cable that is cut.
    Unreachable,
}

/// The retry limits of a reliable queue pair.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    /// The interval after which an unanswered message is sent again, if it is.
    pub resend: Option<Duration>,
    /// How long it waits for an answer; `None` is no limit.
    pub answer: Option<Duration>,
    /// Whether it retries without limit while the receiver is not ready.
    pub receiver: bool,
}

pub struct QueuePair {
    number: u32,
    /// Its number among the queue pairs created on the device, from 0.
    ordinal: u32,
    slot: usize,
    /// The process that claimed the slot. A child that it forks has this queue pair too,
    /// but not the slot.
    owner: Process,
    parts: Parts,
    /// The application's pointers to the queue pair and its completion queues, which
    /// identify them in events.
    names: Names,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct Names {
    pair: AtomicUsize,
    send_queue: AtomicUsize,
    receive_queue: AtomicUsize,
}

struct State {
    phase: Phase,
    peer: Option<Peer>,
    patience: Patience,
    /// The access rights of the other end: `ibv_access_flags`.
    access: u32,
    sender: Sender,
    sends: VecDeque<Send>,
    /// How many of the sends, counted from the back, are not on the cable yet.
    queued: usize,
    receives: VecDeque<Receive>,
    /// Completions that the engine found before the application asked.
    ended_sends: VecDeque<ibv::ibv_wc>,
    ended_receives: VecDeque<ibv::ibv_wc>,
    /// Which half is polled first.
    receives_first: bool,
    /// When the other end is woken if it has not answered by then.
    nudge: Time,
    /// Whether a frame was taken since the engine last asked.
    worked: bool,
}

impl State {
    /// The state of a queue pair without any activity, whose queue is empty.
    fn new(queue: &Queue) -> Self {
        State {
            phase: Phase::Reset,
            peer: None,
            patience: Patience::default(),
            access: 0,
            sender: Sender::of(queue),
            sends: VecDeque::new(),
            queued: 0,
            receives: VecDeque::new(),
            ended_sends: VecDeque::new(),
            ended_receives: VecDeque::new(),
            receives_first: false,
            nudge: Time::ZERO,
            worked: false,
        }
    }
}

struct Receive {
    request: ReceiveRequest,
    posted: Time,
}

impl QueuePair {
    /// Makes a queue pair.
    ///
    /// # Errors
    /// When the device has no more, or when there is no memory for its messages.
    pub fn create(parts: Parts) -> Result<Self, ClaimError> {
        let owner = Process::own();
        let (slot, number) = parts.cable.claim(parts.device.side, owner)?;
        let claimed = parts.cable.slot(parts.device.side, slot);
        let outlet = &claimed.expect("it was claimed").outlet;
        let ordinal = parts.cable.end(parts.device.side).injections.created();
        let state = State::new(&outlet.queue);
        Ok(QueuePair {
            number,
            ordinal,
            slot,
            owner,
            parts,
            names: Names::default(),
            state: Mutex::new(state),
        })
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// The device that it is on.
    pub fn device(&self) -> &Device {
        &self.parts.device
    }

    /// Sets the application's pointers to the queue pair and its completion queues.
    pub fn set_names(&self, pair: usize, send_queue: usize, receive_queue: usize) {
        self.names.pair.store(pair, Ordering::Relaxed);
        self.names.send_queue.store(send_queue, Ordering::Relaxed);
        self.names
            .receive_queue
            .store(receive_queue, Ordering::Relaxed);
    }

    /// Whether it is in the error state, whether the application set it or a failure did.
    pub fn has_failed(&self) -> bool {
        lock(&self.state).phase == Phase::Error
    }

    /// Sets the access rights of the other end.
    pub fn allow(&self, access: u32) {
        lock(&self.state).access = access;
    }

    /// Sets the retry limits.
    pub fn set_patience(&self, patience: Patience) {
        lock(&self.state).patience = patience;
    }

    /// Moves to another state; `false` if the specification has no such transition.
    pub fn advance(&self, next: Phase) -> bool {
        let mut state = lock(&self.state);
        let legal = match next {
            Phase::Error => true,
            // Only through `reset`.
            Phase::Reset => false,
            Phase::Init => matches!(state.phase, Phase::Reset | Phase::Init),
            // Only through `connect`.
            Phase::ReadyToReceive => false,
            Phase::ReadyToSend => {
                matches!(state.phase, Phase::ReadyToReceive | Phase::ReadyToSend)
            }
        };
        if legal {
            state.phase = next;
        }
        if next == Phase::Error {
            self.own_slot().set_answers(false);
        }
        legal
    }

    /// Discards its connection and all work requests, and takes its messages off the
    /// cable: they must not reach the next peer.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        let slot = self.own_slot();
        slot.set_answers(false);
        slot.connect(0);
        self.own_end().empty(slot);
        *state = State {
            patience: state.patience,
            access: state.access,
            ..State::new(&slot.outlet.queue)
        };
    }

    /// Becomes ready to receive from `peer`; `false` if it is not initialised.
    pub fn connect(&self, peer: Peer) -> bool {
        let mut state = lock(&self.state);
        if state.phase != Phase::Init {
            return false;
        }
        state.phase = Phase::ReadyToReceive;
        state.peer = Some(peer);
        if let Peer::Number(number) = peer {
            self.own_slot().connect(number);
            self.own_slot().set_answers(true);
        }
        true
    }

    /// Accepts a send, and puts it on the cable if there is room.
    pub fn post_send(&self, now: Time, request: SendRequest) -> Result<(), PostError> {
        let mut state = lock(&self.state);
        self.admit(&state, slice::from_ref(&request))?;
        self.enqueue(&mut state, now, request);
        self.transmit(&mut state, now);
        self.stir(&state);
        Ok(())
    }

    /// Accepts all of these sends, or none.
    pub fn post_sends(&self, now: Time, requests: Vec<SendRequest>) -> Result<(), PostError> {
        let mut state = lock(&self.state);
        self.admit(&state, &requests)?;
        for request in requests {
            self.enqueue(&mut state, now, request);
        }
        self.transmit(&mut state, now);
        self.stir(&state);
        Ok(())
    }

    /// Accepts a receive.
    pub fn post_receive(&self, now: Time, request: ReceiveRequest) -> Result<(), PostError> {
        if self.own_end().condition.is(DeviceFault::Refusing) {
            return Err(PostError::Refused);
        }
        let mut state = lock(&self.state);
        if state.phase == Phase::Reset {
            return Err(PostError::State);
        }
        if state.receives.len() >= self.parts.limits.receives {
            return Err(PostError::Full);
        }
        state.receives.push_back(Receive {
            request,
            posted: now,
        });
        self.stir(&state);
        Ok(())
    }

    /// Completes the requests that have ended by `now`, within each half oldest first,
    /// while `completions` has capacity. The halves take turns in being first; otherwise
    /// a short array would be filled by one half alone.
    pub fn poll(&self, now: Time, halves: Halves, completions: &mut Completions<'_>) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        if state.phase != Phase::Error {
            state.receives_first = !state.receives_first;
        }
        if state.receives_first && halves != Halves::Sends {
            self.poll_receives(state, now, completions);
        }
        if halves != Halves::Receives {
            self.poll_sends(state, now, completions);
        }
        if !state.receives_first && halves != Halves::Sends {
            self.poll_receives(state, now, completions);
        }
    }

    fn poll_sends(&self, state: &mut State, now: Time, completions: &mut Completions<'_>) {
        self.transmit(state, now);
        completions.fill(|| {
            let early = state.ended_sends.pop_front();
            early.or_else(|| self.next_send(state, now))
        });
    }

    fn poll_receives(&self, state: &mut State, now: Time, completions: &mut Completions<'_>) {
        completions.fill(|| {
            let early = state.ended_receives.pop_front();
            early.or_else(|| self.next_receive(state, now).map(|(wc, _)| wc))
        });
    }

    /// Does everything that is due by `now`, stores the completions for the application,
    /// and wakes the application if it waits for them. Returns whether there was anything
    /// to do, and when more work is certain.
    pub fn serve(&self, now: Time) -> (bool, Option<Time>) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        while let Some((completion, worthy)) = self.next_receive(state, now) {
            state.ended_receives.push_back(completion);
            if let Some(events) = &self.parts.receive_events {
                let queue = self.names.receive_queue.load(Ordering::Relaxed);
                events.completed(queue, worthy);
            }
        }
        self.transmit(state, now);
        while let Some(completion) = self.next_send(state, now) {
            let failed = completion.status != ibv::IBV_WC_SUCCESS;
            state.ended_sends.push_back(completion);
            if let Some(events) = &self.parts.send_events {
                let queue = self.names.send_queue.load(Ordering::Relaxed);
                events.completed(queue, failed);
            }
        }
        let is_watched = self.is_watched(state);
        self.own_slot().set_wants_bell(is_watched);
        let sent = is_watched.then(|| self.next_word(state)).flatten();
        let next = [self.next_arrival(state), sent];
        let worked = mem::take(&mut state.worked);
        (worked, next.into_iter().flatten().min())
    }

    /// Makes the other end ring the bell, and the engine look at what happened before.
    pub fn await_bell(&self) {
        self.stir(&lock(&self.state));
    }

    /// Whether a thread of the application sleeps until something completes.
    fn is_awaited(&self) -> bool {
        let both = [&self.parts.send_events, &self.parts.receive_events];
        both.into_iter().flatten().any(|events| events.is_armed())
    }

    /// Whether the engine serves the sends: a thread sleeps until they complete, or some
    /// have no room yet and the application need not look again.
    fn is_watched(&self, state: &State) -> bool {
        self.is_awaited() || state.queued > 0
    }

    /// Wakes the engine for what was posted, if the engine serves it.
    fn stir(&self, state: &State) {
        if self.is_watched(state) {
            self.own_slot().set_wants_bell(true);
            self.own_end().bell.ring();
        }
    }

    /// Enters the error state because of a request of one half. The completion of that
    /// request comes before those of all flushed requests.
    fn fail(&self, state: &mut State, half: Halves) {
        state.phase = Phase::Error;
        state.receives_first = half == Halves::Receives;
        self.own_slot().set_answers(false);
    }

    /// Reports an asynchronous event of the queue pair to the application.
    fn report(&self, kind: ibv::ibv_event_type) {
        let object = self.names.pair.load(Ordering::Relaxed);
        self.parts.async_events.push(AsyncEvent { kind, object });
    }

    fn is_reliable(&self) -> bool {
        self.parts.transport == Transport::Reliable
    }

    /// Whether a send completes when it is answered rather than when it has left.
    fn is_answered(&self) -> bool {
        self.is_reliable() || self.device().receiver_not_ready == ReceiverNotReady::Error
    }

    /// The slot of the queue pair that it is connected to, whichever process owns it.
    fn peer_slot(&self, peer: Option<Peer>) -> Option<(u32, usize, &Slot)> {
        let Some(Peer::Number(number)) = peer else {
            return None;
        };
        let index = slot_of(number);
        let slot = self
            .parts
            .cable
            .slot(self.device().side.opposite(), index)?;
        Some((number, index, slot))
    }

    /// The queue pair that it is connected to, while that one exists and is connected to
    /// this one.
    fn partner(&self, peer: Option<Peer>) -> Option<(usize, &Slot)> {
        let (number, index, slot) = self.peer_slot(peer)?;
        slot.links(number, self.number).then_some((index, slot))
    }

    fn wake_peer(&self) {
        self.peer_end().bell.ring();
    }

    fn completion(
        &self,
        id: u64,
        status: ibv::ibv_wc_status,
        opcode: ibv::ibv_wc_opcode,
        bytes: u64,
    ) -> ibv::ibv_wc {
        // SAFETY: integers and a union of integers, for which zero is valid.
        let zero: ibv::ibv_wc = unsafe { mem::zeroed() };
        ibv::ibv_wc {
            wr_id: id,
            status,
            opcode,
            byte_len: bytes as u32,
            qp_num: self.number,
            ..zero
        }
    }

    /// This end of the cable.
    pub fn own_end(&self) -> &EndState {
        self.parts.cable.end(self.device().side)
    }

    /// The other end.
    fn peer_end(&self) -> &EndState {
        self.parts.cable.end(self.device().side.opposite())
    }

    /// The current properties of the direction away from here.
    fn link(&self) -> Link {
        self.own_end().condition.link()
    }

    fn own_slot(&self) -> &Slot {
        self.parts
            .cable
            .slot(self.device().side, self.slot)
            .expect("claimed at creation")
    }

    /// Checks that these requests can be accepted.
    fn admit(&self, state: &State, requests: &[SendRequest]) -> Result<(), PostError> {
        if self.own_end().condition.is(DeviceFault::Refusing) {
            return Err(PostError::Refused);
        }
        if !matches!(state.phase, Phase::ReadyToSend | Phase::Error) {
            return Err(PostError::State);
        }
        for request in requests {
            if request.is_read() && !self.is_reliable() {
                return Err(PostError::Operation);
            }
            if request.payload.bytes() > QUEUE_BYTES {
                return Err(PostError::TooLong);
            }
        }
        if state.sends.len() + requests.len() > self.parts.limits.sends {
            return Err(PostError::Full);
        }
        Ok(())
    }
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        let side = self.device().side;
        self.parts.cable.release(side, self.slot, self.owner);
    }
}

#[cfg(test)]
mod tests;
