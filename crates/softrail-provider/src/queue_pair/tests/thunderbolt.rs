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

#[test]
fn a_credit_is_of_one_connection() {
    let rig = slow();
    let [mut a, mut b] = rig.connected();
    b.receive(at(0), 2, 4096);
    b.pair.reset();
    b.go_ready(Peer::Number(a.pair.number()));
    a.pair.reset();
    a.go_ready(Peer::Number(b.pair.number()));
    a.send(at(2), 1, 4096);
    assert_eq!(a.poll(at(1_000_000)), []);
    b.receive(at(1_000_000), 3, 4096);
    assert_eq!(a.poll(at(1_004_106)), [(1, OK)]);
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
