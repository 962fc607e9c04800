//! Credits: a send starts when its receive was posted and the credit for it has come.

use super::*;
use crate::simulation;

/// One cable with Thunderbolt's rules.
fn strict(bytes_per_second: u64, latency: Duration) -> Rig {
    Rig::of(
        Rules::default(),
        Link {
            bytes_per_second,
            latency,
        },
        1,
    )
}

/// 4 KiB take 4096 us on it.
fn slow() -> Rig {
    strict(1_000_000, Duration::from_micros(10))
}

#[test]
fn a_send_waits_for_its_receive_and_completes_when_it_has_left() {
    let rig = slow();
    let [mut a, mut b] = rig.connected();
    a.send(at(0), 1, 4096);
    assert_eq!(a.poll(at(1_000_000)), []);
    b.receive(at(1_000_000), 2, 4096);
    let (start, frame) = (1_000_010, 4096);
    assert_eq!(a.poll(at(start + frame - 1)), []);
    assert_eq!(a.poll(at(start + frame)), [(1, OK)]);
    assert_eq!(b.poll(at(start + frame + 9)), []);
    assert_eq!(b.poll(at(start + frame + 10)), [(2, OK)]);
}

#[test]
fn two_that_both_send_first_wait_for_each_other() {
    let rig = slow();
    let [mut a, mut b] = rig.connected();
    a.send(at(0), 1, 4096);
    b.send(at(0), 2, 4096);
    assert_eq!(a.poll(at(100_000_000)), []);
    assert_eq!(b.poll(at(100_000_000)), []);
}

/// A frame is whole on the cable however little is in it.
#[test]
fn a_short_message_takes_the_time_of_a_frame() {
    let rig = slow();
    let [mut a, mut b] = rig.connected();
    b.receive(at(0), 2, 1);
    a.send(at(0), 1, 1);
    assert_eq!(a.poll(at(10 + 4095)), []);
    assert_eq!(a.poll(at(10 + 4096)), [(1, OK)]);
}

/// Resets a queue pair and connects it again to the other.
fn reconnect(end: &Endpoint, other: &Endpoint) {
    end.pair.reset();
    end.go_ready(Peer::Number(other.pair.number()));
}

/// Two queue pairs of which the second has received three messages of the first, by 20 ms.
fn after_three_messages(rig: &Rig) -> [Endpoint; 2] {
    let [mut a, mut b] = rig.connected();
    for id in 0..3 {
        b.receive(at(0), id, 4096);
        a.send(at(0), id, 4096);
    }
    assert_eq!(b.poll(at(20_000)).len(), 3);
    assert_eq!(a.poll(at(20_000)).len(), 3);
    [a, b]
}

/// A receive that was dropped by a reset is no credit.
#[test]
fn a_credit_is_of_one_connection() {
    for is_sender_first in [true, false] {
        let rig = slow();
        let [mut a, mut b] = rig.connected();
        b.receive(at(0), 2, 4096);
        if is_sender_first {
            reconnect(&a, &b);
            reconnect(&b, &a);
        } else {
            reconnect(&b, &a);
            reconnect(&a, &b);
        }
        a.send(at(2), 1, 4096);
        assert_eq!(a.poll(at(1_000_000)), []);
        b.receive(at(1_000_000), 3, 4096);
        assert_eq!(a.poll(at(1_004_106)), [(1, OK)]);
        assert_eq!(b.poll(at(1_004_116)), [(3, OK)]);
    }
}

/// A sender that was reset alone gets no credit of receives that messages have used.
#[test]
fn a_receive_that_was_used_is_no_credit_for_the_next_connection() {
    let rig = slow();
    let [mut a, mut b] = after_three_messages(&rig);
    reconnect(&a, &b);
    a.send(at(20_000), 7, 4096);
    assert_eq!(a.poll(at(1_000_000)), []);
    b.receive(at(1_000_000), 8, 4096);
    assert_eq!(a.poll(at(1_004_106)), [(7, OK)]);
    assert_eq!(b.poll(at(1_004_116)), [(8, OK)]);
}

/// A sender whose peer was reset alone needs no receives for what it sent before.
#[test]
fn a_peer_that_was_reset_gives_credits_as_before() {
    let rig = slow();
    let [mut a, mut b] = after_three_messages(&rig);
    reconnect(&b, &a);
    b.receive(at(20_000), 8, 4096);
    a.send(at(20_000), 7, 4096);
    assert_eq!(a.poll(at(24_106)), [(7, OK)]);
    assert_eq!(b.poll(at(24_116)), [(8, OK)]);
}

/// The credit travels from the receiver to the sender.
#[test]
fn a_credit_has_the_latency_of_the_way_back() {
    let rig = slow();
    let [mut a, mut b] = rig.connected();
    let slower = Link {
        latency: Duration::from_micros(500),
        ..b.pair.own_end().condition.link()
    };
    b.pair.own_end().condition.set_link(&slower);
    b.receive(at(0), 1, 4096);
    a.send(at(0), 2, 4096);
    assert_eq!(a.poll(at(500 + 4095)), []);
    assert_eq!(a.poll(at(500 + 4096)), [(2, OK)]);
    assert_eq!(b.poll(at(500 + 4096 + 9)), []);
    assert_eq!(b.poll(at(500 + 4096 + 10)), [(1, OK)]);
}

#[test]
fn a_message_that_is_lost_waits_for_its_credit_as_well() {
    let rig = slow();
    let [mut a, mut b] = rig.connected();
    a.pair.own_end().condition.set_cable(Some(Broken::Cut));
    a.send(at(0), 1, 4096);
    assert_eq!(a.poll(at(1_000_000)), []);
    b.receive(at(1_000_000), 2, 4096);
    assert_eq!(a.poll(at(1_000_010 + 4095)), []);
    assert_eq!(a.poll(at(1_000_010 + 4096)), [(1, OK)]);
    assert_eq!(b.poll(at(2_000_000)), []);
}

#[test]
fn what_waited_for_a_cable_leaves_after_it_was_plugged_in() {
    let rig = slow();
    let [mut a, mut b] = rig.connected();
    let condition = &a.pair.own_end().condition;
    b.receive(at(0), 1, 4096);
    condition.set_cable(Some(Broken::Unplugged(Unplugged::Hang)));
    let request = a.request(2, 4096);
    a.post(at(0), request);
    assert_eq!(a.poll(at(500_000)), []);
    let condition = &a.pair.own_end().condition;
    condition.set_cable(None);
    assert_eq!(a.poll(at(500_000)), []);
    assert_eq!(a.poll(at(500_000 + 4095)), []);
    assert_eq!(a.poll(at(500_000 + 4096)), [(2, OK)]);
}

/// More messages than the emulator has room for, none of which its receiver looks at
/// before all have left.
#[test]
fn room_in_the_emulator_takes_no_time() {
    let rig = slow();
    let [mut a, mut b] = rig.connected();
    let mut left = Vec::new();
    for round in 0..32_u64 {
        for id in 0..4 {
            b.receive(at(0), 4 * round + id, 4096);
            a.send(at(0), 4 * round + id, 4096);
        }
        left.extend(a.poll(at(1_000_000)));
        assert_eq!(b.poll(at(1_000_000)).len(), 4);
    }
    let all = 128 * 4096 + 10;
    assert_eq!(left.len(), 128);
    assert_eq!(a.pair.own_end().direction.next_free(), at(all));
}

/// An unequal receive ends the connection, but not what has left before.
#[test]
fn what_has_left_before_a_failure_succeeds_however_late_it_is_polled() {
    let rig = slow();
    let [mut a, mut b] = rig.connected();
    b.receive(at(0), 1, 4096);
    a.receive(at(0), 2, 8192);
    a.send(at(0), 3, 4096);
    b.send(at(10), 4, 4096);
    b.poll(at(10 + 4096));
    let ends = a.poll(at(1_000_000));
    assert_eq!(ends, [(3, OK), (2, ibv::IBV_WC_LOC_LEN_ERR)]);
}

/// A completion takes depth until it is polled, as much as its message.
#[test]
fn depth_is_frames_until_the_completion_is_polled() {
    let rig = slow();
    let [mut a, mut b] = rig.connected();
    b.receive(at(0), 1, 3 * 4096);
    a.send(at(0), 2, 3 * 4096);
    b.pair.serve(at(100_000));
    let two = b.receive_request(3, 2 * 4096);
    assert_eq!(b.pair.post_receive(at(100_000), two), Err(PostError::Full));
    assert_eq!(b.poll(at(100_000)), [(1, OK)]);
    b.receive(at(100_000), 3, 2 * 4096);
}

/// Credits cost a round trip a window: 2 * 4096 bytes in two latencies and one frame.
#[test]
fn jaccls_window_is_as_slow_as_credits_make_it() {
    let window = |rules, bytes_per_second, micros| {
        let link = Link {
            bytes_per_second,
            latency: Duration::from_micros(micros),
        };
        simulation::window(rules, link, 2, 4096)
    };
    let is_near = |rate: f64, expected: f64| {
        assert!((rate / expected - 1.0).abs() < 0.03, "{rate} of {expected}");
    };
    is_near(window(Rules::default(), 200_000_000, 20), 135.4e6);
    is_near(window(Rules::default(), 10_000_000_000, 5), 787e6);
    is_near(window(Rules::rdma(), 200_000_000, 20), 200e6);
}
