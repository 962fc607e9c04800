//! The effects of faults that a client sees.

use std::time::{Duration, Instant};

use rig::{CableFault, Crossed, Defect, DeviceFault, Fault, MessageFault, Rig, Rules};

use super::*;
use softrail::Broken;

#[test]
fn absent_devices_are_not_listed_and_a_node_without_any_has_an_empty_list() {
    let gone = |device: &str| broken(device, DeviceFault::Absent);
    let (_parent, one) = fabric_with(vec![gone("rdma_en6")]);
    assert_eq!(listed(&one, "a"), ["rdma_en5", "rdma_en7"]);
    assert_eq!(listed(&one, "b").len(), 3);
    let (_parent, all) = fabric_with(["rdma_en5", "rdma_en6", "rdma_en7"].map(gone).into());
    assert!(listed(&all, "a").is_empty());
}

/// As on an interface without an IPv4 address: the table keeps its length, its second
/// entry is empty, and a route that uses that entry is refused.
#[test]
fn a_port_without_an_ipv4_gid_cannot_be_routed_from() {
    let (_parent, fabric) = fabric_with(vec![broken("rdma_en5", DeviceFault::NoGid)]);
    let (a, b) = (Client::open(&fabric, "a"), Client::open(&fabric, "b"));
    // SAFETY: plain bytes.
    let (local, mapped) = unsafe { (a.gid(0).raw, a.gid(1).raw) };
    assert_eq!(local[..2], [0xfe, 0x80]);
    assert_eq!(mapped, [0; 16]);
    a.initialise();
    assert_eq!(a.route_to(b.number(), b.gid(1)), libc::EINVAL);
}

#[test]
fn a_port_that_is_down_says_so_and_gives_no_protection_domain() {
    let (_parent, fabric) = fabric_with(vec![broken("rdma_en6", DeviceFault::PortDown)]);
    let list = device_list(config::devices(fabric.path(), "a").expect("node a"));
    // SAFETY: a list of live devices, room for a port, and each object is released.
    unsafe {
        for (index, up) in [(0, true), (1, false)] {
            let context = ibv_open_device(*list.add(index));
            let mut port: ibv::ibv_port_attr = mem::zeroed();
            assert_eq!(ibv_query_port(context, PORT, &mut port), 0);
            assert_eq!(port.state == ibv::IBV_PORT_ACTIVE, up);
            let domain = ibv_alloc_pd(context);
            assert_eq!(!domain.is_null(), up);
            if up {
                ibv_dealloc_pd(domain);
            } else {
                assert_eq!(errno(), libc::ENETDOWN);
            }
            ibv_close_device(context);
        }
        ibv_free_device_list(list);
    }
}

#[test]
fn sends_on_a_failing_device_end_in_an_error_and_carry_nothing() {
    let (_parent, fabric) = fabric_with(vec![broken("rdma_en5", DeviceFault::Failing)]);
    let [a, b] = connected(&fabric);
    assert_eq!(b.receive(1), 0);
    assert_eq!(
        (a.send(2, ibv::IBV_WR_SEND), a.send(3, ibv::IBV_WR_SEND)),
        (0, 0)
    );
    let ended = [a.complete(), a.complete()].map(|ended| (ended.wr_id, ended.status));
    assert_eq!(
        ended,
        [
            (2, ibv::IBV_WC_RETRY_EXC_ERR),
            (3, ibv::IBV_WC_WR_FLUSH_ERR)
        ]
    );
    assert!(b.poll().is_none());
    assert_eq!(fabric.cable_bytes()["cable-1"], 0);
}

#[test]
fn a_failing_device_still_receives() {
    let (_parent, fabric) = fabric_with(vec![broken("rdma_en5", DeviceFault::Failing)]);
    let [a, b] = connected(&fabric);
    assert_eq!((a.receive(1), b.send(2, ibv::IBV_WR_SEND)), (0, 0));
    let received = a.complete();
    assert_eq!((received.wr_id, received.status), (1, ibv::IBV_WC_SUCCESS));
}

#[test]
fn a_refusing_device_takes_no_work() {
    let (_parent, fabric) = fabric_with(vec![broken("rdma_en5", DeviceFault::Refusing)]);
    let [a, b] = connected(&fabric);
    assert_eq!(a.send(1, ibv::IBV_WR_SEND), libc::ENOMEM);
    assert_eq!(a.receive(2), libc::ENOMEM);
    assert_eq!(b.receive(3), 0, "the other end is well");
}

#[test]
fn what_is_sent_on_a_cut_cable_leaves_and_does_not_arrive() {
    let cut = Defect::Cable {
        cable: "cable-1".to_owned(),
        kind: CableFault::Cut,
    };
    let (_parent, fabric) = fabric_with(vec![cut.into()]);
    let [a, b] = connected(&fabric);
    assert_eq!((b.receive(1), a.send(2, ibv::IBV_WR_SEND)), (0, 0));
    let sent = a.complete();
    assert_eq!((sent.wr_id, sent.status), (2, ibv::IBV_WC_SUCCESS));
    assert_eq!(fabric.cable_bytes()["cable-1"], 4096);
    std::thread::sleep(Duration::from_millis(5));
    assert!(b.poll().is_none());
}

#[test]
fn what_is_broken_and_mended_meanwhile_is_so_for_who_is_connected() {
    let (_parent, fabric) = fabric();
    let live = Live::attach(fabric.path()).expect("it is up");
    let [a, b] = connected(&fabric);
    assert_eq!((b.receive(1), b.receive(2)), (0, 0));
    live.set_cable("cable-1", Some(Broken::Cut))
        .expect("a cable");
    assert_eq!(a.send(3, ibv::IBV_WR_SEND), 0);
    assert_eq!(a.complete().wr_id, 3);
    live.set_cable("cable-1", None).expect("a cable");
    assert_eq!(a.send(4, ibv::IBV_WR_SEND), 0);
    assert_eq!(b.complete().wr_id, 1, "the first of two to arrive");
    let counted = &live.counters()[0];
    assert_eq!((counted.messages, counted.lost), (2, 1));

    let down = |broken| live.set_fault("a:rdma_en5", DeviceFault::PortDown, broken);
    down(true).expect("a device");
    // SAFETY: a live context.
    assert!(unsafe { ibv_alloc_pd(a.context) }.is_null());
    down(false).expect("a device");
    live.set_fault("a:rdma_en5", DeviceFault::NoGid, true)
        .expect("a device");
    // SAFETY: plain bytes.
    assert_eq!(unsafe { a.gid(1).raw }, [0; 16]);
}

/// A reliable sender notices a cable that is pulled; an unreliable one does not.
#[test]
fn a_reliable_send_over_a_cable_that_was_cut_fails() {
    let (_parent, fabric) = fabric();
    let live = Live::attach(fabric.path()).expect("it is up");
    let [a, b] = connected_by(&fabric, ibv::IBV_QPT_RC);
    assert_eq!(b.receive(1), 0);
    live.set_cable("cable-1", Some(Broken::Cut))
        .expect("a cable");
    assert_eq!(a.send(2, ibv::IBV_WR_SEND), 0);
    assert_eq!(a.complete().status, ibv::IBV_WC_RETRY_EXC_ERR);
}

/// A fault of a message of the first queue pair on node `a`'s first device.
fn of_message(message: u32, kind: MessageFault) -> Fault {
    let device = Rig::embedded().cables[0].ends[0].clone();
    let defect = Defect::Message {
        device,
        queue_pair: 0,
        message,
        kind,
    };
    defect.into()
}

/// Sends the client's memory filled with a byte.
fn send_filled(client: &mut Client, byte: u8) {
    client.memory.fill(byte);
    assert_eq!(client.send(byte.into(), ibv::IBV_WR_SEND), 0);
    assert_eq!(client.complete().status, ibv::IBV_WC_SUCCESS);
}

#[test]
fn of_three_messages_the_one_that_is_dropped_does_not_arrive() {
    let (_parent, fabric) = fabric_with(vec![of_message(1, MessageFault::Drop)]);
    let [mut a, b] = connected(&fabric);
    assert_eq!((b.receive(1), b.receive(2)), (0, 0));
    let mut arrived = Vec::new();
    for byte in [7, 8, 9] {
        send_filled(&mut a, byte);
        if byte != 8 {
            b.complete();
            arrived.push(b.memory[0]);
        }
    }
    assert_eq!(arrived, [7, 9]);
    let counted = &fabric.live().counters()[0];
    assert_eq!((counted.messages, counted.lost), (3, 1));
}

/// The answer timeout of `connected` clients: 4.096 us times 2 to the 14th.
const TIMEOUT: Duration = Duration::from_nanos(4096 << 14);

#[test]
fn a_reliable_connection_sends_what_was_dropped_again() {
    let (_parent, fabric) = fabric_with(vec![of_message(0, MessageFault::Drop)]);
    let [mut a, b] = connected_by(&fabric, ibv::IBV_QPT_RC);
    assert_eq!(b.receive(1), 0);
    let begun = Instant::now();
    send_filled(&mut a, 7);
    assert!(begun.elapsed() >= TIMEOUT);
    assert_eq!((b.complete().wr_id, b.memory[0]), (1, 7));
    let counted = &fabric.live().counters()[0];
    assert_eq!((counted.messages, counted.lost), (2, 1));
}

#[test]
fn a_reliable_connection_that_may_not_try_again_fails() {
    let (_parent, fabric) = fabric_with(vec![of_message(0, MessageFault::Drop)]);
    let [a, b] = ["a", "b"].map(|node| Client::open_kind(&fabric, node, 0, ibv::IBV_QPT_RC));
    b.connect(&a);
    a.initialise();
    assert_eq!(a.route_to(b.number(), b.gid(1)), 0);
    let mut once = attributes(ibv::IBV_QPS_RTS);
    once.timeout = 14;
    assert_eq!(a.modify(&mut once, READY_TO_SEND), 0);
    assert_eq!((b.receive(1), a.send(2, ibv::IBV_WR_SEND)), (0, 0));
    assert_eq!(a.complete().status, ibv::IBV_WC_RETRY_EXC_ERR);
    assert!(b.poll().is_none());
}

#[test]
fn a_reliable_connection_outlives_a_cable_that_is_mended_in_time() {
    let (_parent, fabric) = fabric();
    let [a, b] = ["a", "b"].map(|node| Client::open_kind(&fabric, node, 0, ibv::IBV_QPT_RC));
    // One second, so that the cable is mended before the retries end, on any machine.
    a.connect_within(b.number(), b.gid(1), 18);
    b.connect(&a);
    assert_eq!((b.receive(1), b.receive(2)), (0, 0));
    let cut = |cut: bool| {
        let broken = cut.then_some(Broken::Cut);
        fabric.live().set_cable("cable-1", broken).expect("a cable");
    };
    cut(true);
    let begun = Instant::now();
    assert_eq!((a.send(3, ibv::IBV_WR_SEND), a.poll().is_none()), (0, true));
    arm(&a, 0);
    cut(false);
    assert_eq!(a.send(4, ibv::IBV_WR_SEND), 0);
    assert!(has_event(&a, 30_000));
    assert!(
        begun.elapsed() >= TIMEOUT * 16,
        "it is not sent again at once"
    );
    let ended = [a.complete(), a.complete()].map(|ended| (ended.wr_id, ended.status));
    let success = ibv::IBV_WC_SUCCESS;
    assert_eq!(ended, [(3, success), (4, success)]);
    assert_eq!([b.complete().wr_id, b.complete().wr_id], [1, 2]);
    assert!(fabric.live().counters()[0].lost >= 1);
}

#[test]
fn what_follows_a_delayed_message_stays_behind_it() {
    let by = Duration::from_millis(30);
    let (_parent, fabric) = fabric_with(vec![of_message(1, MessageFault::Delay(by))]);
    let [mut a, b] = connected(&fabric);
    assert!((1..=3).all(|id| b.receive(id) == 0));
    send_filled(&mut a, 7);
    assert_eq!((b.complete().wr_id, b.memory[0]), (1, 7));
    let begun = Instant::now();
    send_filled(&mut a, 8);
    send_filled(&mut a, 9);
    assert_eq!(b.complete().wr_id, 2);
    assert!(begun.elapsed() >= by);
    assert_eq!((b.complete().wr_id, b.memory[0]), (3, 9));
}

#[test]
fn a_message_that_is_yet_to_come_is_dropped_live() {
    let (_parent, fabric) = fabric();
    let [mut a, b] = connected(&fabric);
    assert_eq!((b.receive(1), b.receive(2)), (0, 0));
    send_filled(&mut a, 7);
    assert_eq!((b.complete().wr_id, b.memory[0]), (1, 7));
    let live = fabric.live();
    let drop = |queue_pair| live.inject("a:rdma_en5", queue_pair, 0, MessageFault::Drop);
    drop(Some(1)).expect("a device");
    drop(None).expect("a device");
    send_filled(&mut a, 8);
    send_filled(&mut a, 9);
    assert_eq!((b.complete().wr_id, b.memory[0]), (2, 9));
}

/// In both directions, whichever end's port is down.
#[test]
fn nothing_is_carried_by_way_of_a_port_that_is_down() {
    let (_parent, fabric) = fabric();
    let [mut a, mut b] = connected(&fabric);
    let down = |broken| {
        let port = DeviceFault::PortDown;
        let live = fabric.live();
        live.set_fault("a:rdma_en5", port, broken)
            .expect("a device");
    };
    down(true);
    assert_eq!((a.receive(1), b.receive(1)), (0, 0));
    send_filled(&mut a, 7);
    send_filled(&mut b, 8);
    down(false);
    send_filled(&mut a, 9);
    assert_eq!((b.complete().wr_id, b.memory[0]), (1, 9));
    send_filled(&mut b, 10);
    assert_eq!((a.complete().wr_id, a.memory[0]), (1, 10));
    assert_eq!(fabric.live().counters()[0].lost, 1);
    assert_eq!(fabric.live().counters()[1].lost, 1);

    let [a, _b] = connected_by(&fabric, ibv::IBV_QPT_RC);
    down(true);
    assert_eq!(a.send(2, ibv::IBV_WR_SEND), 0);
    assert_eq!(a.complete().status, ibv::IBV_WC_RETRY_EXC_ERR);
}

/// The next asynchronous event of a device, with the port that it is about.
fn next_event(context: *mut ibv::ibv_context) -> (ibv::ibv_event_type, c_int) {
    // SAFETY: a live context, room for an event, and integers and nullable pointers, for
    // which zero is valid.
    unsafe {
        let mut event: ibv::ibv_async_event = mem::zeroed();
        assert_eq!(ibv_get_async_event(context, &mut event), 0);
        (event.event_type, event.element.port_num)
    }
}

#[test]
fn who_has_a_device_open_is_told_what_happens_to_its_port() {
    let (_parent, fabric) = fabric();
    let a = Client::open(&fabric, "a");
    let context = a.context as usize;
    let sleeper = std::thread::spawn(move || next_event(context as *mut _));
    let live = fabric.live();
    let change = |fault, broken| {
        live.set_fault("a:rdma_en5", fault, broken)
            .expect("a device");
    };
    change(DeviceFault::PortDown, true);
    let port = c_int::from(PORT);
    let woken = sleeper.join().expect("it is told");
    assert_eq!(woken, (ibv::IBV_EVENT_PORT_ERR, port));
    change(DeviceFault::PortDown, false);
    assert_eq!(next_event(a.context), (ibv::IBV_EVENT_PORT_ACTIVE, port));
    for broken in [true, false] {
        change(DeviceFault::NoGid, broken);
        assert_eq!(next_event(a.context), (ibv::IBV_EVENT_GID_CHANGE, port));
    }
}

fn crossed(policy: Crossed) -> (tempfile::TempDir, Fabric) {
    fabric_of(&Rig::embedded().with_rules(Rules {
        crossed: policy,
        ..Rules::rdma()
    }))
}

#[test]
fn a_route_to_another_cables_end_is_refused_where_the_rig_says_so() {
    let (_parent, fabric) = crossed(Crossed::Refuse);
    let [a, b] = ["a", "b"].map(|node| Client::open(&fabric, node));
    let other = Client::open_device(&fabric, "b", 1);
    a.initialise();
    let refused = a.route_to(other.number(), other.gid(1));
    assert_eq!(refused, libc::ETIMEDOUT);
    assert_eq!(a.route_to(b.number(), b.gid(1)), 0);
}

#[test]
fn what_is_sent_to_another_cables_end_never_leaves_where_the_rig_says_so() {
    let (_parent, fabric) = crossed(Crossed::Stall);
    for kind in [ibv::IBV_QPT_UC, ibv::IBV_QPT_RC] {
        let a = Client::open_kind(&fabric, "a", 0, kind);
        let other = Client::open_kind(&fabric, "b", 1, kind);
        a.connect(&other);
        assert_eq!(a.send(1, ibv::IBV_WR_SEND), 0);
        std::thread::sleep(Duration::from_millis(5));
        assert!(a.poll().is_none());
    }
    assert_eq!(fabric.cable_bytes()["cable-1"], 0);
}
