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
    mem, process, slice,
    sync::{Arc, Mutex},
    time::Duration,
};

use rig::{DeviceFault, Link, Profile, ReceiverNotReady, Unplugged};

use super::{
    bindings as ibv, complain,
    completions::{Completion, Completions},
    events::{AsyncEvents, Subject},
    explain, lock,
    memory::Regions,
    offer::Offer,
    work::{ReceiveRequest, SendRequest},
};
use sending::Send;
use softrail::{
    Process,
    config::Device,
    fabric::{Credits, QUEUE_BYTES, Queue, RECEIVES, Sender, Time},
    shm::{ClaimError, EndState, NewPair, SharedCable, Slot, slot_of},
};

/// The interval at which the engine looks whether a send has its credit that the
/// application does not poll for.
const VISITS: Duration = Duration::from_millis(1);

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

/// The parts that a queue pair consists of.
pub struct Parts {
    pub cable: Arc<SharedCable>,
    pub device: Device,
    pub regions: Arc<Regions>,
    pub transport: Transport,
    pub limits: Limits,
    /// Where its sends and its receives complete; often the same.
    pub send_queue: Arc<Completions>,
    pub receive_queue: Arc<Completions>,
    pub async_events: Arc<AsyncEvents>,
    /// What its asynchronous events are about.
    pub subject: Arc<Subject>,
}

/// Why a work request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostError {
    /// The queue pair's state does not permit it.
    State,
    /// The queue is full: the maximum that the application set is outstanding. A request
    /// is outstanding until its completion is polled.
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
    state: Mutex<State>,
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
    /// The depth that they take.
    send_depth: u64,
    /// Whether the next message is lost, whatever becomes of others.
    loses_first: bool,
    /// The number of the first receive of the other end whose credit no send was given.
    next_credit: u64,
    /// Whether a send waited since the engine last asked.
    has_waited: bool,
    /// Whether the engine will look at the queue pair again without being woken.
    is_visited: bool,
    /// How long a message the queue pair has memory for.
    longest: u64,
    receives: VecDeque<Receive>,
    /// The depth that they take.
    receive_depth: u64,
    /// The times of the last completions of a send and of a receive.
    last_send: Time,
    last_receive: Time,
    /// Whether a completion queue that it reports to was found to have overrun.
    has_overrun: bool,
    /// When the other end is woken if it has not answered by then.
    nudge: Time,
    /// Whether a message was taken since the engine last asked.
    worked: bool,
}

impl State {
    /// When the requests are flushed that are left at `now`: after all that completed.
    fn flushed(&self, now: Time) -> Time {
        now.max(self.last_send).max(self.last_receive)
    }

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
            send_depth: 0,
            loses_first: false,
            next_credit: 0,
            has_waited: false,
            is_visited: false,
            longest: QUEUE_BYTES,
            receives: VecDeque::new(),
            receive_depth: 0,
            last_send: Time::ZERO,
            last_receive: Time::ZERO,
            has_overrun: false,
            nudge: Time::ZERO,
            worked: false,
        }
    }
}

/// Hands a completion to a queue. Those of sends, and those of receives, keep their
/// order: two threads that post may have read the clock in another order.
fn complete(queue: &Completions, last: &mut Time, completion: Completion) {
    *last = completion.at.max(*last);
    queue.push(Completion {
        at: *last,
        ..completion
    });
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
        let most = Offer::of(parts.device.rules.profile).queue_pairs;
        let NewPair {
            slot,
            number,
            after_abnormal_end,
        } = parts.cable.claim(parts.device.side, owner, most)?;
        let claimed = parts.cable.slot(parts.device.side, slot);
        let outlet = &claimed.expect("it was claimed").outlet;
        let ordinal = parts.cable.end(parts.device.side).injections.created();
        let rules = &parts.device.rules;
        let loses_first = after_abnormal_end
            && rules.profile == Profile::Thunderbolt
            && rules.likeness.loses_first_after_abnormal_end;
        if loses_first {
            explain(
                "a process ended without destroying its queue pair, so the first message of the \
                 next one is lost, as was seen on Macs (the rig's loses_first_after_abnormal_end)",
            );
        }
        let state = State {
            loses_first,
            ..State::new(&outlet.queue)
        };
        Ok(QueuePair {
            number,
            ordinal,
            slot,
            owner,
            parts,
            state: Mutex::new(state),
        })
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// What its asynchronous events are about.
    pub fn subject(&self) -> &Arc<Subject> {
        &self.parts.subject
    }

    /// The device that it is on.
    pub fn device(&self) -> &Device {
        &self.parts.device
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
            self.fail(&mut state);
        }
        legal
    }

    /// Discards its connection, all work requests and all completions, and takes its
    /// messages off the cable: they must not reach the next peer.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        let slot = self.own_slot();
        slot.set_answers(false);
        slot.connect(0);
        self.own_end().empty(slot);
        self.own_credits().withdraw();
        *state = State {
            patience: state.patience,
            access: state.access,
            loses_first: state.loses_first,
            longest: state.longest,
            ..State::new(&slot.outlet.queue)
        };
        self.forget_completions();
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
        self.admit(&mut state, slice::from_ref(&request))?;
        self.enqueue(&mut state, now, request);
        self.transmit(&mut state, now);
        self.stir(&mut state);
        Ok(())
    }

    /// Accepts all of these sends, or none.
    pub fn post_sends(&self, now: Time, requests: Vec<SendRequest>) -> Result<(), PostError> {
        let mut state = lock(&self.state);
        self.admit(&mut state, &requests)?;
        for request in requests {
            self.enqueue(&mut state, now, request);
        }
        self.transmit(&mut state, now);
        self.stir(&mut state);
        Ok(())
    }

    /// Accepts a receive.
    pub fn post_receive(&self, now: Time, request: ReceiveRequest) -> Result<(), PostError> {
        if self.own_end().condition.is(DeviceFault::Refusing) {
            return Err(PostError::Refused);
        }
        self.crash_if_unplugged();
        let mut state = lock(&self.state);
        let has_credits = self.offer().has_credits;
        if has_credits && !matches!(state.phase, Phase::ReadyToSend | Phase::Error) {
            explain(
                "a receive was posted before its queue pair was ready to send, which RDMA \
                     over Thunderbolt refuses",
            );
            return Err(PostError::State);
        }
        if state.phase == Phase::Reset {
            return Err(PostError::State);
        }
        let depth = self.offer().depth_of(request.scatter.bytes());
        let unpolled = self.unpolled(&self.parts.receive_queue, true);
        let wanted = state.receive_depth + depth + unpolled;
        let is_full = state.receives.len() >= RECEIVES;
        if is_full || self.over_posting(wanted, self.parts.limits.receives) {
            return Err(PostError::Full);
        }
        state.receives.push_back(Receive {
            request,
            posted: now,
        });
        state.receive_depth += depth;
        self.own_end().usage.note_receives(state.receive_depth);
        if has_credits && state.phase != Phase::Error {
            self.own_credits().grant(now);
            let partner = self.partner(state.peer);
            if partner.is_some_and(|(_, slot)| slot.wants_bell()) {
                self.wake_peer();
            }
        }
        self.stir(&mut state);
        Ok(())
    }

    /// Does everything that is due by `now`, and hands what has completed to the
    /// completion queues.
    pub fn serve(&self, now: Time) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        loop {
            let phase = state.phase;
            while let Some(completion) = self.next_receive(state, now) {
                let queue = &self.parts.receive_queue;
                complete(queue, &mut state.last_receive, completion);
            }
            self.transmit(state, now);
            self.end_sends(state, now);
            self.heed_overrun(state);
            // A failure flushes the requests of both halves.
            if state.phase == phase {
                return;
            }
        }
    }

    /// Completes the sends that have ended by `now`.
    fn end_sends(&self, state: &mut State, now: Time) {
        while let Some(completion) = self.next_send(state, now) {
            complete(&self.parts.send_queue, &mut state.last_send, completion);
        }
    }

    /// Whether there was anything to do by `now` since this was called last, and when more
    /// work for the engine is certain.
    pub fn outlook(&self, now: Time) -> (bool, Option<Time>) {
        let mut state = lock(&self.state);
        if self.offer().has_credits && !self.is_awaited() {
            return (false, self.next_visit(&mut state, now));
        }
        let is_watched = self.is_watched(&state);
        self.own_slot().set_wants_bell(is_watched);
        let sent = is_watched.then(|| self.next_word(&state)).flatten();
        let next = [self.next_arrival(&state), sent];
        let worked = mem::take(&mut state.worked);
        (worked, next.into_iter().flatten().min())
    }

    /// When the engine looks again at a queue pair whose application polls, or may have
    /// stopped to. A send that waits for its credit starts at the right time however late
    /// somebody looks. So this need not be often, and nobody need be woken for a credit.
    fn next_visit(&self, state: &mut State, now: Time) -> Option<Time> {
        self.own_slot().set_wants_bell(false);
        let is_waiting = state.queued > 0;
        state.is_visited = mem::take(&mut state.has_waited) || is_waiting;
        let needs_room = is_waiting && self.needs_room(state);
        if needs_room {
            self.wake_peer();
        }
        state.is_visited.then_some(now + VISITS)
    }

    /// When something is next due, if that is known.
    pub fn next_event(&self) -> Option<Time> {
        let state = lock(&self.state);
        let next = [self.next_arrival(&state), self.next_word(&state)];
        next.into_iter().flatten().min()
    }

    /// Enters the error state if a completion queue that it reports to has overrun: its
    /// later completions would be lost.
    fn heed_overrun(&self, state: &mut State) {
        let queues = [&self.parts.send_queue, &self.parts.receive_queue];
        let has_overrun = queues.iter().any(|queue| queue.has_overrun());
        if !has_overrun || state.has_overrun || state.phase == Phase::Reset {
            return;
        }
        state.has_overrun = true;
        self.fail(state);
        self.report(ibv::IBV_EVENT_QP_FATAL);
        // The engine serves the other queue pairs that report there.
        self.own_end().bell.ring();
    }

    /// Drops its completions that were not polled.
    pub fn forget_completions(&self) {
        self.parts.send_queue.forget(self.number);
        self.parts.receive_queue.forget(self.number);
    }

    /// Makes the other end ring the bell, and the engine look at what happened before.
    pub fn await_bell(&self) {
        self.stir(&mut lock(&self.state));
    }

    /// Whether a thread of the application sleeps until something completes.
    fn is_awaited(&self) -> bool {
        self.parts.send_queue.is_armed() || self.parts.receive_queue.is_armed()
    }

    /// Whether the engine serves the sends: a thread sleeps until they complete, or some
    /// have no room yet and the application need not look again.
    fn is_watched(&self, state: &State) -> bool {
        self.is_awaited() || state.queued > 0
    }

    /// Wakes the engine for what was posted, if the engine serves it.
    fn stir(&self, state: &mut State) {
        if !self.is_watched(state) {
            return;
        }
        if self.offer().has_credits && !self.is_awaited() {
            state.has_waited = true;
            if mem::replace(&mut state.is_visited, true) {
                return;
            }
        } else {
            self.own_slot().set_wants_bell(true);
        }
        self.own_end().bell.ring();
    }

    fn fail(&self, state: &mut State) {
        state.phase = Phase::Error;
        self.own_slot().set_answers(false);
        self.own_credits().withdraw();
    }

    /// Reports an asynchronous event of the queue pair to the application.
    fn report(&self, kind: ibv::ibv_event_type) {
        self.parts.async_events.push(kind, &self.parts.subject);
    }

    fn is_reliable(&self) -> bool {
        self.parts.transport == Transport::Reliable
    }

    /// Whether a send completes when it is answered rather than when it has left.
    fn is_answered(&self) -> bool {
        self.is_reliable() || self.device().rules.receiver_not_ready == ReceiverNotReady::Error
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
        at: Time,
        id: u64,
        status: ibv::ibv_wc_status,
        opcode: ibv::ibv_wc_opcode,
        bytes: u64,
    ) -> Completion {
        // SAFETY: integers and a union of integers, for which zero is valid.
        let zero: ibv::ibv_wc = unsafe { mem::zeroed() };
        Completion {
            entry: ibv::ibv_wc {
                wr_id: id,
                status,
                opcode,
                byte_len: bytes as u32,
                qp_num: self.number,
                ..zero
            },
            at,
            is_solicited: false,
        }
    }

    /// This end of the cable.
    pub fn own_end(&self) -> &EndState {
        self.parts.cable.end(self.device().side)
    }

    /// The receives that it has posted.
    fn own_credits(&self) -> &Credits {
        self.parts.cable.credits(self.device().side, self.slot)
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
    fn admit(&self, state: &mut State, requests: &[SendRequest]) -> Result<(), PostError> {
        if self.own_end().condition.is(DeviceFault::Refusing) {
            return Err(PostError::Refused);
        }
        self.crash_if_unplugged();
        if !matches!(state.phase, Phase::ReadyToSend | Phase::Error) {
            return Err(PostError::State);
        }
        for request in requests {
            if request.is_read() && !self.is_reliable() {
                return Err(PostError::Operation);
            }
            let bytes = request.payload.bytes();
            if bytes > self.offer().message {
                explain("a message is longer than a device's longest (ibv_query_port, max_msg_sz)");
                return Err(PostError::TooLong);
            }
        }
        let unpolled = self.unpolled(&self.parts.send_queue, false);
        let wanted = requests.iter().map(|request| self.depth_of(request));
        let wanted = state.send_depth + unpolled + wanted.sum::<u64>();
        if self.over_posting(wanted, self.parts.limits.sends) {
            return Err(PostError::Full);
        }
        let lengths = requests.iter().map(|request| request.payload.bytes());
        if let Some(longest) = lengths.max().filter(|longest| *longest > state.longest) {
            self.make_room(longest)?;
            state.longest = longest;
        }
        Ok(())
    }

    /// The depth that completions take which the application has not polled.
    fn unpolled(&self, queue: &Completions, are_receives: bool) -> u64 {
        let depth_of = |bytes| self.offer().depth_of(bytes);
        queue.unpolled(self.number, are_receives, depth_of)
    }

    /// Reserves memory for a message that is longer than all before it.
    fn make_room(&self, bytes: u64) -> Result<(), PostError> {
        let reserved = (self.parts.cable).reserve_message(self.device().side, self.slot, bytes);
        reserved.map_err(|error| {
            complain(softrail::with_causes(&error));
            PostError::Full
        })
    }

    /// Ends the process as a post does on a Mac after its cable was pulled out.
    fn crash_if_unplugged(&self) {
        if self.own_end().condition.unplugged() == Some(Unplugged::Crash) {
            complain(format_args!(
                "the cable of {} was pulled out, and a post to it crashes, as was seen on Macs \
                 (the rig's fault unplugged)",
                self.device().name
            ));
            // SAFETY: no handler runs, and the default action ends the process unless this
            // thread has blocked the signal.
            unsafe {
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                libc::raise(libc::SIGSEGV);
            }
            process::abort();
        }
    }

    /// What a device of the rig's profile offers.
    pub fn offer(&self) -> &'static Offer {
        Offer::of(self.device().rules.profile)
    }

    /// How much of the queue's depth a send takes.
    fn depth_of(&self, request: &SendRequest) -> u64 {
        self.offer().depth_of(request.payload.bytes())
    }

    /// Whether requests of this depth are more than the queue pair was made for.
    fn over_posting(&self, depth: u64, limit: usize) -> bool {
        let refuses = self.device().rules.likeness.refuses_over_posting;
        let is_bounded = refuses || !self.offer().has_credits;
        let is_over = is_bounded && depth > limit as u64;
        if is_over && self.offer().has_credits {
            explain(
                "more frames of 4 KiB were posted than the queue has, which Macs were seen to \
                 refuse (the rig's refuses_over_posting)",
            );
        }
        is_over
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
