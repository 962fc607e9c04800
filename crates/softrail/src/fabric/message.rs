/// Memory on the side of the queue pair that a message reaches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// The start address, in the address space in which the owner registered the region.
    pub address: u64,
    /// The region's remote key.
    pub key: u32,
}

/// What a message does at the queue pair that it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Fills the oldest posted receive.
    Send,
    /// Writes to memory there.
    Write(Remote),
    /// Reads memory there. The data comes back in the other direction.
    Read(Remote),
}

/// A message without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Number of bytes to send, write or read.
    pub bytes: u64,
    /// What the message does.
    pub operation: Operation,
    /// Immediate data for the completion of the receive that the message uses up, as laid
    /// out in memory.
    pub immediate: Option<u32>,
    /// Whether the message is solicited: it also wakes a receiver that asked to be woken
    /// for solicited messages only.
    pub solicited: bool,
    /// Whether the sender retries without limit while the receiver is not ready, whatever
    /// the cable's policy.
    pub insists: bool,
}

impl Message {
    /// A plain send.
    pub const fn send(bytes: u64) -> Self {
        Message {
            bytes,
            operation: Operation::Send,
            immediate: None,
            solicited: false,
            insists: false,
        }
    }

    /// Whether the message uses up a receive. A send does, and so does every message with
    /// immediate data.
    pub fn uses_receive(&self) -> bool {
        self.operation == Operation::Send || self.immediate.is_some()
    }

    /// Whether the message accesses memory instead of filling a receive.
    pub fn is_one_sided(&self) -> bool {
        self.operation != Operation::Send
    }

    /// The number of payload bytes that travel with the message. Protocol headers are not
    /// modelled, so a read request costs latency alone.
    pub fn carried(&self) -> u64 {
        match self.operation {
            Operation::Read(_) => 0,
            Operation::Send | Operation::Write(_) => self.bytes,
        }
    }

    pub(super) fn remote(&self) -> Remote {
        match self.operation {
            Operation::Send => Remote::default(),
            Operation::Write(remote) | Operation::Read(remote) => remote,
        }
    }

    /// Packs everything except numbers and addresses into one word.
    pub(super) fn code(&self) -> u32 {
        let operation = match self.operation {
            Operation::Send => 0,
            Operation::Write(_) => 1,
            Operation::Read(_) => 2,
        };
        operation
            | if self.immediate.is_some() {
                WITH_IMMEDIATE
            } else {
                0
            }
            | if self.solicited { SOLICITED } else { 0 }
            | if self.insists { INSISTS } else { 0 }
    }

    /// Decodes a word from [`code`](Self::code), or returns `None` for any other word.
    pub(super) fn decode(code: u32, bytes: u64, immediate: u32, remote: Remote) -> Option<Self> {
        let operation = match code & !(WITH_IMMEDIATE | SOLICITED | INSISTS) {
            0 => Operation::Send,
            1 => Operation::Write(remote),
            2 => Operation::Read(remote),
            _ => return None,
        };
        Some(Message {
            bytes,
            operation,
            immediate: (code & WITH_IMMEDIATE != 0).then_some(immediate),
            solicited: code & SOLICITED != 0,
            insists: code & INSISTS != 0,
        })
    }
}

const WITH_IMMEDIATE: u32 = 1 << 8;
const SOLICITED: u32 = 1 << 9;
const INSISTS: u32 = 1 << 10;
