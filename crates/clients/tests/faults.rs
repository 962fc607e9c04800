//! Faults that begin while two processes exchange messages.
#![cfg(target_os = "linux")]

use std::{
    thread,
    time::{Duration, Instant},
};

use clients::Client;
use rig::{CableFault, Defect, Fault, NodeFault, Rig, Span};
use softrail::{
    Fabric,
    live::{Live, LiveError},
    up::End,
};

/// Longer than any program here takes that ends by itself.
const LIMIT: Duration = Duration::from_secs(120);

/// More rounds than any run here can complete.
const FOR_EVER: u32 = 1_000_000_000;

fn ping_pong(fabric: &Fabric, transport: &str, rounds: u32, limit: Duration) -> clients::Ran {
    let arguments = format!(
        "latency --device rdma_en6 --timeout 600s --transport {transport} --iterations {rounds} \
         --check"
    );
    clients::run(fabric, &[0, 1], &Client::ping(), &arguments, limit)
}

/// A fabric whose client is already compiled, so that a wait for its messages is not a
/// wait for the compiler.
fn fabric(rig: &Rig) -> (tempfile::TempDir, Fabric) {
    Client::ping();
    clients::fabric(rig)
}

/// A run that must succeed.
#[track_caller]
fn is_well(fabric: &Fabric) {
    let ran = ping_pong(fabric, "uc", 50, LIMIT);
    let said = &ran.said;
    assert_eq!(
        ran.ends,
        [(0, End::Code(0)), (1, End::Code(0))],
        "{}\n{}",
        said[0],
        said[1]
    );
}

/// How many messages have been put on the cables.
fn messages(live: &Live) -> u64 {
    live.counters().iter().map(|it| it.messages).sum()
}

/// Waits until this many more messages have been put on the cables.
fn await_messages(live: &Live, more: u64) {
    let (before, given_up) = (messages(live), Instant::now() + LIMIT);
    while messages(live) < before + more {
        assert!(Instant::now() < given_up, "nothing is sent");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until no message was put on the cables for a while; returns the number of all
/// messages until then.
fn rest(live: &Live) -> u64 {
    let given_up = Instant::now() + LIMIT;
    loop {
        let before = messages(live);
        thread::sleep(Duration::from_millis(50));
        if messages(live) == before {
            return before;
        }
        assert!(Instant::now() < given_up, "messages without end");
    }
}

fn on_node_b(kind: NodeFault) -> Defect {
    Defect::Node {
        node: "b".to_owned(),
        kind,
    }
}

/// In the field the surviving processes spin without end, and so does this one until it
/// is ended.
#[test]
fn who_is_killed_leaves_the_other_waiting_and_the_next_run_clean() {
    let (_parent, fabric) = fabric(&clients::rig());
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            await_messages(fabric.live(), 100);
            let kill = on_node_b(NodeFault::Kill);
            fabric.live().apply(&kill, true).expect("it is connected");
        });
        ping_pong(&fabric, "uc", FOR_EVER, LIMIT)
    });
    assert_eq!(ran.ends, [(0, End::Ended), (1, End::Signal(9))]);
    is_well(&fabric);
}

#[test]
fn who_is_frozen_stops_all_until_it_goes_on() {
    let (_parent, fabric) = fabric(&clients::rig());
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            let (live, freeze) = (fabric.live(), on_node_b(NodeFault::Freeze));
            await_messages(live, 100);
            live.apply(&freeze, true).expect("it is connected");
            // When one end of a ping-pong is stopped, the other sends at most the answer
            // to the message in flight.
            let before = rest(live);
            thread::sleep(Duration::from_millis(50));
            let sent = messages(live) - before;
            assert!(sent <= 1, "{sent} messages to who does not answer");
            live.apply(&freeze, false).expect("it is connected");
            await_messages(live, 100);
        });
        ping_pong(&fabric, "uc", 20_000, LIMIT)
    });
    assert_eq!(ran.ends, [(0, End::Code(0)), (1, End::Code(0))]);
}

/// Freezes the process for longer than a lease lasts, several times, so that it is caught
/// at different points while it places frames.
#[test]
fn who_goes_on_after_a_long_time_has_lost_nothing() {
    let (_parent, fabric) = fabric(&clients::rig());
    let arguments = "latency --device rdma_en6 --transport rc --size 65536 --iterations 3000 \
                     --check --timeout 600s";
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            let (live, freeze) = (fabric.live(), on_node_b(NodeFault::Freeze));
            for _ in 0..3 {
                await_messages(live, 100);
                live.apply(&freeze, true).expect("it is connected");
                thread::sleep(Duration::from_millis(1500));
                live.apply(&freeze, false).expect("it is connected");
            }
        });
        clients::run(&fabric, &[0, 1], &Client::ping(), arguments, LIMIT)
    });
    let said = ran.said.concat();
    assert_eq!(ran.ends, [(0, End::Code(0)), (1, End::Code(0))], "{said}");
}

#[test]
fn who_stays_frozen_is_not_left_behind() {
    let (_parent, fabric) = fabric(&clients::rig());
    let limit = Duration::from_secs(2);
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            await_messages(fabric.live(), 100);
            let freeze = on_node_b(NodeFault::Freeze);
            fabric.live().apply(&freeze, true).expect("it is connected");
        });
        ping_pong(&fabric, "uc", FOR_EVER, limit)
    });
    assert_eq!(ran.ends, [(0, End::Ended), (1, End::Ended)]);
    let nobody = fabric.live().apply(&on_node_b(NodeFault::Kill), true);
    assert!(matches!(nobody, Err(LiveError::Idle(_))), "{nobody:?}");
    is_well(&fabric);
}

fn cut_from(at: Duration, until: Option<Duration>) -> (tempfile::TempDir, Fabric) {
    let defect = Defect::Cable {
        cable: "cable-2".to_owned(),
        kind: CableFault::Cut,
    };
    let span = Span { at, until };
    fabric(&clients::rig().with_faults(vec![Fault { defect, span }]))
}

#[test]
fn a_reliable_connection_over_a_cable_that_is_pulled_says_so() {
    let (_parent, fabric) = cut_from(Duration::from_millis(1), None);
    let _player = fabric.play(|_, done| done.expect("there is such a cable"));
    let ran = ping_pong(&fabric, "rc", FOR_EVER, LIMIT);
    let said = ran.said.concat();
    assert!(said.contains("transport retry counter exceeded"), "{said}");
    assert!(ran.ends.iter().any(|(_, end)| *end == End::Code(1)));
}
