//! A queue pair: work requests in, completions out.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex},
};

use rail_matrix::{DeviceFault, ReceiverNotReady};

use super::{
    bindings as ibv,
    completions::Completions,
    lock,
    memory::{Memory, Regions},
};
use softrail::{
    config::Device,
    fabric::{Decision, Fate, QUEUE_BYTES, Sender, Time, decide},
    shm::{SharedCable, Slot, slot_of},
};

/// A send or receive that the application asked for.
#[derive(Debug, Clone, Copy)]
pub struct WorkRequest {
    pub id: u64,
    pub memory: Memory,
    /// Whether success is worth a completion. Failure always is.
    pub signalled: bool,
}

/// What the application chose when it created the queue pair.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub sends: usize,
    pub receives: usize,
    pub signal_all: bool,
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

#[derive(Debug)]
pub struct QueuePair {
    number: u32,
    slot: usize,
    cable: Arc<SharedCable>,
    device: Device,
    regions: Arc<Regions>,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    peer: Option<Peer>,
    sender: Sender,
    sends: VecDeque<Send>,
    receives: VecDeque<Receive>,
}

#[derive(Debug)]
struct Send {
    request: WorkRequest,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// With us, for want of room on the queue.
    Queued { posted: Time },
    /// On the cable; `frame` is its number there when anyone is to receive it.
    Sent { departs: Time, frame: Option<u64> },
    /// Never sent. Fails with this status when its turn comes, and until then
    /// holds up what was posted after it.
    Failed(ibv::ibv_wc_status),
}

#[derive(Debug)]
struct Receive {
    request: WorkRequest,
    posted: Time,
}

impl QueuePair {
    /// A new queue pair, or nothing when the device has no more.
    pub fn create(
        cable: Arc<SharedCable>,
        device: Device,
        regions: Arc<Regions>,
        limits: Limits,
    ) -> Option<Self> {
        let (slot, number) = cable.claim(device.side)?;
        let state = State {
            phase: Phase::Reset,
            peer: None,
            sender: Sender::default(),
            sends: VecDeque::new(),
            receives: VecDeque::new(),
        };
        Some(QueuePair {
            number,
            slot,
            cable,
            device,
            regions,
            limits,
            state: Mutex::new(state),
        })
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// The device that it is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Moves to another state; false when the specification has no such step.
    pub fn advance(&self, next: Phase) -> bool {
        let mut state = lock(&self.state);
        let legal = match next {
            Phase::Reset | Phase::Error => true,
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
        if next == Phase::Reset {
            state.sends.clear();
            state.receives.clear();
        }
        legal
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
        }
        true
    }

    /// Takes a send, and puts it on the cable if there is room.
    pub fn post_send(&self, now: Time, request: WorkRequest) -> Result<(), PostError> {
        if self.device.is(DeviceFault::Refusing) {
            return Err(PostError::Refused);
        }
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::ReadyToSend | Phase::Error) {
            return Err(PostError::State);
        }
        if request.memory.bytes > QUEUE_BYTES {
            return Err(PostError::TooLong);
        }
        if state.sends.len() >= self.limits.sends {
            return Err(PostError::Full);
        }
        let signalled = request.signalled || self.limits.signal_all;
        let request = WorkRequest {
            signalled,
            ..request
        };
        state.sends.push_back(Send {
            request,
            stage: Stage::Queued { posted: now },
        });
        self.transmit(&mut state, now);
        Ok(())
    }

    /// Takes a receive.
    pub fn post_receive(&self, now: Time, request: WorkRequest) -> Result<(), PostError> {
        if self.device.is(DeviceFault::Refusing) {
            return Err(PostError::Refused);
        }
        let mut state = lock(&self.state);
        if state.phase == Phase::Reset {
            return Err(PostError::State);
        }
        if state.receives.len() >= self.limits.receives {
            return Err(PostError::Full);
        }
        state.receives.push_back(Receive {
            request,
            posted: now,
        });
        Ok(())
    }

    /// Ends the sends that have ended by `now`, oldest first, as long as
    /// `completions` has capacity for another.
    pub fn poll_sends(&self, now: Time, completions: &mut Completions<'_>) {
        let mut state = lock(&self.state);
        self.transmit(&mut state, now);
        while !completions.is_full() {
            let failed = state.phase == Phase::Error;
            let Some(send) = state.sends.front() else {
                return;
            };
            let status = match send.stage {
                _ if failed => ibv::IBV_WC_WR_FLUSH_ERR,
                Stage::Failed(status) => status,
                Stage::Sent { departs, frame } if departs <= now => {
                    match self.verdict(&mut state.sender, now, frame) {
                        Some(status) => status,
                        None => return,
                    }
                }
                Stage::Queued { .. } | Stage::Sent { .. } => return,
            };
            let Some(Send { request, .. }) = state.sends.pop_front() else {
                return;
            };
            if status != ibv::IBV_WC_SUCCESS {
                state.phase = Phase::Error;
            }
            if request.signalled || status != ibv::IBV_WC_SUCCESS {
                let bytes = request.memory.bytes as u32;
                completions.push(self.completion(request.id, status, ibv::IBV_WC_SEND, bytes));
            }
        }
    }

    /// Ends the receives whose frames are there by `now`, oldest first, as long
    /// as `completions` has capacity for another.
    pub fn poll_receives(&self, now: Time, completions: &mut Completions<'_>) {
        let mut state = lock(&self.state);
        while !completions.is_full() {
            let (status, bytes) = match state.phase {
                Phase::Reset | Phase::Init => return,
                Phase::Error => (ibv::IBV_WC_WR_FLUSH_ERR, 0),
                Phase::ReadyToReceive | Phase::ReadyToSend => match self.receive(&state, now) {
                    Some(received) => received,
                    None => return,
                },
            };
            let Some(Receive { request, .. }) = state.receives.pop_front() else {
                return;
            };
            if status != ibv::IBV_WC_SUCCESS {
                state.phase = Phase::Error;
            }
            completions.push(self.completion(request.id, status, ibv::IBV_WC_RECV, bytes));
        }
    }

    /// Moves queued sends onto the cable while it has room for them.
    fn transmit(&self, state: &mut State, now: Time) {
        if state.phase != Phase::ReadyToSend {
            return;
        }
        let direction = &self.cable.end(self.device.side).direction;
        for send in &mut state.sends {
            let posted = match send.stage {
                Stage::Sent { .. } => continue,
                Stage::Failed(_) => return,
                Stage::Queued { posted } => posted,
            };
            let memory = &send.request.memory;
            if !self.regions.covers(memory) {
                send.stage = Stage::Failed(ibv::IBV_WC_LOC_PROT_ERR);
                return;
            }
            if self.device.is(DeviceFault::Failing) {
                send.stage = Stage::Failed(ibv::IBV_WC_RETRY_EXC_ERR);
                return;
            }
            send.stage = match state.peer {
                Some(Peer::Number(_)) if !self.device.cut => {
                    let queue = &self.own_slot().queue;
                    let link = &self.device.link;
                    let Some(reservation) =
                        state
                            .sender
                            .reserve(queue, direction, link, now, posted, memory.bytes)
                    else {
                        return;
                    };
                    // SAFETY: the memory is inside a region that the application
                    // registered, hence promised to keep; the range was just
                    // reserved on the queue of a slot that is ours.
                    unsafe {
                        self.cable.store(
                            self.device.side,
                            self.slot,
                            reservation.offset,
                            memory.address as *const u8,
                            memory.bytes,
                        );
                    }
                    let departs = reservation.transit.departs;
                    let frame = Some(reservation.frame());
                    state.sender.publish(queue, reservation);
                    Stage::Sent { departs, frame }
                }
                _ => {
                    let transit = direction.transmit(&self.device.link, posted, memory.bytes);
                    Stage::Sent {
                        departs: transit.departs,
                        frame: None,
                    }
                }
            };
        }
    }

    /// How a send that has left ends, or nothing while that is unknown.
    fn verdict(
        &self,
        sender: &mut Sender,
        now: Time,
        frame: Option<u64>,
    ) -> Option<ibv::ibv_wc_status> {
        match (self.device.receiver_not_ready, frame) {
            (ReceiverNotReady::Error, Some(frame)) => {
                if !sender.is_settled(&self.own_slot().queue, now, frame) {
                    return None;
                }
                Some(if sender.take_refusal() {
                    ibv::IBV_WC_RNR_RETRY_EXC_ERR
                } else {
                    ibv::IBV_WC_SUCCESS
                })
            }
            _ => Some(ibv::IBV_WC_SUCCESS),
        }
    }

    /// Fetches the next frame into the oldest receive. Gives that receive's
    /// status and length, or nothing while there is no frame for it.
    fn receive(&self, state: &State, now: Time) -> Option<(ibv::ibv_wc_status, u32)> {
        let Some(Peer::Number(number)) = state.peer else {
            return None;
        };
        let side = self.device.side.opposite();
        let index = slot_of(number);
        let slot = self
            .cable
            .slot(side, index)
            .filter(|slot| slot.links(number, self.number))?;
        let link = &self.device.link;
        let receive = state.receives.front();
        loop {
            let frame = slot.queue.head()?;
            let posted = receive.map(|receive| receive.posted);
            match decide(self.device.receiver_not_ready, now, frame.arrives, posted) {
                Decision::Pending => return None,
                Decision::Drop => slot.queue.settle(link, frame.arrives, Fate::Taken),
                Decision::Refuse => slot.queue.settle(link, frame.arrives, Fate::Refused),
                Decision::Deliver(at) => {
                    let memory = &receive?.request.memory;
                    let status = if !self.regions.covers(memory) {
                        ibv::IBV_WC_LOC_PROT_ERR
                    } else if frame.bytes > memory.bytes {
                        ibv::IBV_WC_LOC_LEN_ERR
                    } else {
                        let target = memory.address as *mut u8;
                        // SAFETY: the memory is inside a region that the
                        // application registered for us to write, and long
                        // enough; the frame is at the head and not settled.
                        unsafe {
                            self.cable
                                .load(side, index, frame.offset, target, frame.bytes);
                        }
                        ibv::IBV_WC_SUCCESS
                    };
                    slot.queue.settle(link, at, Fate::Taken);
                    return Some((status, frame.bytes as u32));
                }
            }
        }
    }

    fn completion(
        &self,
        id: u64,
        status: ibv::ibv_wc_status,
        opcode: ibv::ibv_wc_opcode,
        bytes: u32,
    ) -> ibv::ibv_wc {
        // SAFETY: integers and a union of integers, for which zero is valid.
        let zero: ibv::ibv_wc = unsafe { mem::zeroed() };
        ibv::ibv_wc {
            wr_id: id,
            status,
            opcode,
            byte_len: bytes,
            qp_num: self.number,
            ..zero
        }
    }

    fn own_slot(&self) -> &Slot {
        self.cable
            .slot(self.device.side, self.slot)
            .expect("claimed at creation")
    }
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        self.cable.release(self.device.side, self.slot);
    }
}

#[cfg(test)]
mod tests;
