//! From the cable into the application's memory.

use std::{
    sync::atomic::{Ordering, fence},
    time::Duration,
};

use super::{Phase, QueuePair, Receive, State};
use crate::{
    bindings as ibv,
    completions::Completion,
    explain,
    memory::{Memory, Span},
    work::ReceiveRequest,
};
use softrail::{
    fabric::{Decision, Fate, Incoming, Load, Operation, Queue, Remote, Tally, Time, decide},
    shm::Slot,
};

/// The sender of a message.
#[derive(Clone, Copy)]
struct Origin<'a> {
    slot: &'a Slot,
    index: usize,
}

impl QueuePair {
    /// The next completion of a receive by `now`. Messages for memory are served on the
    /// way.
    ///
    /// A sender may reset its queue pair while its message is taken here. The message is
    /// gone then, and nothing is reported: what was copied may be bytes of the sender's
    /// next connection. The receive stays posted. A write may have changed memory, as one
    /// that was interrupted on a real cable may.
    pub(super) fn next_receive(&self, state: &mut State, now: Time) -> Option<Completion> {
        loop {
            match state.phase {
                Phase::Reset | Phase::Init => return None,
                Phase::Error => {
                    let request = self.next_request(state)?;
                    let (at, flushed) = (state.flushed(now), ibv::IBV_WC_WR_FLUSH_ERR);
                    return Some(self.completion(at, request.id, flushed, ibv::IBV_WC_RECV, 0));
                }
                Phase::ReadyToReceive | Phase::ReadyToSend => {}
            }
            let (index, slot) = self.partner(state.peer)?;
            let origin = Origin { slot, index };
            let frame = self.head(origin, now)?;
            // Again, because the sender may have connected to another queue pair since.
            // Its message at the head would be meant for that one.
            self.partner(state.peer)?;
            let posted = state.receives.front().map(|receive| receive.posted);
            let policy = self.device().rules.receiver_not_ready;
            let at = match decide(policy, self.is_reliable(), now, &frame, posted) {
                Decision::Pending => return None,
                Decision::Drop => {
                    self.lose_frame(state, origin, &frame, Fate::Taken)?;
                    continue;
                }
                Decision::Refuse => {
                    self.lose_frame(state, origin, &frame, Fate::NotReady)?;
                    continue;
                }
                Decision::Deliver(at) => at,
            };
            let fate = match frame.message.operation {
                Operation::Send => return self.deliver(state, origin, &frame, at),
                Operation::Read(remote) => {
                    if self.read(state, origin, &frame, remote, now)? {
                        continue;
                    }
                    Fate::AccessDenied
                }
                Operation::Write(remote) if self.write(state, origin, &frame, remote) => {
                    Fate::Taken
                }
                Operation::Write(_) => Fate::AccessDenied,
            };
            if fate == Fate::AccessDenied {
                self.deny(state, origin, &frame, at)?;
                continue;
            }
            self.settle(state, origin, &frame, at, fate)?;
            if frame.message.immediate.is_some() {
                let request = self.next_request(state)?;
                let opcode = ibv::IBV_WC_RECV_RDMA_WITH_IMM;
                return Some(self.received(at, request.id, &frame, opcode));
            }
        }
    }

    /// When the message at the head is next due, if that is known. The time may have
    /// passed: another process may have placed the message since the last look.
    pub(super) fn next_arrival(&self, state: &State) -> Option<Time> {
        if !matches!(state.phase, Phase::ReadyToReceive | Phase::ReadyToSend) {
            return None;
        }
        let (_, slot) = self.partner(state.peer)?;
        let queue = &slot.outlet.queue;
        let start = match queue.depth() {
            0 => return None,
            _ => self.peer_end().next_start(),
        };
        // Read after the next start, because the message may be placed meanwhile.
        match queue.head() {
            // The thread that posts a receive has the message looked at.
            Some(Incoming { message, .. })
                if message.uses_receive() && state.receives.is_empty() =>
            {
                None
            }
            Some(Incoming { arrives, .. }) => Some(arrives),
            None => start,
        }
    }

    /// The message at the head, if its times are settled. The sender settles them when it
    /// looks, but the sender need not look, so the receiver does it here.
    fn head(&self, origin: Origin<'_>, now: Time) -> Option<Incoming> {
        let queue = &origin.slot.outlet.queue;
        queue.head().or_else(|| {
            self.peer_end().look(now);
            queue.head()
        })
    }

    /// Fills the oldest receive. There must be one.
    fn deliver(
        &self,
        state: &mut State,
        origin: Origin<'_>,
        frame: &Incoming,
        at: Time,
    ) -> Option<Completion> {
        let posted = state.receives.front()?.posted;
        let request = self.next_request(state)?;
        let regions = self.parts.regions.hold();
        let target = regions.find_all(request.scatter.as_slice(), ibv::IBV_ACCESS_LOCAL_WRITE);
        let (status, fate) = match target {
            None => (ibv::IBV_WC_LOC_PROT_ERR, Fate::Failed),
            Some(_) if frame.message.bytes > request.scatter.bytes() => {
                (ibv::IBV_WC_LOC_LEN_ERR, Fate::TooLong)
            }
            Some(_) if !self.has_equal_frames(&request, frame) => {
                (ibv::IBV_WC_LOC_LEN_ERR, Fate::TooLong)
            }
            Some(target) => {
                self.load(origin, frame.offset, frame.message.bytes, target.as_slice());
                (ibv::IBV_WC_SUCCESS, Fate::Taken)
            }
        };
        drop(regions);
        // An unreliable sender is not notified of a failure.
        let fate = if self.is_reliable() {
            fate
        } else {
            Fate::Taken
        };
        if self.settle(state, origin, frame, at, fate).is_none() {
            state.receive_depth += self.offer().depth_of(request.scatter.bytes());
            state.receives.push_front(Receive { request, posted });
            return None;
        }
        if self.offer().has_credits {
            self.own_credits().spend();
        }
        if status != ibv::IBV_WC_SUCCESS {
            if self.offer().has_credits && status == ibv::IBV_WC_LOC_LEN_ERR {
                explain(
                    "a receive has another number of 4 KiB frames than the message for it, \
                     which fails over Thunderbolt",
                );
            }
            // What has left by then is not flushed, however late this is looked at.
            self.end_sends(state, at);
            self.fail(state);
            let bytes = frame.message.bytes;
            return Some(self.completion(at, request.id, status, ibv::IBV_WC_RECV, bytes));
        }
        Some(self.received(at, request.id, frame, ibv::IBV_WC_RECV))
    }

    /// Whether a receive has as many frames as the message for it, where it must.
    fn has_equal_frames(&self, request: &ReceiveRequest, frame: &Incoming) -> bool {
        let offer = self.offer();
        offer.depth_of(frame.message.bytes) == offer.depth_of(request.scatter.bytes())
    }

    /// Takes the oldest receive.
    fn next_request(&self, state: &mut State) -> Option<ReceiveRequest> {
        let Receive { request, .. } = state.receives.pop_front()?;
        state.receive_depth -= self.offer().depth_of(request.scatter.bytes());
        Some(request)
    }

    /// Writes a message to the memory that it names; `false` if that is not permitted.
    fn write(&self, state: &State, origin: Origin<'_>, frame: &Incoming, remote: Remote) -> bool {
        let regions = self.parts.regions.hold();
        let memory = named(remote, frame);
        let access = ibv::IBV_ACCESS_REMOTE_WRITE;
        let target = regions.find(&memory, access);
        let Some(target) = target.filter(|_| state.access & access != 0) else {
            return false;
        };
        // A client may spin on the last byte, as it can with real devices.
        if let Some(before) = target.bytes.checked_sub(1) {
            let last = Span {
                host: target.host + before,
                bytes: 1,
            };
            self.load(origin, frame.offset, before, &[target]);
            fence(Ordering::Release);
            self.load(origin, frame.offset + before, 1, &[last]);
        }
        true
    }

    /// Answers a read with the memory that it names; `false` if that is not permitted.
    /// `None` as for [`settle`](Self::settle).
    fn read(
        &self,
        state: &mut State,
        origin: Origin<'_>,
        frame: &Incoming,
        remote: Remote,
        now: Time,
    ) -> Option<bool> {
        let regions = self.parts.regions.hold();
        let memory = named(remote, frame);
        let access = ibv::IBV_ACCESS_REMOTE_READ;
        let source = regions.find(&memory, access);
        let Some(source) = source.filter(|_| state.access & access != 0) else {
            return Some(false);
        };
        let side = self.device().side.opposite();
        // The bytes go where the next connection of the sender has its own.
        let answered = self.peer_end().while_kept(|| {
            let head = origin.slot.outlet.queue.head()?;
            if head.number != frame.number {
                return None;
            }
            // SAFETY: the memory is inside a region that the application registered and
            // that is held; the message is a read at the head that this end answers, and
            // its sender does not take the room back meanwhile.
            unsafe {
                let host = source.host as *const u8;
                let cable = &self.parts.cable;
                cable.store(side, origin.index, frame.offset, host, source.bytes);
            }
            let answer = self.own_slot().outlet.answers.offer(Load {
                bytes: source.bytes,
                ready: frame.arrives,
                delay: Duration::ZERO,
            });
            self.remove(state, origin, |queue| queue.answer(frame.number, answer))
        });
        answered.flatten()?;
        self.own_end().advance(now, Some(self.slot));
        Some(true)
    }

    /// Refuses a message access to the memory that it names. A reliable connection then
    /// fails; an unreliable one goes on. `None` as for [`settle`](Self::settle).
    fn deny(
        &self,
        state: &mut State,
        origin: Origin<'_>,
        frame: &Incoming,
        at: Time,
    ) -> Option<()> {
        if self.is_reliable() {
            self.settle(state, origin, frame, at, Fate::AccessDenied)?;
            self.fail(state);
            self.report(ibv::IBV_EVENT_QP_ACCESS_ERR);
        } else {
            self.settle(state, origin, frame, at, Fate::Taken)?;
        }
        Some(())
    }

    /// Removes a message that finds no receive. `None` as for [`settle`](Self::settle).
    fn lose_frame(
        &self,
        state: &mut State,
        origin: Origin<'_>,
        frame: &Incoming,
        fate: Fate,
    ) -> Option<()> {
        self.settle(state, origin, frame, frame.arrives, fate)?;
        self.tally().count_loss();
        Some(())
    }

    /// Removes a message, whose fate was decided at `at`. `None` if its sender has reset
    /// its queue pair meanwhile.
    fn settle(
        &self,
        state: &mut State,
        origin: Origin<'_>,
        frame: &Incoming,
        at: Time,
        fate: Fate,
    ) -> Option<()> {
        // Over Thunderbolt a send waits for its credit alone: that it needs room in the
        // emulator's memory takes no time.
        let heard = match self.offer().has_credits {
            true => Time::ZERO,
            false => at + self.link().latency,
        };
        self.remove(state, origin, |queue| {
            queue.settle(frame.number, heard, fate)
        })?;
        if at > frame.arrives {
            self.tally().count_wait();
        }
        Some(())
    }

    fn remove(
        &self,
        state: &mut State,
        origin: Origin<'_>,
        remove: impl FnOnce(&Queue) -> bool,
    ) -> Option<()> {
        let queue = &origin.slot.outlet.queue;
        let depth = queue.depth();
        if !remove(queue) {
            return None;
        }
        self.tally().note_depth(depth);
        state.worked = true;
        if origin.slot.wants_bell() {
            self.wake_peer();
        }
        Some(())
    }

    /// The tally that counts incoming messages.
    fn tally(&self) -> &Tally {
        &self.peer_end().tally
    }

    /// Copies `bytes` of a message, from `offset` in its sender's ring, into `target`.
    fn load(&self, origin: Origin<'_>, mut offset: u64, mut bytes: u64, target: &[Span]) {
        for span in target {
            let part = span.bytes.min(bytes);
            // SAFETY: the memory is inside a region that the application registered
            // for writing and that is held; the message is at the head and not
            // settled.
            unsafe {
                self.parts.cable.load(
                    self.device().side.opposite(),
                    origin.index,
                    offset,
                    span.host as *mut u8,
                    part,
                );
            }
            offset += part;
            bytes -= part;
        }
    }

    /// The completion of a receive that a message has used up at `at`.
    fn received(
        &self,
        at: Time,
        id: u64,
        frame: &Incoming,
        opcode: ibv::ibv_wc_opcode,
    ) -> Completion {
        let message = &frame.message;
        let status = ibv::IBV_WC_SUCCESS;
        let mut completion = self.completion(at, id, status, opcode, message.bytes);
        completion.is_solicited = message.solicited;
        if let Some(immediate) = message.immediate {
            completion.entry.wc_flags = ibv::IBV_WC_WITH_IMM;
            completion.entry.__bindgen_anon_1.imm_data = immediate;
        }
        completion
    }
}

/// The memory that a message names.
fn named(remote: Remote, frame: &Incoming) -> Memory {
    Memory {
        address: remote.address,
        bytes: frame.message.bytes,
        key: remote.key,
    }
}
