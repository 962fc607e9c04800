//! A queue pair: work requests in, completions out.
//!
//! What it does at a time is done by whoever looks at that time or later: the
//! application when it posts and polls, or the [engine](super::engine). Both
//! directions share one lock, which is contended only while both look.

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
    config::Device,
    fabric::{QUEUE_BYTES, Queue, Sender, Time},
    shm::{EndState, SharedCable, Slot, slot_of},
};

/// How it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UC: sent is sent.
    Unreliable,
    /// RC: the other end answers.
    Reliable,
}

/// What the application chose when it created the queue pair.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub sends: usize,
    pub receives: usize,
    pub signal_all: bool,
}

/// What of a queue pair reports to a completion queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    Sends,
    Receives,
    Both,
}

/// What a queue pair is made of.
pub struct Parts {
    pub cable: Arc<SharedCable>,
    pub device: Device,
    pub regions: Arc<Regions>,
    pub transport: Transport,
    pub limits: Limits,
    /// Those who wait for completions of sends and of receives, if anybody may.
    pub send_events: Option<Arc<Notifier>>,
    pub receive_events: Option<Arc<Notifier>>,
    pub async_events: Arc<EventQueue<AsyncEvent>>,
}

/// Why a work request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostError {
    /// The queue pair is not in a state for it.
    State,
    /// As many are outstanding as the application said there would be.
    Full,
    /// It is longer than the port's longest message.
    TooLong,
    /// Its transport has no such operation.
    Operation,
    /// The device takes none.
    Refused,
}

/// The states of the specification that make a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Reset,
    Init,
    ReadyToReceive,
    ReadyToSend,
    Error,
}

/// Where a connected queue pair's frames go.
#[derive(Debug, Clone, Copy)]
pub enum Peer {
    /// To the queue pair of this number at the other end of the cable.
    Number(u32),
    /// To an address that is not at the other end of the cable. They leave, and
    /// nobody there takes them, as on a cable that is cut.
    Unreachable,
}

/// How long a reliable queue pair tries.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    /// After how long it sends again what was not answered, if it does.
    pub resend: Option<Duration>,
    /// How long it waits for an answer; for ever when nothing is said.
    pub answer: Option<Duration>,
    /// Whether it waits for ever for a receiver that is not ready.
    pub receiver: bool,
}

pub struct QueuePair {
    number: u32,
    /// Which of the queue pairs that were created on the device, from 0.
    ordinal: u32,
    slot: usize,
    parts: Parts,
    /// The application's pointers to the queue pair and its completion queues, by
    /// which events name them.
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
    /// What the other end may do to memory: `ibv_access_flags`.
    access: u32,
    sender: Sender,
    sends: VecDeque<Send>,
    /// How many of the sends, the last ones, are not on the cable yet.
    queued: usize,
    receives: VecDeque<Receive>,
    /// Completions that the engine found before the application asked.
    ended_sends: VecDeque<ibv::ibv_wc>,
    ended_receives: VecDeque<ibv::ibv_wc>,
    /// Which half is polled first.
    receives_first: bool,
    /// When the other end is woken, if it has not answered by then.
    nudge: Time,
    /// Whether a frame was taken since the engine last asked.
    worked: bool,
}

impl State {
    /// That of a queue pair that does nothing yet and whose queue is empty.
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
    /// A new queue pair, or nothing when the device has no more.
    pub fn create(now: Time, parts: Parts) -> Option<Self> {
        let (slot, number) = parts.cable.claim(parts.device.side, now)?;
        let outlet = &parts.cable.slot(parts.device.side, slot)?.outlet;
        let ordinal = parts.cable.end(parts.device.side).injections.created();
        let state = State::new(&outlet.queue);
        Some(QueuePair {
            number,
            ordinal,
            slot,
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

    /// Tells by which pointers the application knows the queue pair and its
    /// completion queues.
    pub fn set_names(&self, pair: usize, send_queue: usize, receive_queue: usize) {
        self.names.pair.store(pair, Ordering::Relaxed);
        self.names.send_queue.store(send_queue, Ordering::Relaxed);
        self.names
            .receive_queue
            .store(receive_queue, Ordering::Relaxed);
    }

    /// Whether it is in the error state, by itself or because it was put there.
    pub fn has_failed(&self) -> bool {
        lock(&self.state).phase == Phase::Error
    }

    /// Says what the other end may do to memory.
    pub fn allow(&self, access: u32) {
        lock(&self.state).access = access;
    }

    /// Says how long it tries.
    pub fn set_patience(&self, patience: Patience) {
        lock(&self.state).patience = patience;
    }

    /// Moves to another state; false when the specification has no such step.
    pub fn advance(&self, next: Phase) -> bool {
        let mut state = lock(&self.state);
        let legal = match next {
            Phase::Error => true,
            // Through `reset`.
            Phase::Reset => false,
            Phase::Init => matches!(state.phase, Phase::Reset | Phase::Init),
            // Through `connect`.
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

    /// Forgets its connection and all work requests at `now`, and takes what is under
    /// way off the cable: it must not reach the next peer.
    pub fn reset(&self, now: Time) {
        let mut state = lock(&self.state);
        let slot = self.own_slot();
        slot.set_answers(false);
        slot.connect(0);
        self.own_end().empty(slot, now);
        *state = State {
            patience: state.patience,
            access: state.access,
            ..State::new(&slot.outlet.queue)
        };
    }

    /// Becomes ready to receive from `peer`; false when not initialised.
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

    /// Takes a send, and puts it on the cable if there is room.
    pub fn post_send(&self, now: Time, request: SendRequest) -> Result<(), PostError> {
        let mut state = lock(&self.state);
        self.admit(&state, slice::from_ref(&request))?;
        self.enqueue(&mut state, now, request);
        self.transmit(&mut state, now);
        self.stir(&state);
        Ok(())
    }

    /// Takes all of these sends, or none.
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

    /// Takes a receive.
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

    /// Ends what has ended by `now`, of each half older before younger, as long as
    /// `completions` has capacity for another. Each half is first in its turn, or
    /// short answers would leave the other no room.
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

    /// Does everything that is to be done by `now`, keeps what has completed for
    /// the application, and wakes it if it waits for that. Says whether there was
    /// anything to do, and when there will be for certain.
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

    /// Has the other end ring, and the engine look at what came before it did.
    pub fn await_bell(&self) {
        self.stir(&lock(&self.state));
    }

    /// Whether somebody sleeps until something completes.
    fn is_awaited(&self) -> bool {
        let both = [&self.parts.send_events, &self.parts.receive_events];
        both.into_iter().flatten().any(|events| events.is_armed())
    }

    /// Whether the engine looks after the sends: somebody sleeps for them, or some have
    /// no room yet and the application need not look again.
    fn is_watched(&self, state: &State) -> bool {
        self.is_awaited() || state.queued > 0
    }

    /// Has the engine look at what was posted, if it is to look after it.
    fn stir(&self, state: &State) {
        if self.is_watched(state) {
            self.own_slot().set_wants_bell(true);
            self.own_end().bell.ring();
        }
    }

    /// Enters the error state because of a request on one half: its completion comes
    /// before those of all that is flushed.
    fn fail(&self, state: &mut State, half: Halves) {
        state.phase = Phase::Error;
        state.receives_first = half == Halves::Receives;
        self.own_slot().set_answers(false);
    }

    /// Tells the application what happened to the queue pair by itself.
    fn report(&self, kind: ibv::ibv_event_type) {
        let object = self.names.pair.load(Ordering::Relaxed);
        self.parts.async_events.push(AsyncEvent { kind, object });
    }

    fn is_reliable(&self) -> bool {
        self.parts.transport == Transport::Reliable
    }

    /// Whether a send ends with an answer and not with its departure.
    fn is_answered(&self) -> bool {
        self.is_reliable() || self.device().receiver_not_ready == ReceiverNotReady::Error
    }

    /// The slot of the queue pair that it is connected to, whoever has it.
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

    /// The queue pair that it is connected to, while that is there and connected to
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

    /// What the direction away from here can do now.
    fn link(&self) -> Link {
        self.own_end().condition.link()
    }

    fn own_slot(&self) -> &Slot {
        self.parts
            .cable
            .slot(self.device().side, self.slot)
            .expect("claimed at creation")
    }

    /// Whether these requests can be taken.
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
        self.parts.cable.release(self.device().side, self.slot);
    }
}

#[cfg(test)]
mod tests;
