/// Memory of the queue pair that a message reaches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Where it begins, in the numbers that its owner registered it under.
    pub address: u64,
    /// The remote key of its region.
    pub key: u32,
}

/// What a message does at the queue pair that it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Fills the oldest posted receive.
    Send,
    /// Fills memory there.
    Write(Remote),
    /// Fetches memory from there; what comes back takes the other direction.
    Read(Remote),
}

/// A message, but for its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// How many bytes are sent, written or read.
    pub bytes: u64,
    /// What for.
    pub operation: Operation,
    /// Four bytes for the completion of the receive that it uses up, as they are
    /// in memory.
    pub immediate: Option<u32>,
    /// Whether it wakes a receiver that asked to be woken for some messages only.
    pub solicited: bool,
    /// Whether the sender tries for ever when the receiver is not ready, whatever
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

    /// Whether it uses up a receive: a send does, and so does whatever brings
    /// immediate data.
    pub fn uses_receive(&self) -> bool {
        self.operation == Operation::Send || self.immediate.is_some()
    }

    /// Whether it is for memory and not for a receive.
    pub fn is_one_sided(&self) -> bool {
        self.operation != Operation::Send
    }

    /// The bytes that travel with it. The headers of the field's protocols are not
    /// modelled, so asking for memory costs the latency alone.
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

    /// Everything but numbers and addresses, in one word.
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

    /// Reads what [`code`](Self::code) wrote; nothing when it wrote no such word.
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
