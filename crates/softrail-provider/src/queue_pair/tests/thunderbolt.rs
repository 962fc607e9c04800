//! Credits: a send starts when its receive was posted and the credit for it has come.

use rail_matrix::Rules;

use super::*;

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

/// Bytes a second of jaccl's window: two frames sent, two receives posted, and the next of
/// each when one has completed (`RingImpl::send` and `recv`), in virtual time.
fn window(bytes_per_second: u64, latency: Duration, bytes: u64, messages: u64) -> f64 {
    let rig = strict(bytes_per_second, latency);
    let [mut a, mut b] = rig.connected();
    let mut now = Time::ZERO;
    for id in 0..2 {
        b.receive(now, id, bytes);
        a.send(now, id, bytes);
    }
    let (mut sent, mut received) = (2, 0);
    while received < messages {
        for _ in a.poll(now) {
            a.send(now, sent, bytes);
            sent += 1;
        }
        for (_, status) in b.poll(now) {
            assert_eq!(status, OK);
            received += 1;
            b.receive(now, received + 1, bytes);
        }
        let next = [&a, &b].map(|end| {
            end.pair.serve(now);
            end.pair.next_event()
        });
        let next = next.into_iter().flatten().filter(|next| *next > now).min();
        now = next.unwrap_or(now + Duration::from_nanos(100));
    }
    (messages * bytes) as f64 / (now - Time::ZERO).as_secs_f64()
}

/// Credits cost a round trip a window: 2 * 4096 bytes in two latencies and one frame.
#[test]
fn jaccls_window_is_as_slow_as_credits_make_it() {
    let rate = window(200_000_000, Duration::from_micros(20), 4096, 4000);
    assert!((rate / 135.4e6 - 1.0).abs() < 0.03, "{rate}");
    let rate = window(10_000_000_000, Duration::from_micros(5), 4096, 4000);
    assert!((rate / 787e6 - 1.0).abs() < 0.03, "{rate}");
}
