//! Queue pairs on two ends of a cable, in virtual time.

use std::mem::MaybeUninit;

use rig::Rules;

use super::*;
use crate::{
    memory::Memory,
    simulation::{Endpoint, Rig, connect},
    work::{Payload, Pieces},
};
use softrail::{
    Broken,
    fabric::{Operation, Remote},
    shm::Side,
};

mod thunderbolt;

const OK: ibv::ibv_wc_status = ibv::IBV_WC_SUCCESS;

/// So many microseconds after the beginning.
fn at(micros: u64) -> Time {
    Time::ZERO + Duration::from_micros(micros)
}

impl Rig {
    /// One cable of 1 GB/s and 10 us.
    fn new(receiver_not_ready: ReceiverNotReady) -> Self {
        let rules = Rules {
            receiver_not_ready,
            ..Rules::rdma()
        };
        let link = Link {
            bytes_per_second: 1_000_000_000,
            latency: Duration::from_micros(10),
        };
        Self::of(rules, link, 1)
    }

    fn endpoint(&self, side: Side) -> Endpoint {
        self.endpoint_of(side, Transport::Unreliable)
    }

    fn endpoint_of(&self, side: Side, transport: Transport) -> Endpoint {
        self.endpoint_on(0, side, transport, Endpoint::LIMITS)
    }

    /// One that reports to a completion queue which may have others.
    fn endpoint_with(
        &self,
        side: Side,
        transport: Transport,
        async_events: Arc<AsyncEvents>,
        completions: Arc<Completions>,
    ) -> Endpoint {
        let device = self.devices[0][side.index()].clone();
        Endpoint::new(
            device,
            transport,
            Endpoint::LIMITS,
            async_events,
            completions,
        )
    }

    /// Two queue pairs that are ready to send to each other.
    fn connected(&self) -> [Endpoint; 2] {
        self.connected_by(Transport::Unreliable)
    }

    fn connected_by(&self, transport: Transport) -> [Endpoint; 2] {
        let ends = Side::BOTH.map(|side| self.endpoint_of(side, transport));
        connect(&ends);
        ends
    }
}

impl Endpoint {
    const LIMITS: Limits = Limits {
        sends: 4,
        receives: 4,
        signal_all: false,
    };

    fn send(&mut self, now: Time, id: u64, bytes: u64) {
        let request = self.request(id, bytes);
        self.post(now, request);
    }

    /// A request that moves `bytes` between the beginnings of both memories.
    fn one_sided(&mut self, now: Time, id: u64, bytes: u64, operation: Operation) {
        let request = self.request(id, bytes);
        self.post(
            now,
            SendRequest {
                operation,
                ..request
            },
        );
    }

    /// The next asynchronous event, which must have happened.
    fn told(&self) -> (ibv::ibv_event_type, Arc<Subject>) {
        assert!(crate::tests::is_readable(self.async_events.fd(), 0));
        self.async_events.next().expect("no signal")
    }

    /// Ids and statuses of what has completed by `now`.
    fn poll(&self, now: Time) -> Vec<(u64, ibv::ibv_wc_status)> {
        let completions = self.completions(now);
        completions.iter().map(|wc| (wc.wr_id, wc.status)).collect()
    }

    fn completions(&self, now: Time) -> Vec<ibv::ibv_wc> {
        self.pair.serve(now);
        let mut entries = [const { MaybeUninit::uninit() }; 8];
        let count = self.completions.pop(&mut entries);
        entries[..count]
            .iter()
            // SAFETY: the queue wrote as many entries as it counted.
            .map(|entry| unsafe { entry.assume_init() })
            .collect()
    }
}

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
    let request = end.receive_request(1, 64);
    assert_eq!(end.pair.post_receive(at(0), request), Err(PostError::State));
    assert!(
        !end.pair.advance(Phase::ReadyToSend),
        "not before it can receive"
    );
    end.go_ready(Peer::Unreachable);
    for id in 0..Endpoint::LIMITS.receives as u64 {
        end.receive(at(0), id, 64);
    }
    let request = end.receive_request(1, 64);
    assert_eq!(end.pair.post_receive(at(0), request), Err(PostError::Full));
    let long = end.request(2, QUEUE_BYTES + 1);
    assert_eq!(end.pair.post_send(at(0), long), Err(PostError::TooLong));
}

/// So a completion queue that has room for all requests of its queue pairs never
/// overruns.
#[test]
fn a_request_takes_room_until_its_completion_is_polled() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected();
    for id in 0..Endpoint::LIMITS.sends as u64 {
        b.receive(at(0), id, 64);
        a.send(at(0), id, 64);
    }
    a.pair.serve(at(100));
    b.pair.serve(at(100));
    let (send, receive) = (a.request(9, 64), b.receive_request(9, 64));
    assert_eq!(a.pair.post_send(at(100), send), Err(PostError::Full));
    assert_eq!(b.pair.post_receive(at(100), receive), Err(PostError::Full));
    assert_eq!((a.poll(at(100)).len(), b.poll(at(100)).len()), (4, 4));
    b.receive(at(100), 9, 64);
    a.send(at(100), 9, 64);
}

#[test]
fn a_reliable_send_ends_when_the_other_end_has_answered() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected_by(Transport::Reliable);
    a.send(at(0), 1, 4000);
    assert_eq!(a.poll(at(100)), [], "it waits for a receive");
    b.receive(at(100), 2, 4096);
    assert_eq!(b.poll(at(100)), [(2, OK)]);
    assert_eq!(a.poll(at(109)), [], "the answer is on its way");
    assert_eq!(a.poll(at(110)), [(1, OK)]);
}

#[test]
fn a_write_fills_memory_without_a_receive_and_with_one_if_it_brings_a_number() {
    for transport in [Transport::Unreliable, Transport::Reliable] {
        let rig = Rig::new(ReceiverNotReady::Wait);
        let [mut a, mut b] = rig.connected_by(transport);
        a.memory[..3].copy_from_slice(&[1, 2, 3]);
        let write = Operation::Write(b.remote(100));
        a.one_sided(at(0), 1, 3, write);
        assert_eq!(b.poll(at(100)), []);
        assert_eq!(b.memory[100..104], [1, 2, 3, 0]);
        assert_eq!(a.poll(at(200)), [(1, OK)]);

        b.receive(at(200), 2, 0);
        let request = a.request(3, 2);
        a.post(
            at(200),
            SendRequest {
                operation: Operation::Write(b.remote(0)),
                immediate: Some(77),
                ..request
            },
        );
        let received = b.completions(at(300));
        assert_eq!(b.memory[..3], [1, 2, 0]);
        let told = received[0];
        assert_eq!((told.wr_id, told.byte_len), (2, 2));
        assert_eq!(told.opcode, ibv::IBV_WC_RECV_RDMA_WITH_IMM);
        // SAFETY: a union of integers.
        let immediate = unsafe { told.__bindgen_anon_1.imm_data };
        assert_eq!((told.wc_flags, immediate), (ibv::IBV_WC_WITH_IMM, 77));
    }
}

#[test]
fn a_read_takes_both_directions_and_the_bytes_only_the_way_back() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected_by(Transport::Reliable);
    b.memory[..3].copy_from_slice(&[7, 8, 9]);
    let read = Operation::Read(b.remote(0));
    a.one_sided(at(0), 1, 4000, read);
    assert_eq!(b.poll(at(1_000)), [], "the other end learns nothing");
    assert_eq!(a.poll(at(23)), []);
    assert_eq!(a.memory[0], 0);
    assert_eq!(a.poll(at(24)), [(1, OK)]);
    assert_eq!(a.memory[..4], [7, 8, 9, 0]);
}

#[test]
fn a_fenced_send_takes_what_the_read_before_it_brought() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected_by(Transport::Reliable);
    b.memory[0] = 5;
    let read = Operation::Read(b.remote(0));
    a.one_sided(at(0), 1, 1, read);
    let request = a.request(2, 1);
    let fenced = SendRequest {
        operation: Operation::Write(b.remote(1)),
        fenced: true,
        ..request
    };
    a.post(at(0), fenced);
    for now in [20, 40, 60, 80] {
        b.poll(at(now));
        a.poll(at(now));
    }
    assert_eq!(b.memory[..2], [5, 5]);
}

#[test]
fn memory_that_was_not_offered_is_neither_written_nor_read() {
    let write = |b: &Endpoint| Operation::Write(b.remote(0));
    let read = |b: &Endpoint| Operation::Read(b.remote(0));
    let beyond = |b: &Endpoint| Operation::Write(b.remote(64 * 1024 - 1));
    let unknown = |b: &Endpoint| {
        let address = b.remote(0).address;
        Operation::Write(Remote { address, key: 1 })
    };
    type Attempt<'a> = (&'a dyn Fn(&Endpoint) -> Operation, u32);
    let attempts: [Attempt<'_>; 4] = [
        (&write, ibv::IBV_ACCESS_LOCAL_WRITE),
        (&read, ibv::IBV_ACCESS_LOCAL_WRITE),
        (&beyond, Endpoint::ACCESS),
        (&unknown, Endpoint::ACCESS),
    ];
    for (operation, access) in attempts {
        let rig = Rig::new(ReceiverNotReady::Wait);
        let [mut a, mut b] = rig.connected_by(Transport::Reliable);
        b.permit(access);
        a.memory.fill(1);
        b.receive(at(0), 9, 64);
        let operation = operation(&b);
        a.one_sided(at(0), 1, 64, operation);
        a.send(at(0), 2, 64);
        let flushed = ibv::IBV_WC_WR_FLUSH_ERR;
        assert_eq!(b.poll(at(100)), [(9, flushed)]);
        assert_eq!(
            a.poll(at(200)),
            [(1, ibv::IBV_WC_REM_ACCESS_ERR), (2, flushed)]
        );
        assert!(b.memory.iter().all(|byte| *byte == 0));
        let (kind, _) = b.told();
        assert_eq!(kind, ibv::IBV_EVENT_QP_ACCESS_ERR);
    }
}

#[test]
fn an_unreliable_write_that_is_not_allowed_is_lost_without_a_word() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected();
    b.permit(ibv::IBV_ACCESS_LOCAL_WRITE);
    a.memory.fill(1);
    let write = Operation::Write(b.remote(0));
    a.one_sided(at(0), 1, 64, write);
    b.receive(at(0), 2, 64);
    assert_eq!(b.poll(at(100)), []);
    assert!(b.memory.iter().all(|byte| *byte == 0));
    a.send(at(100), 3, 64);
    assert_eq!(b.poll(at(200)), [(2, OK)]);
    assert_eq!(a.poll(at(200)), [(1, OK), (3, OK)]);
}

#[test]
fn both_ends_of_a_reliable_connection_learn_that_a_receive_was_no_good() {
    let short: fn(&mut Endpoint) = |b| b.receive(at(0), 1, 63);
    let unwritable: fn(&mut Endpoint) = |b| {
        b.permit(0);
        b.receive(at(0), 1, 64);
    };
    let cases = [
        (short, ibv::IBV_WC_LOC_LEN_ERR, ibv::IBV_WC_REM_INV_REQ_ERR),
        (unwritable, ibv::IBV_WC_LOC_PROT_ERR, ibv::IBV_WC_REM_OP_ERR),
    ];
    for (receive, local, remote) in cases {
        let rig = Rig::new(ReceiverNotReady::Wait);
        let [mut a, mut b] = rig.connected_by(Transport::Reliable);
        receive(&mut b);
        a.send(at(0), 2, 64);
        assert_eq!(b.poll(at(100)), [(1, local)]);
        assert_eq!(a.poll(at(200)), [(2, remote)]);
    }
}

/// A retry count of 7 means no limit, whatever happens to other senders' frames.
#[test]
fn a_reliable_sender_without_a_receiver_fails_or_insists() {
    for (policy, insists, ends) in [
        (ReceiverNotReady::Drop, false, true),
        (ReceiverNotReady::Error, false, true),
        (ReceiverNotReady::Drop, true, false),
        (ReceiverNotReady::Wait, false, false),
    ] {
        let rig = Rig::new(policy);
        let [mut a, b] = rig.connected_by(Transport::Reliable);
        a.pair.set_patience(Patience {
            resend: None,
            answer: None,
            receiver: insists,
        });
        a.send(at(0), 1, 64);
        assert_eq!(b.poll(at(100)), []);
        let expected: &[_] = match ends {
            true => &[(1, ibv::IBV_WC_RNR_RETRY_EXC_ERR)],
            false => &[],
        };
        assert_eq!(a.poll(at(1_000)), expected);
    }
}

#[test]
fn a_reliable_sender_gives_up_on_who_does_not_answer_and_not_on_who_is_slow() {
    let patience = Patience {
        resend: None,
        answer: Some(Duration::from_micros(500)),
        receiver: true,
    };
    let exceeded = [(1, ibv::IBV_WC_RETRY_EXC_ERR)];
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, b] = rig.connected_by(Transport::Reliable);
    a.pair.set_patience(patience);
    a.send(at(0), 1, 64);
    assert_eq!(a.poll(at(100_000)), [], "there is somebody");
    drop(b);
    assert_eq!(a.poll(at(100_000)), exceeded);

    let mut lost = rig.endpoint_of(Side::First, Transport::Reliable);
    lost.go_ready(Peer::Unreachable);
    lost.pair.set_patience(patience);
    lost.send(at(0), 1, 64);
    assert_eq!(lost.poll(at(500)), []);
    assert_eq!(lost.poll(at(600)), exceeded);
}

#[test]
fn messages_are_gathered_from_pieces_and_scattered_to_others() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected();
    a.memory[..6].copy_from_slice(&[1, 2, 3, 4, 5, 6]);
    let piece = |memory: Memory, offset, bytes| Memory {
        address: memory.address + offset,
        bytes,
        ..memory
    };
    let (from, to) = (a.piece(0), b.piece(0));
    let request = a.request(1, 0);
    let gather = Pieces::Many([piece(from, 4, 2), piece(from, 0, 3)].into());
    let scatter = Pieces::Many([piece(to, 10, 1), piece(to, 20, 8)].into());
    let receive = ReceiveRequest { id: 2, scatter };
    b.pair.post_receive(at(0), receive).expect("room");
    a.post(
        at(0),
        SendRequest {
            payload: Payload::Pieces(gather),
            ..request
        },
    );
    let received = b.completions(at(100));
    assert_eq!((received[0].status, received[0].byte_len), (OK, 5));
    assert_eq!(b.memory[10..12], [5, 0]);
    assert_eq!(b.memory[20..25], [6, 1, 2, 3, 0]);
}

#[test]
fn inline_bytes_need_no_registration_and_unsignalled_sends_no_completion() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected();
    b.receive(at(0), 1, 64);
    let request = a.request(2, 0);
    a.post(
        at(0),
        SendRequest {
            payload: Payload::Inline([4, 2].into()),
            signalled: false,
            ..request
        },
    );
    assert_eq!(b.poll(at(100)), [(1, OK)]);
    assert_eq!(b.memory[..3], [4, 2, 0]);
    assert_eq!(a.poll(at(100)), []);
}

#[test]
fn an_unreliable_queue_pair_cannot_read() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, b] = rig.connected();
    let request = a.request(1, 64);
    let read = SendRequest {
        operation: Operation::Read(b.remote(0)),
        ..request
    };
    assert_eq!(a.pair.post_send(at(0), read), Err(PostError::Operation));
}

/// Messages that are in flight when a queue pair is reset do not reach its next peer.
#[test]
fn who_was_reset_sends_nothing_of_before_to_its_next_peer() {
    for transport in [Transport::Unreliable, Transport::Reliable] {
        let rig = Rig::new(ReceiverNotReady::Wait);
        let [mut a, b] = rig.connected_by(transport);
        a.send(at(0), 1, 64);
        a.send(at(0), 2, 60_000);
        drop(b);
        a.pair.reset();
        let mut next = rig.endpoint_of(Side::Second, transport);
        next.go_ready(Peer::Number(a.pair.number()));
        a.go_ready(Peer::Number(next.pair.number()));
        next.receive(at(100), 3, 64);
        assert_eq!(next.poll(at(10_000)), []);
        assert_eq!(a.poll(at(10_000)), []);

        a.send(at(10_000), 4, 64);
        assert_eq!(next.poll(at(10_100)), [(3, OK)]);
        assert_eq!(a.poll(at(10_200)), [(4, OK)]);
    }
}

/// Retries this many times, at this interval.
fn retries(count: u32, micros: u64) -> Patience {
    let every = Duration::from_micros(micros);
    Patience {
        resend: (count > 0).then_some(every),
        answer: Some(every * (count + 1)),
        receiver: true,
    }
}

const EXCEEDED: ibv::ibv_wc_status = ibv::IBV_WC_RETRY_EXC_ERR;

impl Endpoint {
    /// Cuts the direction away from here, or mends it.
    fn cut(&self, cut: bool) {
        let broken = cut.then_some(Broken::Cut);
        self.pair.own_end().condition.set_cable(broken);
    }
}

#[test]
fn patience_begins_with_the_first_try_and_not_while_waiting_for_room() {
    for (count, ends) in [(0, EXCEEDED), (1, OK)] {
        let rig = Rig::new(ReceiverNotReady::Wait);
        let [mut a, mut b] = rig.connected_by(Transport::Reliable);
        a.pair.set_patience(retries(count, 2_000));
        a.register(QUEUE_BYTES);
        b.register(QUEUE_BYTES);
        a.send(at(0), 1, QUEUE_BYTES);
        a.send(at(0), 2, 64);

        a.cut(true);
        b.receive(at(6_000), 3, QUEUE_BYTES);
        assert_eq!(b.poll(at(6_000)), [(3, OK)]);
        assert_eq!(a.poll(at(6_010)), [(1, OK)]);
        assert_eq!(a.poll(at(6_020)), [], "tried only now");
        a.cut(false);
        b.receive(at(6_020), 4, 64);
        assert_eq!(a.poll(at(6_030)), []);
        let arrived: &[_] = if ends == OK { &[(4, OK)] } else { &[] };
        assert_eq!(b.poll(at(8_030)), arrived);
        assert_eq!(a.poll(at(8_050)), [(2, ends)]);
    }
}

#[test]
fn a_reliable_send_is_tried_no_more_often_than_its_retries_say() {
    for (mended, looked, arrives) in [
        (2_500, 2_500, true),
        (3_500, 3_500, false),
        (10, 50_000, false),
    ] {
        let rig = Rig::new(ReceiverNotReady::Wait);
        let [mut a, mut b] = rig.connected_by(Transport::Reliable);
        a.pair.set_patience(retries(3, 1_000));
        b.receive(at(0), 2, 64);
        a.cut(true);
        a.send(at(0), 1, 64);
        assert_eq!(a.poll(at(mended)), []);
        a.cut(false);
        let early = a.poll(at(looked));
        let received = b.poll(at(looked + 600));
        let ended = [early, a.poll(at(looked + 700))].concat();
        assert_eq!(received, if arrives { vec![(2, OK)] } else { vec![] });
        assert_eq!(ended, [(1, if arrives { OK } else { EXCEEDED })]);
    }
}

#[test]
fn a_reliable_receiver_takes_nothing_after_what_it_has_missed() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected_by(Transport::Reliable);
    a.pair.set_patience(retries(0, 500));
    b.receive(at(0), 4, 64);
    a.cut(true);
    a.send(at(0), 1, 64);
    a.cut(false);
    a.send(at(10), 2, 64);
    a.send(at(10), 3, 64);
    assert_eq!(b.poll(at(100)), []);
    let flushed = ibv::IBV_WC_WR_FLUSH_ERR;
    assert_eq!(a.poll(at(600)), [(1, EXCEEDED), (2, flushed), (3, flushed)]);
}

#[test]
fn completions_come_in_the_order_of_their_times() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected();
    let events = Arc::clone(&b.async_events);
    let completions = Arc::clone(&b.completions);
    let mut c = rig.endpoint_with(Side::Second, Transport::Unreliable, events, completions);
    let mut d = rig.endpoint(Side::First);
    c.go_ready(Peer::Number(d.pair.number()));
    d.go_ready(Peer::Number(c.pair.number()));
    b.receive(at(0), 1, 4096);
    c.receive(at(0), 2, 64);
    d.send(at(0), 3, 64);
    a.send(at(0), 4, 4000);
    c.send(at(0), 5, 1000);
    b.send(at(5), 6, 64);
    c.pair.serve(at(100));
    assert_eq!(b.poll(at(100)), [(5, OK), (6, OK), (2, OK), (1, OK)]);
}

#[test]
fn a_completion_queue_without_room_fails_all_that_report_to_it() {
    let rig = Rig::new(ReceiverNotReady::Wait);
    let [mut a, mut b] = rig.connected();
    let (queue, kept) = (Arc::default(), 2);
    let events = Arc::clone(&b.async_events);
    let completions = Completions::new(kept, None, events, Arc::clone(&queue));
    let completions = Arc::new(completions);
    let [mut c, d] = [(); 2].map(|()| {
        let (events, completions) = (Arc::clone(&b.async_events), Arc::clone(&completions));
        rig.endpoint_with(Side::Second, Transport::Unreliable, events, completions)
    });
    a.pair.reset();
    a.go_ready(Peer::Number(c.pair.number()));
    c.go_ready(Peer::Number(a.pair.number()));
    d.go_ready(Peer::Unreachable);
    for id in 1..=4 {
        a.send(at(0), id, 64);
        c.receive(at(0), id, 64);
    }
    let taken = c.poll(at(100));
    assert_eq!(taken, [(1, OK), (2, OK)], "those for which there was room");
    let told = [(); 2].map(|()| c.told());
    assert_eq!(told[0].0, ibv::IBV_EVENT_CQ_ERR);
    assert!(Arc::ptr_eq(&told[0].1, &queue));
    assert_eq!(told[1].0, ibv::IBV_EVENT_QP_FATAL);
    assert!(Arc::ptr_eq(&told[1].1, c.pair.subject()));
    assert!(c.pair.has_failed() && !d.pair.has_failed());

    assert_eq!(d.poll(at(100)), [], "it takes no more");
    assert!(d.pair.has_failed());
    let (kind, subject) = d.told();
    assert_eq!(kind, ibv::IBV_EVENT_QP_FATAL);
    assert!(Arc::ptr_eq(&subject, d.pair.subject()));
    b.receive(at(100), 5, 64);
    assert!(!b.pair.has_failed(), "it reports to another queue");
}
