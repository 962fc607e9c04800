//! The work requests that applications post to queue pairs.

use std::slice;

use super::{bindings as ibv, memory::Memory};
use softrail::fabric::Operation;

/// A send, write or read that the application posted.
#[derive(Debug)]
pub struct SendRequest {
    pub id: u64,
    pub payload: Payload,
    pub operation: Operation,
    pub immediate: Option<u32>,
    /// Whether success produces a completion. Failure always does.
    pub signalled: bool,
    /// Whether the message wakes a receiver that waits for solicited messages only.
    pub solicited: bool,
    /// Whether it starts only after the data of all earlier reads has arrived.
    pub fenced: bool,
}

impl SendRequest {
    /// The work request id for its completion.
    pub fn opcode(&self) -> ibv::ibv_wc_opcode {
        match self.operation {
            Operation::Send => ibv::IBV_WC_SEND,
            Operation::Write(_) => ibv::IBV_WC_RDMA_WRITE,
            Operation::Read(_) => ibv::IBV_WC_RDMA_READ,
        }
    }

    /// Whether it is a send without immediate data.
    pub fn is_plain_send(&self) -> bool {
        self.operation == Operation::Send && self.immediate.is_none()
    }

    pub fn is_read(&self) -> bool {
        matches!(self.operation, Operation::Read(_))
    }
}

/// A receive that the application posted.
#[derive(Debug)]
pub struct ReceiveRequest {
    pub id: u64,
    pub scatter: Pieces,
}

/// The source of a message's bytes, or the target of a read's.
#[derive(Debug)]
pub enum Payload {
    /// The application's memory.
    Pieces(Pieces),
    /// A copy, made when the request was posted.
    Inline(Box<[u8]>),
}

impl Payload {
    pub fn bytes(&self) -> u64 {
        match self {
            Payload::Pieces(pieces) => pieces.bytes(),
            Payload::Inline(bytes) => bytes.len() as u64,
        }
    }
}

/// A scatter-gather list. Nearly always one entry.
#[derive(Debug)]
pub enum Pieces {
    One(Memory),
    Many(Box<[Memory]>),
}

impl Pieces {
    pub fn new(entries: &[ibv::ibv_sge]) -> Self {
        match entries {
            [entry] => Pieces::One(entry.into()),
            entries => Pieces::Many(entries.iter().map(Memory::from).collect()),
        }
    }

    pub fn as_slice(&self) -> &[Memory] {
        match self {
            Pieces::One(memory) => slice::from_ref(memory),
            Pieces::Many(memories) => memories,
        }
    }

    pub fn bytes(&self) -> u64 {
        self.as_slice().iter().map(|memory| memory.bytes).sum()
    }
}
