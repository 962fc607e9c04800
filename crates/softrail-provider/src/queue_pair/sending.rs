//! From work request to the cable, and from the other end's answer to the
//! completion.

use std::time::Duration;

use rail_matrix::DeviceFault;

use super::{Phase, QueuePair, State};
use crate::{
    bindings as ibv,
    memory::{Held, Span, Spans},
    work::{Payload, SendRequest},
};
use softrail::fabric::{Fate, Heard, Message, Time};

/// How long after the arrival of a message an answer is expected without waking
/// the other end for it: a client there that polls answers by itself.
const PROMPT: Duration = Duration::from_micros(20);

/// How often the other end is woken while it does not answer.
const NUDGES: Duration = Duration::from_millis(1);

/// A send, write or read that has not ended.
pub struct Send {
    request: SendRequest,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    /// With us, for want of room on the queue.
    Queued { posted: Time },
    /// On the cable; `frame` is its number there when anyone is to receive it.
    Sent { departs: Time, frame: Option<u64> },
    /// Answered, and to end with this status.
    Answered(ibv::ibv_wc_status),
    /// Never sent. Fails with this status when its turn comes, and until then
    /// holds up what was posted after it.
    Failed(ibv::ibv_wc_status),
}

impl QueuePair {
    pub(super) fn enqueue(&self, state: &mut State, now: Time, mut request: SendRequest) {
        request.signalled |= self.parts.limits.signal_all;
        state.sends.push_back(Send {
            request,
            stage: Stage::Queued { posted: now },
        });
        state.queued += 1;
    }

    /// Moves queued sends onto the cable while it has room for them.
    pub(super) fn transmit(&self, state: &mut State, now: Time) {
        if state.phase != Phase::ReadyToSend {
            return;
        }
        if self.is_answered() {
            self.listen(state, now);
        }
        while state.queued > 0 {
            let index = state.sends.len() - state.queued;
            let Stage::Queued { posted } = state.sends[index].stage else {
                return;
            };
            let waits = state.sends[index].request.fenced;
            if waits && state.sends.range(..index).any(Send::awaits_bytes) {
                return;
            }
            // Only when it must: hearing reads what the receiver writes.
            if state
                .sender
                .is_full(state.sends[index].request.payload.bytes())
            {
                self.listen(state, now);
            }
            match self.launch(state, index, posted) {
                Ok(Some(stage)) => state.sends[index].stage = stage,
                Ok(None) => return,
                Err(status) => {
                    state.sends[index].stage = Stage::Failed(status);
                    return;
                }
            }
            state.queued -= 1;
        }
    }

    /// Puts a send on the cable. Nothing when that has no room for it.
    fn launch(
        &self,
        state: &mut State,
        index: usize,
        posted: Time,
    ) -> Result<Option<Stage>, ibv::ibv_wc_status> {
        let request = &state.sends[index].request;
        let regions = self.parts.regions.hold();
        let source = source(&regions, request)?;
        let end = self.own_end();
        if end.condition.is(DeviceFault::Failing) {
            return Err(ibv::IBV_WC_RETRY_EXC_ERR);
        }
        let message = Message {
            bytes: request.payload.bytes(),
            operation: request.operation,
            immediate: request.immediate,
            solicited: request.solicited,
            insists: self.is_reliable() && state.patience.receiver,
        };
        let (link, direction) = (&self.link(), &end.direction);
        let Some((_, _, peer)) = self
            .peer_slot(state.peer)
            .filter(|_| !end.condition.is_cut())
        else {
            end.tally.count_loss();
            let transit = direction.transmit(link, posted, message.carried());
            return Ok(Some(Stage::Sent {
                departs: transit.departs,
                frame: None,
            }));
        };
        let queue = &self.own_slot().queue;
        let Some(reservation) = state
            .sender
            .reserve(queue, direction, link, posted, message)
        else {
            return Ok(None);
        };
        self.store(reservation.offset, source.as_slice());
        let stage = Stage::Sent {
            departs: reservation.transit.departs,
            frame: Some(reservation.frame()),
        };
        if self.is_reliable() && state.sends.len() == state.queued {
            state.nudge = reservation.transit.arrives + PROMPT;
        }
        state.sender.publish(queue, reservation);
        if message.is_one_sided() || peer.wants_bell() {
            self.wake_peer();
        }
        Ok(Some(stage))
    }

    /// Copies a message into the room reserved for it on our queue.
    fn store(&self, mut offset: u64, source: &[Span]) {
        for span in source {
            // SAFETY: the memory is inside a region that the application registered
            // and that is held, or in a request of ours; the range was just
            // reserved on the queue of a slot that is ours.
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

    /// Takes in the answers that have come by `now`.
    fn listen(&self, state: &mut State, now: Time) {
        while let Some(heard) = state.sender.hear(&self.own_slot().queue, now) {
            let is_it = |send: &&mut Send| matches!(send.stage, Stage::Sent { frame, .. } if frame == Some(heard.frame));
            let Some(send) = state.sends.iter_mut().find(is_it) else {
                continue;
            };
            send.stage = Stage::Answered(self.answer(&send.request, heard));
            state.nudge = now + PROMPT;
        }
    }

    /// How a send ends that the other end has answered so.
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

    /// Copies what a read brought to where the application wants it.
    fn fetch(&self, request: &SendRequest, mut offset: u64) -> ibv::ibv_wc_status {
        let regions = self.parts.regions.hold();
        let Ok(target) = source(&regions, request) else {
            return ibv::IBV_WC_LOC_PROT_ERR;
        };
        for span in target.as_slice() {
            // SAFETY: the memory is inside a region that the application registered
            // for us to write and that is held; the range is that of a read of
            // ours that was answered, and nothing was reserved since.
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

    /// The completion of the oldest send that is worth one, if that has ended.
    pub(super) fn next_send(&self, state: &mut State, now: Time) -> Option<ibv::ibv_wc> {
        loop {
            let stage = state.sends.front()?.stage;
            let status = match stage {
                Stage::Answered(ibv::IBV_WC_SUCCESS) => ibv::IBV_WC_SUCCESS,
                _ if state.phase == Phase::Error => ibv::IBV_WC_WR_FLUSH_ERR,
                Stage::Answered(status) | Stage::Failed(status) => status,
                Stage::Sent { departs, frame } => self.outcome(state, now, departs, frame)?,
                Stage::Queued { .. } => return None,
            };
            let Send { request, .. } = state.sends.pop_front()?;
            state.queued = state.queued.min(state.sends.len());
            if status != ibv::IBV_WC_SUCCESS {
                self.fail(state);
            }
            if request.signalled || status != ibv::IBV_WC_SUCCESS {
                let bytes = request.payload.bytes();
                return Some(self.completion(request.id, status, request.opcode(), bytes));
            }
        }
    }

    /// How a send ends that has left and is not answered, or nothing while that is
    /// unknown.
    fn outcome(
        &self,
        state: &mut State,
        now: Time,
        departs: Time,
        frame: Option<u64>,
    ) -> Option<ibv::ibv_wc_status> {
        if departs > now {
            return None;
        }
        if !self.is_reliable() {
            let is_answered = self.is_answered() && frame.is_some();
            return (!is_answered).then_some(ibv::IBV_WC_SUCCESS);
        }
        if frame.is_some() && state.nudge <= now {
            state.nudge = now + NUDGES;
            self.wake_peer();
        }
        let is_late = state
            .patience
            .answer
            .is_some_and(|time| now >= departs + self.link().latency + time);
        let comes = || {
            let peer = self.peer_slot(state.peer);
            frame.is_some()
                && peer.is_some_and(|(number, _, slot)| {
                    slot.links(number, self.number) && slot.answers()
                })
        };
        (is_late && !comes()).then_some(ibv::IBV_WC_RETRY_EXC_ERR)
    }

    /// When the oldest send is to be looked at again, if it has not ended.
    pub(super) fn next_word(&self, state: &State) -> Option<Time> {
        let Stage::Sent { departs, frame } = state.sends.front()?.stage else {
            return None;
        };
        if !self.is_answered() {
            return Some(departs);
        }
        let word = state.sender.next_word(&self.own_slot().queue);
        let nudge = (self.is_reliable() && frame.is_some()).then_some(state.nudge);
        let late = || Some(departs + self.link().latency + state.patience.answer?);
        word.or(nudge).or_else(late)
    }
}

impl Send {
    /// Whether it is a read that has not brought its bytes.
    fn awaits_bytes(&self) -> bool {
        self.request.is_read() && !matches!(self.stage, Stage::Answered(_))
    }
}

/// The memory of a request: where the bytes come from, or go if it is a read.
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
