//! Queue pairs on two ends of a cable, in virtual time.

use std::{mem::MaybeUninit, time::Duration};

use rail_matrix::Link;

use super::*;
use crate::memory::Region;
use softrail::{Fabric, config, shm::Side};

const LIMITS: Limits = Limits {
    sends: 4,
    receives: 4,
    signal_all: false,
};

fn at(micros: u64) -> Time {
    Time::ZERO + Duration::from_micros(micros)
}

/// One cable of 1 GB/s and 10 us, and the devices at its ends.
struct Rig {
    _fabric: Fabric,
    _parent: tempfile::TempDir,
    devices: [Device; 2],
}

impl Rig {
    fn new(receiver_not_ready: ReceiverNotReady) -> Self {
        let mut rig = rail_matrix::Rig {
            receiver_not_ready,
            ..rail_matrix::Rig::embedded()
        };
        rig.cables.truncate(1);
        rig.cables[0].link = Link {
            bytes_per_second: 1_000_000_000,
            latency: Duration::from_micros(10),
        };
        let parent = tempfile::tempdir().expect("a temporary folder");
        let fabric = Fabric::create(parent.path(), &rig).expect("a fabric");
        let devices = ["a", "b"].map(|node| {
            let devices = config::devices(fabric.path(), node).expect("the node's devices");
            devices.into_iter().next().expect("one cable")
        });
        Rig {
            _fabric: fabric,
            _parent: parent,
            devices,
        }
    }

    fn endpoint(&self, side: Side) -> Endpoint {
        let device = self.devices[side.index()].clone();
        let cable = Arc::new(SharedCable::open(&device.cable).expect("the fabric's cable"));
        let regions = Arc::new(Regions::default());
        let pair = QueuePair::create(cable, device, Arc::clone(&regions), LIMITS);
        let mut endpoint = Endpoint {
            pair: pair.expect("a free slot"),
            regions,
            memory: Vec::new(),
        };
        endpoint.register(64 * 1024);
        endpoint
    }

    /// Two queue pairs that are ready to send to each other.
    fn connected(&self) -> [Endpoint; 2] {
        let ends = Side::BOTH.map(|side| self.endpoint(side));
        ends[0].go_ready(Peer::Number(ends[1].pair.number()));
        ends[1].go_ready(Peer::Number(ends[0].pair.number()));
        ends
    }
}

/// A queue pair and the memory it sends from and receives into.
struct Endpoint {
    pair: QueuePair,
    regions: Arc<Regions>,
    memory: Vec<u8>,
}

impl Endpoint {
    const KEY: u32 = 9;

    /// Replaces the memory.
    fn register(&mut self, bytes: u64) {
        self.memory = vec![0; bytes as usize];
        let address = self.memory.as_ptr() as u64;
        self.regions.insert(Self::KEY, Region { address, bytes });
    }

    fn go_ready(&self, peer: Peer) {
        assert!(self.pair.advance(Phase::Init));
        assert!(self.pair.connect(peer));
        assert!(self.pair.advance(Phase::ReadyToSend));
    }

    fn request(&mut self, id: u64, bytes: u64) -> WorkRequest {
        let address = self.memory.as_mut_ptr() as u64;
        let memory = Memory {
            address,
            bytes,
            key: Self::KEY,
        };
        WorkRequest {
            id,
            memory,
            signalled: true,
        }
    }

    fn send(&mut self, now: Time, id: u64, bytes: u64) {
        let request = self.request(id, bytes);
        self.pair.post_send(now, request).expect("room for a send");
    }

    fn receive(&mut self, now: Time, id: u64, bytes: u64) {
        let request = self.request(id, bytes);
        self.pair
            .post_receive(now, request)
            .expect("room for a receive");
    }

    /// Ids and statuses of what has completed by `now`.
    fn poll(&self, now: Time) -> Vec<(u64, ibv::ibv_wc_status)> {
        let mut entries = [const { MaybeUninit::uninit() }; 8];
        let mut completions = Completions::new(&mut entries);
        self.pair.poll_sends(now, &mut completions);
        self.pair.poll_receives(now, &mut completions);
        let filled = completions.filled();
        entries[..filled]
            .iter()
            .map(|entry| {
                // SAFETY: the queue pair wrote as many entries as it counted.
                let entry = unsafe { entry.assume_init_ref() };
                (entry.wr_id, entry.status)
            })
            .collect()
    }
}

const OK: ibv::ibv_wc_status = ibv::IBV_WC_SUCCESS;

#[test]
fn a_message_takes_its_bytes_and_the_latency() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected();
    a.memory[..3].copy_from_slice(&[1, 2, 3]);
    b.receive(at(0), 7, 4096);
    a.send(at(0), 5, 4000);

    assert_eq!(a.poll(at(3)), []);
    assert_eq!(a.poll(at(4)), [(5, OK)]);
    assert_eq!(b.poll(at(13)), []);
    assert_eq!(b.poll(at(14)), [(7, OK)]);
    assert_eq!(b.memory[..4], [1, 2, 3, 0]);
}

#[test]
fn a_sender_runs_ahead_until_the_queue_is_full_and_then_waits_for_the_receiver() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected();
    a.register(QUEUE_BYTES);
    a.send(at(0), 1, QUEUE_BYTES);
    a.send(at(0), 2, 64);
    assert_eq!(a.poll(at(1_000_000)), [(1, OK)]);

    b.register(QUEUE_BYTES);
    b.receive(at(2_000_000), 3, QUEUE_BYTES);
    assert_eq!(b.poll(at(2_000_000)), [(3, OK)]);
    assert_eq!(a.poll(at(2_000_009)), []);
    assert_eq!(a.poll(at(2_000_011)), [(2, OK)]);
}

#[test]
fn another_address_takes_bytes_and_delivers_none() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = Side::BOTH.map(|side| rig.endpoint(side));
    a.go_ready(Peer::Unreachable);
    b.go_ready(Peer::Number(a.pair.number()));
    b.receive(at(0), 1, 64);
    a.send(at(0), 2, 64);
    assert_eq!(a.poll(at(1_000)), [(2, OK)]);
    assert_eq!(b.poll(at(1_000)), []);
}

#[test]
fn two_queue_pairs_of_one_cable_keep_their_messages_apart() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut left, mut left_peer] = rig.connected();
    let [mut right, mut right_peer] = rig.connected();
    left.memory[0] = 1;
    right.memory[0] = 2;
    right_peer.receive(at(0), 20, 64);
    left_peer.receive(at(0), 10, 64);
    right.send(at(0), 2, 64);
    left.send(at(0), 1, 64);
    assert_eq!(left_peer.poll(at(1_000)), [(10, OK)]);
    assert_eq!(right_peer.poll(at(1_000)), [(20, OK)]);
    assert_eq!((left_peer.memory[0], right_peer.memory[0]), (1, 2));
}

#[test]
fn what_has_left_arrives_even_if_its_sender_is_gone() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected();
    b.receive(at(0), 1, 64);
    a.send(at(0), 2, 64);
    drop(a);
    assert_eq!(b.poll(at(1_000)), [(1, OK)]);
}

#[test]
fn a_late_receive_loses_the_message_where_frames_are_dropped() {
    let rig = Rig::new(ReceiverNotReady::Drop);
    let [mut a, mut b] = rig.connected();
    a.send(at(0), 1, 64);
    b.receive(at(500), 2, 64);
    assert_eq!(b.poll(at(1_000)), []);
    a.send(at(2_000), 3, 64);
    assert_eq!(b.poll(at(3_000)), [(2, OK)]);
    assert_eq!(a.poll(at(3_000)), [(1, OK), (3, OK)]);
}

#[test]
fn a_late_receive_fails_the_sender_where_frames_are_refused() {
    let rig = Rig::new(ReceiverNotReady::Error);
    let [mut a, mut b] = rig.connected();
    a.send(at(0), 1, 64);
    a.send(at(0), 2, 64);
    assert_eq!(a.poll(at(500)), [], "nobody has answered");
    assert_eq!(b.poll(at(500)), []);
    assert_eq!(
        a.poll(at(1_000)),
        [
            (1, ibv::IBV_WC_RNR_RETRY_EXC_ERR),
            (2, ibv::IBV_WC_WR_FLUSH_ERR)
        ]
    );
    b.receive(at(1_000), 3, 64);
    assert_eq!(b.poll(at(2_000)), []);
}

#[test]
fn a_message_longer_than_its_receive_is_an_error() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected();
    b.receive(at(0), 1, 63);
    b.receive(at(0), 2, 64);
    a.send(at(0), 3, 64);
    let errors = [(1, ibv::IBV_WC_LOC_LEN_ERR), (2, ibv::IBV_WC_WR_FLUSH_ERR)];
    assert_eq!(b.poll(at(1_000)), errors);
    assert!(b.memory.iter().all(|byte| *byte == 0));
}

#[test]
fn memory_outside_of_a_region_is_not_touched() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, _b] = rig.connected();
    let beyond = a.memory.len() as u64 + 1;
    a.send(at(0), 1, beyond);
    a.send(at(0), 2, 64);
    let errors = [(1, ibv::IBV_WC_LOC_PROT_ERR), (2, ibv::IBV_WC_WR_FLUSH_ERR)];
    assert_eq!(a.poll(at(1_000)), errors);
}

#[test]
fn states_and_limits_are_enforced_when_posting() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let mut end = rig.endpoint(Side::First);
    let request = end.request(1, 64);
    assert_eq!(end.pair.post_receive(at(0), request), Err(PostError::State));
    assert!(
        !end.pair.advance(Phase::ReadyToSend),
        "not before it can receive"
    );
    end.go_ready(Peer::Unreachable);
    for id in 0..LIMITS.receives as u64 {
        end.receive(at(0), id, 64);
    }
    assert_eq!(end.pair.post_receive(at(0), request), Err(PostError::Full));
    let long = end.request(2, QUEUE_BYTES + 1);
    assert_eq!(end.pair.post_send(at(0), long), Err(PostError::TooLong));
}
