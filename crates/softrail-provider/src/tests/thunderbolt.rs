//! What RDMA over Thunderbolt lacks, and the error numbers that a Mac gives.

use std::{
    env,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{self, Command},
};

use rig::{Likeness, Unplugged};
use softrail::{Broken, claims::Resource};

use super::*;

/// Names the fabric to a test that is started as a process of another one.
const ROLE_FABRIC: &str = "FABRIC_OF_THE_TEST";

fn strict() -> (tempfile::TempDir, Fabric) {
    fabric_of(&Rig::embedded())
}

/// Queue pairs of a client's domain until the device has no more.
fn all_pairs(client: &Client) -> Vec<*mut ibv::ibv_qp> {
    let more = || {
        // SAFETY: a live domain and completion queue.
        let pair = unsafe { ibv_create_qp(client.domain, &mut description(client.queue, WANTED)) };
        (!pair.is_null()).then_some(pair)
    };
    std::iter::from_fn(more).collect()
}

#[test]
fn the_eleventh_queue_pair_is_busy_whichever_context_asks() {
    let (_parent, fabric) = strict();
    let [first, second] = [(), ()].map(|()| Client::open(&fabric, "a"));
    let pairs = all_pairs(&first);
    assert_eq!((pairs.len(), errno()), (8, libc::EBUSY));
    assert_eq!(all_pairs(&second), []);
    // SAFETY: a live queue pair.
    unsafe { assert_eq!(ibv_destroy_qp(pairs[0]), 0) };
    let again = all_pairs(&second);
    assert_eq!(again.len(), 1);
    for pair in pairs[1..].iter().chain(&again) {
        // SAFETY: a live queue pair.
        unsafe { assert_eq!(ibv_destroy_qp(*pair), 0) };
    }
    let other = Client::open_device(&fabric, "a", 1);
    let others = all_pairs(&other);
    assert_eq!(others.len(), 9, "another device has its own");
    for pair in others {
        // SAFETY: a live queue pair.
        unsafe { assert_eq!(ibv_destroy_qp(pair), 0) };
    }
}

#[test]
fn a_device_has_a_hundred_regions_and_eleven_domains_and_queues() {
    let (_parent, fabric) = strict();
    let client = Client::open(&fabric, "a");
    let memory = [0_u8; 64];
    let region = || {
        let address = memory.as_ptr().cast_mut().cast();
        // SAFETY: a live domain.
        unsafe { ibv_reg_mr(client.domain, address, memory.len(), ACCESS as c_int) }
    };
    // SAFETY: a live context.
    let domain = || unsafe { ibv_alloc_pd(client.context) };
    let queue = || {
        let (none, no_channel) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a live context.
        unsafe { ibv_create_cq(client.context, 4, none, no_channel, 0) }
    };
    // The client has one of each.
    let regions: Vec<_> =
        std::iter::from_fn(|| Some(region()).filter(|it| !it.is_null())).collect();
    assert_eq!((regions.len(), errno()), (99, libc::ENOMEM));
    let domains: Vec<_> =
        std::iter::from_fn(|| Some(domain()).filter(|it| !it.is_null())).collect();
    assert_eq!((domains.len(), errno()), (10, libc::ENOMEM));
    let queues: Vec<_> = std::iter::from_fn(|| Some(queue()).filter(|it| !it.is_null())).collect();
    assert_eq!((queues.len(), errno()), (10, libc::ENOMEM));
    // SAFETY: a live context.
    let claims = unsafe {
        let context = &*Context::behind(client.context);
        &context.cable.end(context.device.config.side).claims
    };
    let used = Resource::ALL.map(|resource| claims.used(resource));
    assert_eq!(used, [100, 11, 11]);
    // SAFETY: live objects, each back to where it came from.
    unsafe {
        assert!(regions.iter().all(|it| ibv_dereg_mr(*it) == 0));
        assert!(domains.iter().all(|it| ibv_dealloc_pd(*it) == 0));
        assert!(queues.iter().all(|it| ibv_destroy_cq(*it) == 0));
    }
    let used = Resource::ALL.map(|resource| claims.used(resource));
    assert_eq!(used, [1, 1, 1]);
}

#[test]
fn what_thunderbolt_lacks_is_refused_with_the_error_number_of_a_mac() {
    let (_parent, fabric) = strict();
    let [a, b] = connected(&fabric);
    for kind in [ibv::IBV_QPT_RC, ibv::IBV_QPT_UD] {
        let mut wanted = description(a.queue, Wanted { kind, ..WANTED });
        // SAFETY: a live domain and completion queue.
        assert!(unsafe { ibv_create_qp(a.domain, &mut wanted) }.is_null());
        assert_eq!(errno(), libc::EOPNOTSUPP);
    }
    let changes: [fn(&mut ibv::ibv_qp_cap); 3] = [
        |cap| cap.max_send_sge = 2,
        |cap| cap.max_inline_data = 1,
        |cap| cap.max_recv_wr = 4096,
    ];
    for change in changes {
        let mut wanted = description(a.queue, WANTED);
        change(&mut wanted.cap);
        // SAFETY: a live domain and completion queue.
        assert!(unsafe { ibv_create_qp(a.domain, &mut wanted) }.is_null());
        assert_eq!(errno(), libc::EINVAL);
    }
    for opcode in [
        ibv::IBV_WR_SEND_WITH_IMM,
        ibv::IBV_WR_RDMA_WRITE,
        ibv::IBV_WR_RDMA_READ,
    ] {
        assert_eq!(a.one_sided(1, opcode, &b), libc::EOPNOTSUPP, "{opcode}");
    }
    let local = ibv::IBV_ACCESS_LOCAL_WRITE as c_int;
    let memory = a.memory.as_ptr().cast_mut().cast();
    // SAFETY: a live domain.
    unsafe {
        assert!(ibv_reg_mr(a.domain, memory, 8, local).is_null());
        assert_eq!(errno(), libc::EINVAL);
        assert!(ibv_reg_mr(a.domain, memory, (4 << 30) + 1, ACCESS as c_int).is_null());
        assert_eq!(errno(), libc::ENOMEM);
    }
}

#[test]
fn a_device_says_what_a_macs_says() {
    let (_parent, fabric) = strict();
    let client = Client::open(&fabric, "a");
    // SAFETY: integers, for which zero is valid; a live context.
    let (device, port, kind) = unsafe {
        let mut device: ibv::ibv_device_attr = mem::zeroed();
        assert_eq!(ibv_query_device(client.context, &mut device), 0);
        let mut port: ibv::ibv_port_attr = mem::zeroed();
        assert_eq!(ibv_query_port(client.context, PORT, &mut port), 0);
        (device, port, (*(*client.context).device).transport_type)
    };
    assert_eq!((device.max_qp, device.max_mr), (10, 100));
    assert_eq!((device.max_pd, device.max_cq), (11, 11));
    assert_eq!((device.max_sge, device.max_qp_wr), (1, 4095));
    assert_eq!(
        (port.max_msg_sz, port.max_mtu),
        (16_773_120, ibv::IBV_MTU_4096)
    );
    assert_eq!(kind, 100);
}

/// Asked and granted depth in frames.
#[test]
fn a_queue_pair_is_granted_more_than_it_asked_for_and_says_so() {
    let (_parent, fabric) = strict();
    let client = Client::open(&fabric, "a");
    // SAFETY: integers and pointers, for which zero is valid; a live queue pair.
    let cap = unsafe {
        let (mut attributes, mut wanted) = mem::zeroed();
        assert_eq!(
            ibv_query_qp(client.pair, &mut attributes, 0, &mut wanted),
            0
        );
        attributes.cap
    };
    assert_eq!((cap.max_send_wr, cap.max_recv_wr), (1023, 1023));
}

#[test]
fn a_receive_waits_until_the_queue_pair_is_ready_to_send() {
    let (_parent, fabric) = strict();
    let [a, b] = ["a", "b"].map(|node| Client::open(&fabric, node));
    assert_eq!(a.receive(1), libc::EINVAL);
    a.initialise();
    assert_eq!(a.receive(1), libc::EINVAL);
    assert_eq!(a.route_to(b.number(), b.gid(1)), 0);
    assert_eq!(a.receive(1), libc::EINVAL);
    let mut ready = attributes(ibv::IBV_QPS_RTS);
    assert_eq!(a.modify(&mut ready, READY_TO_SEND), 0);
    assert_eq!(a.receive(1), 0);
}

#[test]
fn a_receive_of_another_number_of_frames_fails_and_its_sender_does_not_know() {
    let (_parent, fabric) = strict();
    for (sent, receive) in [(4096, 4097), (1, 8192), (8192, 4096)] {
        let wanted = Wanted {
            memory: 8192,
            ..WANTED
        };
        let [a, b] = ["a", "b"].map(|node| Client::of(fabric.path(), node, 0, wanted));
        a.connect(&b);
        b.connect(&a);
        assert_eq!(b.post_receive(1, b.first(receive)), 0);
        let entry = a.first(sent);
        assert_eq!(a.post_send(2, ibv::IBV_WR_SEND, entry, entry, 0), 0);
        let (sent, received) = (a.complete(), b.complete());
        assert_eq!((sent.wr_id, sent.status), (2, ibv::IBV_WC_SUCCESS));
        assert_eq!(
            (received.wr_id, received.status),
            (1, ibv::IBV_WC_LOC_LEN_ERR)
        );
    }
}

/// A message of another length but as many frames is received.
#[test]
fn a_receive_may_be_longer_within_its_last_frame() {
    let (_parent, fabric) = strict();
    let [a, mut b] = connected(&fabric);
    b.memory.fill(0);
    assert_eq!(b.receive(1), 0);
    let entry = a.first(100);
    assert_eq!(a.post_send(2, ibv::IBV_WR_SEND, entry, entry, 0), 0);
    let received = b.complete();
    assert_eq!(
        (received.status, received.byte_len),
        (ibv::IBV_WC_SUCCESS, 100)
    );
}

#[test]
fn the_longest_message_is_carried_whole() {
    let mut rig = Rig::embedded();
    rig.cables[0].link.bytes_per_second = 100_000_000_000;
    let (_parent, fabric) = fabric_of(&rig);
    let wanted = Wanted {
        memory: 16_773_120,
        requests: 4095,
        ..WANTED
    };
    let [mut a, b] = ["a", "b"].map(|node| Client::of(fabric.path(), node, 0, wanted));
    a.connect(&b);
    b.connect(&a);
    for (index, byte) in a.memory.iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    for round in 0..3 {
        assert_eq!(b.receive(round), 0);
        assert_eq!(a.send(round, ibv::IBV_WR_SEND), 0);
        assert_eq!(a.complete().status, ibv::IBV_WC_SUCCESS);
        assert_eq!(b.complete().byte_len, 16_773_120);
        assert!(a.memory == b.memory, "round {round}");
    }
    assert_eq!(b.receive(4), 0);
    assert_eq!(b.receive(5), libc::ENOMEM, "the queue's frames are used up");
}

#[test]
fn the_mapped_gid_is_where_the_rig_has_it_and_nothing_is_reached_from_another() {
    let mut rig = Rig::embedded();
    rig.rules.gid_index = 3;
    let (_parent, fabric) = fabric_of(&rig);
    let [a, b] = ["a", "b"].map(|node| Client::open(&fabric, node));
    let kind = |index| {
        // SAFETY: every variant of the union is 16 plain bytes.
        let raw = unsafe { a.gid(index).raw };
        (raw[..2] == [0xfe, 0x80], raw[10..12] == [0xff, 0xff])
    };
    let local = (true, false);
    assert_eq!([0, 1, 2, 3].map(kind), [local, local, local, (false, true)]);
    a.initialise();
    assert_eq!(
        a.route_to(b.number(), b.gid(3)),
        libc::EINVAL,
        "from index 1"
    );
}

#[test]
fn where_sources_differ_the_rig_decides() {
    let mut rig = Rig::embedded();
    rig.rules.likeness = Likeness {
        refuses_over_posting: false,
        refuses_local_write_alone: false,
        ..Likeness::default()
    };
    let (_parent, fabric) = fabric_of(&rig);
    let [a, b] = connected(&fabric);
    for id in 0..1100 {
        assert_eq!(a.send(id, ibv::IBV_WR_SEND), 0, "{id}");
    }
    for id in 0..1100 {
        assert_eq!(b.receive(id), 0);
        assert_eq!(a.complete().wr_id, id);
        assert_eq!(b.complete().wr_id, id);
    }
    let memory = a.memory.as_ptr().cast_mut().cast();
    // SAFETY: a live domain.
    let region = unsafe { ibv_reg_mr(a.domain, memory, 8, ibv::IBV_ACCESS_LOCAL_WRITE as c_int) };
    assert!(!region.is_null());
    // SAFETY: a live region.
    unsafe { assert_eq!(ibv_dereg_mr(region), 0) };
}

#[test]
fn memory_stays_registered_after_a_queue_pair_was_destroyed_in_error() {
    for leaks in [true, false] {
        let mut rig = Rig::embedded();
        rig.rules.likeness.leaks_after_error = leaks;
        let (_parent, fabric) = fabric_of(&rig);
        let client = Client::open(&fabric, "a");
        let memory = client.memory.as_ptr().cast_mut().cast();
        // SAFETY: live objects, each back to where it came from.
        unsafe {
            let region = ibv_reg_mr(client.domain, memory, 8, ACCESS as c_int);
            let pair = ibv_create_qp(client.domain, &mut description(client.queue, WANTED));
            let mut first = attributes(ibv::IBV_QPS_INIT);
            first.port_num = PORT;
            let mask = INITIALISED as c_int;
            assert_eq!(ibv_modify_qp(pair, &mut first, mask), 0);
            let mut failed = attributes(ibv::IBV_QPS_ERR);
            assert_eq!(
                ibv_modify_qp(pair, &mut failed, ibv::IBV_QP_STATE as c_int),
                0
            );
            assert_eq!(ibv_destroy_qp(pair), 0);
            let expected = if leaks { libc::EBUSY } else { 0 };
            assert_eq!(ibv_dereg_mr(region), expected);
        }
        if leaks {
            // Its memory cannot be handed back either.
            mem::forget(client);
        }
    }
}

/// The process that the test below starts: posts to a cable that was pulled out.
#[test]
fn posts_unplugged() {
    if let Some(folder) = env::var_os(ROLE_FABRIC) {
        let [a, b] = ["a", "b"].map(|node| Client::of(Path::new(&folder), node, 0, WANTED));
        a.connect(&b);
        b.connect(&a);
        let live = Live::attach(Path::new(&folder)).expect("the fabric");
        let pulled = Broken::Unplugged(Unplugged::Crash);
        live.set_cable("cable-1", Some(pulled)).expect("a cable");
        a.receive(1);
    }
}

/// Of a receive, and so of the rank that waits.
#[test]
fn a_post_to_a_cable_that_was_pulled_out_crashes_the_process() {
    let (_parent, fabric) = strict();
    let posted = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "tests::thunderbolt::posts_unplugged"])
        .env(ROLE_FABRIC, fabric.path())
        .output()
        .expect("it runs");
    assert_eq!(posted.status.signal(), Some(libc::SIGSEGV));
    let said = String::from_utf8_lossy(&posted.stderr);
    assert!(said.contains("rdma_en5 was pulled out"), "{said}");
}

#[test]
fn a_post_to_a_cable_that_was_pulled_out_may_hang_until_it_is_plugged_in() {
    let (_parent, fabric) = strict();
    let [a, b] = connected(&fabric);
    let live = fabric.live();
    let pulled = Broken::Unplugged(Unplugged::Hang);
    live.set_cable("cable-1", Some(pulled)).expect("a cable");
    assert_eq!(b.receive(1), 0);
    assert_eq!(a.send(2, ibv::IBV_WR_SEND), 0);
    // SAFETY: integers, for which zero is valid; a live context.
    let port = unsafe {
        let mut port: ibv::ibv_port_attr = mem::zeroed();
        assert_eq!(ibv_query_port(a.context, PORT, &mut port), 0);
        port
    };
    assert_eq!(port.state, ibv::IBV_PORT_DOWN);
    assert!(a.poll().is_none());
    live.set_cable("cable-1", None).expect("a cable");
    assert_eq!((a.complete().wr_id, b.complete().wr_id), (2, 1));
}

/// The process that the next test starts.
#[test]
fn ends_abnormally() {
    if let Some(folder) = env::var_os(ROLE_FABRIC) {
        let _client = Client::of(Path::new(&folder), "a", 0, WANTED);
        process::abort();
    }
}

#[test]
fn the_first_message_after_an_abnormal_end_is_lost() {
    for loses in [true, false] {
        let mut rig = Rig::embedded();
        rig.rules.likeness.loses_first_after_abnormal_end = loses;
        let (_parent, fabric) = fabric_of(&rig);
        let ended = Command::new(env::current_exe().expect("this test"))
            .args(["--exact", "tests::thunderbolt::ends_abnormally"])
            .env(ROLE_FABRIC, fabric.path())
            .output();
        assert!(!ended.expect("it runs").status.success());
        let [mut a, b] = connected(&fabric);
        let mut send = |byte| {
            a.memory.fill(byte);
            assert_eq!(b.receive(byte.into()), 0);
            assert_eq!(a.send(0, ibv::IBV_WR_SEND), 0);
            assert_eq!(a.complete().status, ibv::IBV_WC_SUCCESS);
        };
        let receive = || {
            let received = b.complete();
            assert_eq!(received.status, ibv::IBV_WC_SUCCESS);
            (received.wr_id, b.memory[0])
        };
        send(1);
        if !loses {
            assert_eq!(receive(), (1, 1));
        }
        send(2);
        assert_eq!(receive(), if loses { (1, 2) } else { (2, 2) });
    }
}
