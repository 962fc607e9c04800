//! One end of the cable, and the patterns of messages that are measured.

use std::path::Path;

use softrail::fabric::frames;
use softrail_provider::bindings as ibv;

use super::{
    WORD,
    client::{Client, Wanted},
};

/// Messages of a stream that may be in flight, and receives posted for it, at most.
pub const WINDOW: u64 = 16;

/// The depth of a queue, in frames: as many as RDMA over Thunderbolt has.
const DEPTH: u64 = 4095;

/// The longest message.
const LONGEST: usize = 1 << 20;

/// How many messages of `bytes` fit into the window and the queue's depth.
fn ahead(window: u64, bytes: u32) -> u64 {
    window.min(DEPTH / frames(bytes.into()))
}

/// A connected client that counts what it has posted.
pub struct Wire {
    client: Client,
    sends: u64,
    receives: u64,
}

/// The address that the other end needs to connect.
#[derive(Debug, Clone, Copy)]
pub struct Address {
    pub number: u32,
    pub gid: u128,
}

impl Wire {
    /// Opens the first device of a node.
    pub fn open(fabric: &Path, node: &str) -> Self {
        let wanted = Wanted {
            kind: ibv::IBV_QPT_UC,
            memory: LONGEST,
            requests: DEPTH as u32,
        };
        let mut client = Client::of(fabric, node, 0, wanted);
        // Memory that was never written is all one page of zeros, which is fast to read.
        client.memory.fill(1);
        Wire {
            client,
            sends: 0,
            receives: 0,
        }
    }

    pub fn address(&self) -> Address {
        #[allow(unsafe_code)]
        // SAFETY: a union of bytes and integers.
        let raw = unsafe { self.client.gid(1).raw };
        Address {
            number: self.client.number(),
            gid: u128::from_be_bytes(raw),
        }
    }

    pub fn connect(&self, peer: Address) {
        let raw = peer.gid.to_be_bytes();
        self.client.connect_to(peer.number, ibv::ibv_gid { raw });
    }

    pub fn memory(&self) -> &[u8] {
        &self.client.memory
    }

    pub fn memory_mut(&mut self) -> &mut [u8] {
        &mut self.client.memory
    }

    pub fn send(&mut self, bytes: u32) {
        let local = self.client.first(bytes);
        let errno = self.client.post_send(0, ibv::IBV_WR_SEND, local, local, 0);
        assert_eq!(errno, 0);
        self.sends += 1;
    }

    pub fn receive(&mut self, bytes: u32) {
        let errno = self.client.post_receive(0, self.client.first(bytes));
        assert_eq!(errno, 0);
        self.receives += 1;
    }

    /// Waits for a completion.
    fn step(&mut self) {
        let completion = self.client.complete();
        assert_eq!(completion.status, ibv::IBV_WC_SUCCESS);
        match completion.opcode {
            ibv::IBV_WC_RECV => self.receives -= 1,
            _ => self.sends -= 1,
        }
    }

    /// Waits for everything that was posted.
    pub fn finish(&mut self) {
        while self.sends + self.receives > 0 {
            self.step();
        }
    }

    /// Sends a message to [`echo`](Self::echo) and waits for the answer.
    pub fn ping(&mut self) {
        self.receive(WORD);
        self.send(WORD);
        self.finish();
    }

    /// Answers this many [`ping`](Self::ping)s. Calls back when it is ready.
    pub fn echo(&mut self, count: u64, ready: impl FnOnce()) {
        self.receive(WORD);
        ready();
        for left in (0..count).rev() {
            while self.receives > 0 {
                self.step();
            }
            if left > 0 {
                self.receive(WORD);
            }
            self.send(WORD);
        }
        self.finish();
    }

    /// Sends messages to [`sink`](Self::sink) as fast as possible, of which `window` may be
    /// in flight, and waits until they have all arrived.
    pub fn stream(&mut self, count: u64, bytes: u32, window: u64) {
        let ahead = ahead(window, bytes);
        self.receive(WORD);
        for _ in 0..count {
            while self.sends >= ahead {
                self.step();
            }
            self.send(bytes);
        }
        self.finish();
    }

    /// Takes messages, for `window` of which receives are posted, and answers the last.
    /// Calls back when it is ready.
    pub fn sink(&mut self, count: u64, bytes: u32, window: u64, ready: impl FnOnce()) {
        let ahead = count.min(ahead(window, bytes));
        for _ in 0..ahead {
            self.receive(bytes);
        }
        ready();
        for _ in ahead..count {
            while self.receives >= ahead {
                self.step();
            }
            self.receive(bytes);
        }
        self.finish();
        self.send(WORD);
        self.finish();
    }
}
