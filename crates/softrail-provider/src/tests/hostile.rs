//! A client whose shared memory holds arbitrary values. No call may panic, access memory
//! outside the client's own or run without end. The results of the calls are not checked.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
};

use super::*;
use softrail::{counters, fabric::QUEUE_BYTES, shm::SharedCable};

/// The number of cables that are tried; they are the same in every run.
const CASES: u64 = 150;

/// How often the memory of each is overwritten.
const ROUNDS: u64 = 4;

/// Longer than any cable takes.
const LIMIT: Duration = Duration::from_secs(30);

/// Random numbers (splitmix64, of Steele, Lea and Flood).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A word: a plausible one, one at a limit of the plausible range, or an arbitrary
    /// one.
    fn word(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => self.below(130),
            2 => self.below(2 * QUEUE_BYTES),
            3 => QUEUE_BYTES + self.below(3) - 1,
            4 => u64::MAX - self.below(3),
            5 => 1 << self.below(64),
            // Two halves that are both small.
            6 => self.below(4) << 32 | self.below(4),
            _ => self.next(),
        }
    }

    /// Overwrites one word in `rarity`, from the beginning of a cable's file to its first
    /// payload.
    fn scribble(&mut self, cable: &File, rarity: u64) {
        let mut words = vec![0; SharedCable::STATE_BYTES];
        cable.read_exact_at(&mut words, 0).expect("as long");
        for word in words.chunks_exact_mut(8) {
            if self.below(rarity) == 0 {
                word.copy_from_slice(&self.word().to_ne_bytes());
            }
        }
        cable.write_all_at(&words, 0).expect("written");
    }
}

/// A call that a client may make.
fn act(random: &mut Random, client: &Client, peer: &Client) {
    let opcodes = [
        ibv::IBV_WR_SEND,
        ibv::IBV_WR_SEND_WITH_IMM,
        ibv::IBV_WR_RDMA_WRITE,
        ibv::IBV_WR_RDMA_WRITE_WITH_IMM,
        ibv::IBV_WR_RDMA_READ,
    ];
    let bytes = random.below(client.memory.len() as u64 + 1) as u32;
    match random.below(4) {
        0 => _ = client.post_receive(1, client.first(bytes)),
        1 => {
            let opcode = opcodes[random.below(5) as usize];
            client.post_send(2, opcode, client.first(bytes), peer.entry(), 0);
        }
        2 => arm(client, 0),
        _ => _ = client.poll(),
    }
}

/// One cable, with a client at each end.
fn case(seed: u64) {
    let mut random = Random(seed);
    let (kind, rig) = match seed % 3 {
        0 => (ibv::IBV_QPT_UC, rdma()),
        1 => (ibv::IBV_QPT_RC, rdma()),
        _ => (ibv::IBV_QPT_UC, Rig::embedded()),
    };
    let (_parent, fabric) = fabric_of(&rig);
    let clients = connected_by(&fabric, kind);
    let cable = open(&fabric.path().join("cable.0"));
    for _ in 0..ROUNDS {
        let rarity = [2, 16, 128, 1024][random.below(4) as usize];
        let mut others = Random(random.next());
        thread::scope(|scope| {
            scope.spawn(|| others.scribble(&cable, rarity));
            for _ in 0..40 {
                let (index, other) = [(0, 1), (1, 0)][random.below(2) as usize];
                act(&mut random, &clients[index], &clients[other]);
            }
        });
    }
    fabric.cable_bytes();
    counters::markdown(
        &Live::attach(fabric.path()).map_or(vec![], |live| live.counters()),
        None,
    );
    // A slot for another queue pair is searched for among the overwritten ones.
    let [a, _] = &clients;
    // SAFETY: live objects, and a queue pair that is destroyed.
    unsafe {
        let another = ibv_create_qp(a.domain, &mut description(a.queue, WANTED));
        if !another.is_null() {
            assert_eq!(ibv_destroy_qp(another), 0);
        }
    }
}

fn open(cable: &Path) -> File {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(cable);
    file.expect("the fabric's cable")
}

#[test]
fn any_bytes_in_shared_memory_are_survived() {
    let (sender, begun) = mpsc::channel();
    let cases = thread::spawn(move || {
        for seed in 0..CASES {
            sender.send(seed).expect("somebody listens");
            case(seed);
        }
    });
    let mut last = None;
    loop {
        match begun.recv_timeout(LIMIT) {
            Ok(seed) => last = Some(seed),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("case {last:?} does not end"),
        }
    }
    assert!(cases.join().is_ok(), "case {last:?}");
}
