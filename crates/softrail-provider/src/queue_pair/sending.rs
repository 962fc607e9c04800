//! From work request to the cable, and from the other end's answer to the
//! completion.

use std::{mem, time::Duration};

use rig::DeviceFault;

use super::{Phase, QueuePair, State, course::Course};
use crate::{
    bindings as ibv,
    completions::Completion,
    memory::{Held, Span, Spans},
    work::{Payload, SendRequest},
};
use softrail::{
    fabric::{FRAME_BYTES, Fate, Heard, Load, Message, Stream, Time, frames},
    shm::Slot,
};

/// How long after the arrival of a message the sender waits for the answer without waking
/// the other end: a client there that polls answers by itself.
const PROMPT: Duration = Duration::from_micros(20);

/// The interval at which the other end is woken while it does not answer.
const NUDGES: Duration = Duration::from_millis(1);

/// A send, write or read that has not ended.
pub struct Send {
    request: SendRequest,
    course: Course,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Not on the cable yet, because the queue has no room.
    Queued { ready: Time },
    /// Sent while the cable was broken, at `first` for the first time, and to be sent
    /// again.
    Missed { first: Time },
    /// Put on the cable.
    Sent(Lane),
    /// Answered at this time. Completes with this status.
    Answered(ibv::ibv_wc_status, Time),
    /// Never sent. Fails with this status when its turn comes, and until then blocks what
    /// was posted after it.
    Failed(ibv::ibv_wc_status),
}

/// The stream that carries a message, and the message's number on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// To the other end.
    Through(u64),
    /// Lost on the way.
    Lost(u64),
}

/// What a send waits for where receives are to be posted first.
struct Credit {
    /// When it has come; the origin of time where sends need no credit.
    at: Time,
    /// The number of the receive whose credit comes next.
    next: u64,
}

impl QueuePair {
    pub(super) fn enqueue(&self, state: &mut State, now: Time, mut request: SendRequest) {
        request.signalled |= self.parts.limits.signal_all;
        state.send_depth += self.depth_of(&request);
        self.own_end().usage.note_sends(state.send_depth);
        let course = match (self.course(), mem::take(&mut state.loses_first)) {
            (_, true) => Course::Lost,
            (course, false) => course,
        };
        state.sends.push_back(Send {
            request,
            course,
            stage: Stage::Queued { ready: now },
        });
        state.queued += 1;
    }

    /// Puts queued sends on the cable while it has room for them.
    pub(super) fn transmit(&self, state: &mut State, now: Time) {
        if state.phase != Phase::ReadyToSend {
            return;
        }
        if self.is_answered() {
            self.listen(state, now);
        }
        while state.queued > 0 {
            let index = state.sends.len() - state.queued;
            if !state.sends[index].is_waiting() {
                return;
            }
            let waits = state.sends[index].request.fenced;
            if waits && state.sends.range(..index).any(Send::awaits_bytes) {
                return;
            }
            // Only when necessary: this reads memory that the receiver writes.
            if self.needs_room(state) {
                self.listen(state, now);
            }
            match self.launch(state, index, now) {
                Ok(Some(lane)) => state.sends[index].stage = Stage::Sent(lane),
                Ok(None) => return,
                Err(status) => {
                    state.sends[index].stage = Stage::Failed(status);
                    return;
                }
            }
            state.queued -= 1;
        }
    }

    /// Whether the queue has no room for the next send.
    pub(super) fn needs_room(&self, state: &State) -> bool {
        let next = state.sends.len() - state.queued;
        let next = state.sends.get(next);
        next.is_some_and(|next| state.sender.is_full(next.request.payload.bytes()))
    }

    /// Puts a send on the cable. `None` when there is no room for it, or when the send
    /// missed the other end and is to be sent again.
    fn launch(
        &self,
        state: &mut State,
        index: usize,
        now: Time,
    ) -> Result<Option<Lane>, ibv::ibv_wc_status> {
        if self.is_stalled(state.peer) {
            return Ok(None);
        }
        if self.own_end().condition.unplugged().is_some() {
            // It goes when the cable is plugged in again.
            state.sends[index].stage = Stage::Queued { ready: now };
            return Ok(None);
        }
        let request = &state.sends[index].request;
        let regions = self.parts.regions.hold();
        let source = source(&regions, request)?;
        let end = self.own_end();
        if end.condition.is(DeviceFault::Failing) {
            return Err(ibv::IBV_WC_RETRY_EXC_ERR);
        }
        let message = self.message(state, request);
        let Some(credit) = self.credit(state) else {
            return Ok(None);
        };
        if let Stage::Queued { ready } = &mut state.sends[index].stage {
            *ready = credit.at.max(*ready);
        }
        if !self.drop_once(state, index, &message, now) {
            return Ok(None);
        }
        let way = self.way(state, index).zip(self.ready(state, index, now));
        let Some(((peer, delay), ready)) = way else {
            let lane = self.miss(state, index, &message, now)?;
            if lane.is_some() {
                state.next_credit = credit.next;
            }
            return Ok(lane);
        };
        // Once the cable accepts the send the retries end; it may still have to wait for
        // room.
        state.sends[index].stage = Stage::Queued { ready };
        let queue = &self.own_slot().outlet.queue;
        let load = Load {
            bytes: self.carried(&message),
            ready,
            delay,
        };
        let Some(reservation) = state.sender.reserve(queue, load, message) else {
            return Ok(None);
        };
        self.store(reservation.offset, source.as_slice());
        let number = state.sender.publish(queue, reservation);
        state.next_credit = credit.next;
        end.advance(now, Some(self.slot));
        if self.is_reliable() && state.sends.len() == state.queued {
            let transit = queue.stream().transit(number);
            state.nudge = transit.map_or(now, |transit| transit.arrives) + PROMPT;
        }
        if message.is_one_sided() || peer.wants_bell() {
            self.wake_peer();
        }
        Ok(Some(Lane::Through(number)))
    }

    /// The credit for the next send, which begins its way when the other end posts the
    /// receive for it. `None` while there is no such receive.
    fn credit(&self, state: &State) -> Option<Credit> {
        if !self.offer().has_credits {
            return Some(Credit {
                at: Time::ZERO,
                next: 0,
            });
        }
        let (index, _) = self.partner(state.peer)?;
        let theirs = self.device().side.opposite();
        let credits = self.parts.cable.credits(theirs, index);
        let (number, posted) = credits.granted(state.next_credit)?;
        Some(Credit {
            at: posted + self.peer_end().condition.link().latency,
            next: number + 1,
        })
    }

    /// The bytes that travel with a message. Over Thunderbolt a frame is whole however
    /// little is in it.
    fn carried(&self, message: &Message) -> u64 {
        match self.offer().has_credits {
            true => frames(message.bytes) * FRAME_BYTES,
            false => message.carried(),
        }
    }

    /// The message that a request puts on the cable.
    fn message(&self, state: &State, request: &SendRequest) -> Message {
        Message {
            bytes: request.payload.bytes(),
            operation: request.operation,
            immediate: request.immediate,
            solicited: request.solicited,
            insists: self.is_reliable() && state.patience.receiver,
        }
    }

    /// The slot that a send reaches now, and its delay beyond the cable's latency; `None`
    /// if it does not arrive.
    fn way(&self, state: &State, index: usize) -> Option<(&Slot, Duration)> {
        // A reliable receiver accepts nothing after a message that it missed. So a
        // message that follows a lost one is lost itself, and the first one reports the
        // failure.
        let before = index.checked_sub(1).map(|before| state.sends[before].stage);
        if self.is_reliable() && matches!(before, Some(Stage::Sent(Lane::Lost(_)))) {
            return None;
        }
        let (_, _, peer) = self.peer_slot(state.peer)?;
        Some((peer, self.delay(state.sends[index].course)?))
    }

    /// The earliest time at which a send may go; `None` if it has no retry left.
    fn ready(&self, state: &State, index: usize, now: Time) -> Option<Time> {
        match state.sends[index].stage {
            Stage::Queued { ready } => Some(ready),
            Stage::Missed { first } => self.next_try(state, first, now),
            _ => None,
        }
    }

    /// Loses a message that an injected fault drops and that its sender then sends again,
    /// if nothing else keeps it from arriving. `false` while the cable has no room for
    /// the loss.
    fn drop_once(&self, state: &mut State, index: usize, message: &Message, now: Time) -> bool {
        let resend = self.resends(state).filter(|_| self.is_whole());
        let send = &mut state.sends[index];
        let (Course::Lost, Some(after), Stage::Queued { ready }) =
            (send.course, resend, send.stage)
        else {
            return true;
        };
        let lost = self.lose(message, ready, now);
        if lost.is_some() {
            send.course = Course::Late(after);
        }
        lost.is_some()
    }

    /// Sends a message that cannot arrive now. `None` while it is to be sent again, which
    /// blocks what was posted after it.
    fn miss(
        &self,
        state: &mut State,
        index: usize,
        message: &Message,
        now: Time,
    ) -> Result<Option<Lane>, ibv::ibv_wc_status> {
        let ready = match state.sends[index].stage {
            Stage::Missed { first } => {
                let given_up = self.gives_up(state, first).is_some_and(|at| now >= at);
                return match given_up {
                    true => Err(ibv::IBV_WC_RETRY_EXC_ERR),
                    false => Ok(None),
                };
            }
            Stage::Queued { ready } if !self.is_reliable() => ready,
            // The time limit begins with the first try; waiting for room does not count
            // as one.
            _ => now,
        };
        let Some(number) = self.lose(message, ready, now) else {
            return Ok(None);
        };
        let lane = Lane::Lost(number);
        if self.resends(state).is_none() {
            return Ok(Some(lane));
        }
        let first = self.departs(state, lane).unwrap_or(now);
        state.sends[index].stage = Stage::Missed { first };
        Ok(None)
    }

    /// When a reliable send that left at `departs` fails, if it ever does.
    fn gives_up(&self, state: &State, departs: Time) -> Option<Time> {
        Some(departs + self.link().latency + state.patience.answer?)
    }

    /// Puts a message on the cable that never arrives, and returns its number among
    /// those. `None` while too many of them have not left.
    fn lose(&self, message: &Message, ready: Time, now: Time) -> Option<u64> {
        let (end, lost) = (self.own_end(), &self.own_slot().outlet.lost);
        if lost.is_full(now) {
            end.look(now);
        }
        if lost.is_full(now) {
            return None;
        }
        let number = lost.offer(Load {
            bytes: self.carried(message),
            ready,
            delay: Duration::ZERO,
        });
        end.tally.count_loss();
        end.advance(now, Some(self.slot));
        Some(number)
    }

    /// Copies a message into the room reserved for it on this queue pair's queue.
    fn store(&self, mut offset: u64, source: &[Span]) {
        for span in source {
            // SAFETY: the memory is inside a region that the application registered and
            // that is held, or in a request of this queue pair; the range was just
            // reserved on the queue of a slot that this queue pair owns.
            unsafe {
                self.parts.cable.store(
                    self.device().side,
                    self.slot,
                    offset,
                    span.host as *const u8,
                    span.bytes,
                );
            }
            offset += span.bytes;
        }
    }

    /// Processes the answers that have arrived by `now`.
    fn listen(&self, state: &mut State, now: Time) {
        let queue = &self.own_slot().outlet.queue;
        let answers = self.answers(state);
        // The other end need not look at the answers that it sends.
        self.peer_end().look(now);
        while let Some(heard) = state.sender.hear(queue, answers, now) {
            let lane = Lane::Through(heard.message);
            let is_it = |send: &&mut Send| matches!(send.stage, Stage::Sent(its) if its == lane);
            let Some(send) = state.sends.iter_mut().find(is_it) else {
                continue;
            };
            send.stage = Stage::Answered(self.answer(&send.request, heard), heard.at);
            state.nudge = now + PROMPT;
        }
    }

    /// The other end's answers to reads, while the other end exists.
    fn answers(&self, state: &State) -> Option<&Stream> {
        let (_, slot) = self.partner(state.peer)?;
        Some(&slot.outlet.answers)
    }

    /// The completion status for a send with this fate.
    fn answer(&self, request: &SendRequest, heard: Heard) -> ibv::ibv_wc_status {
        match heard.fate {
            Fate::Taken if request.is_read() => self.fetch(request, heard.offset),
            Fate::Taken => ibv::IBV_WC_SUCCESS,
            Fate::NotReady => ibv::IBV_WC_RNR_RETRY_EXC_ERR,
            Fate::AccessDenied => ibv::IBV_WC_REM_ACCESS_ERR,
            Fate::TooLong => ibv::IBV_WC_REM_INV_REQ_ERR,
            Fate::Failed => ibv::IBV_WC_REM_OP_ERR,
        }
    }

    /// Copies the data of a read to the application's memory.
    fn fetch(&self, request: &SendRequest, mut offset: u64) -> ibv::ibv_wc_status {
        let regions = self.parts.regions.hold();
        let Ok(target) = source(&regions, request) else {
            return ibv::IBV_WC_LOC_PROT_ERR;
        };
        for span in target.as_slice() {
            // SAFETY: the memory is inside a region that the application registered for
            // local writes and that is held; the range belongs to a read of this queue
            // pair that was answered, and nothing was reserved since.
            unsafe {
                self.parts.cable.load(
                    self.device().side,
                    self.slot,
                    offset,
                    span.host as *mut u8,
                    span.bytes,
                );
            }
            offset += span.bytes;
        }
        ibv::IBV_WC_SUCCESS
    }

    /// The completion of the oldest send that produces one, if that send has ended.
    pub(super) fn next_send(&self, state: &mut State, now: Time) -> Option<Completion> {
        loop {
            let stage = state.sends.front()?.stage;
            let (status, at) = match stage {
                Stage::Answered(ibv::IBV_WC_SUCCESS, at) => (ibv::IBV_WC_SUCCESS, at),
                _ if state.phase == Phase::Error => (ibv::IBV_WC_WR_FLUSH_ERR, state.flushed(now)),
                Stage::Answered(status, at) => (status, at),
                Stage::Failed(status) => (status, now),
                Stage::Sent(lane) => self.outcome(state, now, lane)?,
                Stage::Queued { .. } | Stage::Missed { .. } => return None,
            };
            let Send { request, .. } = state.sends.pop_front()?;
            state.send_depth -= self.depth_of(&request);
            state.queued = state.queued.min(state.sends.len());
            if status != ibv::IBV_WC_SUCCESS {
                self.fail(state);
            }
            if request.signalled || status != ibv::IBV_WC_SUCCESS {
                let bytes = request.payload.bytes();
                return Some(self.completion(at, request.id, status, request.opcode(), bytes));
            }
        }
    }

    /// The status of a send that has left and is not answered, and since when it has it;
    /// `None` while that is unknown.
    fn outcome(
        &self,
        state: &mut State,
        now: Time,
        lane: Lane,
    ) -> Option<(ibv::ibv_wc_status, Time)> {
        let departs = self.departs(state, lane).or_else(|| {
            self.own_end().look_for(now, self.slot);
            self.departs(state, lane)
        })?;
        if departs > now {
            return None;
        }
        let arrives = matches!(lane, Lane::Through(_));
        if !self.is_reliable() {
            let is_answered = self.is_answered() && arrives;
            return (!is_answered).then_some((ibv::IBV_WC_SUCCESS, departs));
        }
        if arrives && state.nudge <= now {
            state.nudge = now + NUDGES;
            self.wake_peer();
        }
        let given_up = self.gives_up(state, departs).filter(|at| now >= *at)?;
        let comes = || {
            let partner = self.partner(state.peer);
            arrives && partner.is_some_and(|(_, slot)| slot.answers())
        };
        (!comes()).then_some((ibv::IBV_WC_RETRY_EXC_ERR, given_up))
    }

    /// When a message has left, once that is settled.
    fn departs(&self, state: &State, lane: Lane) -> Option<Time> {
        let outlet = &self.own_slot().outlet;
        match lane {
            Lane::Through(number) => state.sender.departs(&outlet.queue, number),
            Lane::Lost(number) => outlet.lost.transit(number).map(|transit| transit.departs),
        }
    }

    /// When the oldest send is next due, if it has not ended.
    pub(super) fn next_word(&self, state: &State) -> Option<Time> {
        let send = state.sends.front()?;
        let queue = &self.own_slot().outlet.queue;
        let word = state.sender.next_word(queue, self.answers(state));
        let lane = match send.stage {
            Stage::Sent(lane) => lane,
            Stage::Missed { first } => return self.gives_up(state, first),
            // The other end rings when it posts the receive.
            Stage::Queued { .. } if self.offer().has_credits => return word,
            Stage::Queued { .. } => return word.or_else(|| self.own_end().next_start()),
            _ => return None,
        };
        let Some(departs) = self.departs(state, lane) else {
            return self.own_end().next_start().or(Some(Time::ZERO));
        };
        if !self.is_answered() {
            return Some(departs);
        }
        let arrives = matches!(lane, Lane::Through(_));
        let nudge = (self.is_reliable() && arrives).then_some(state.nudge.max(departs));
        word.or(nudge).or_else(|| self.gives_up(state, departs))
    }
}

impl Send {
    /// Whether the send is still to be put on the cable.
    fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Queued { .. } | Stage::Missed { .. })
    }

    /// Whether the send is a read whose data has not arrived.
    fn awaits_bytes(&self) -> bool {
        self.request.is_read() && !matches!(self.stage, Stage::Answered(..))
    }
}

/// The memory of a request: the source of its bytes, or their target if it is a read.
fn source(regions: &Held<'_>, request: &SendRequest) -> Result<Spans, ibv::ibv_wc_status> {
    let access = if request.is_read() {
        ibv::IBV_ACCESS_LOCAL_WRITE
    } else {
        0
    };
    match &request.payload {
        Payload::Inline(bytes) => Ok(Spans::One(Span {
            host: bytes.as_ptr() as u64,
            bytes: bytes.len() as u64,
        })),
        Payload::Pieces(pieces) => regions
            .find_all(pieces.as_slice(), access)
            .ok_or(ibv::IBV_WC_LOC_PROT_ERR),
    }
}
