//! Invalid calls, out of order or out of bounds: they return an error number and never
//! crash.

use std::sync::Arc;

use super::*;
use crate::api::completion::ibv_resize_cq;

/// A pair of sizes, or of indices, that no device has.
const BEYOND: [c_int; 4] = [-1, c_int::MIN, c_int::MAX, 1 << 23];

/// The first device of node `a`, open.
fn opened(fabric: &Fabric) -> *mut ibv::ibv_context {
    let devices = config::devices(fabric.path(), "a").expect("a node");
    let list = device_list(devices);
    // SAFETY: a list of at least one device, which is freed once.
    unsafe {
        let context = ibv_open_device(*list);
        ibv_free_device_list(list);
        context
    }
}

#[test]
fn what_is_handed_back_twice_is_refused() {
    let (_parent, fabric) = fabric();
    let context = opened(&fabric);
    // SAFETY: every object is live, except where the test says otherwise.
    unsafe {
        let domain = ibv_alloc_pd(context);
        let channel = ibv_create_comp_channel(context);
        let queue = ibv_create_cq(context, 1, ptr::null_mut(), channel, 0);
        let pair = ibv_create_qp(domain, &mut description(queue, WANTED));
        let mut memory = [0_u8; 8];
        let region = ibv_reg_mr(domain, memory.as_mut_ptr().cast(), 8, 0);
        for expected in [0, libc::EINVAL] {
            assert_eq!(ibv_destroy_qp(pair), expected);
            assert_eq!(ibv_dereg_mr(region), expected);
            assert_eq!(ibv_destroy_cq(queue), expected);
            assert_eq!(ibv_destroy_comp_channel(channel), expected);
            assert_eq!(ibv_dealloc_pd(domain), expected);
        }
        assert_eq!(ibv_close_device(context), 0);
        assert_eq!((ibv_close_device(context), errno()), (-1, libc::EINVAL));
    }
}

#[test]
fn what_never_was_an_object_is_refused() {
    let (_parent, fabric) = fabric();
    let client = Client::open(&fabric, "a");
    // SAFETY: none of these reads an argument that it does not know.
    unsafe {
        assert_eq!(ibv_destroy_qp(ptr::null_mut()), libc::EINVAL);
        assert_eq!(ibv_destroy_cq(ptr::null_mut()), libc::EINVAL);
        assert_eq!(ibv_dereg_mr(ptr::null_mut()), libc::EINVAL);
        assert_eq!(ibv_dealloc_pd(ptr::null_mut()), libc::EINVAL);
        assert_eq!(ibv_destroy_comp_channel(ptr::null_mut()), libc::EINVAL);
        assert_eq!(ibv_destroy_qp(client.queue.cast()), libc::EINVAL);
    }
}

#[test]
fn what_is_used_stays() {
    let (_parent, fabric) = fabric();
    let client = Client::open(&fabric, "a");
    // SAFETY: live objects.
    unsafe {
        assert_eq!(ibv_dealloc_pd(client.domain), libc::EBUSY);
        let other = ibv_alloc_pd(client.context);
        let mut memory = [0_u8; 8];
        let region = ibv_reg_mr(other, memory.as_mut_ptr().cast(), 8, 0);
        assert_eq!(ibv_dealloc_pd(other), libc::EBUSY, "memory is in it");
        assert_eq!(ibv_dereg_mr(region), 0);
        assert_eq!(ibv_dealloc_pd(other), 0);
    }
}

#[test]
fn a_device_that_is_closed_early_closes_with_the_last_of_its_objects() {
    let (_parent, fabric) = fabric();
    let context = opened(&fabric);
    // SAFETY: live objects, except where the test says otherwise.
    unsafe {
        let (one, other) = (ibv_alloc_pd(context), ibv_alloc_pd(context));
        let held = Arc::downgrade(&(*Context::behind(context)).cable);
        assert_eq!(ibv_close_device(context), 0, "as far as one can tell");
        assert_eq!(ibv_dealloc_pd(one), 0);
        assert!(held.upgrade().is_some(), "the other needs it");
        assert_eq!(ibv_dealloc_pd(other), 0);
        assert!(held.upgrade().is_none());
    }
}

#[test]
fn completion_queues_have_a_size() {
    let (_parent, fabric) = fabric();
    let client = Client::open(&fabric, "a");
    // SAFETY: live objects.
    unsafe {
        let none = ptr::null_mut();
        for entries in [0].into_iter().chain(BEYOND) {
            assert!(ibv_create_cq(client.context, entries, none, none.cast(), 0).is_null());
            assert_eq!(errno(), libc::EINVAL);
            assert_eq!(ibv_resize_cq(client.queue, entries), libc::EINVAL);
        }
        assert!(ibv_create_cq(client.context, 1, none, none.cast(), 1).is_null());
        assert_eq!(errno(), libc::EINVAL, "there is one vector");
        assert_eq!(ibv_resize_cq(client.queue, COMPLETIONS), 0);
    }
}

#[test]
fn queue_pairs_hold_no_more_than_the_device_says() {
    let (_parent, fabric) = fabric();
    let client = Client::open(&fabric, "a");
    let too_much: [fn(&mut ibv::ibv_qp_init_attr); 7] = [
        |wanted| wanted.cap.max_send_wr = (1 << 14) + 1,
        |wanted| wanted.cap.max_recv_wr = u32::MAX,
        |wanted| wanted.cap.max_send_sge = 17,
        |wanted| wanted.cap.max_recv_sge = u32::MAX,
        |wanted| wanted.cap.max_inline_data = 1025,
        |wanted| wanted.send_cq = ptr::null_mut(),
        |wanted| wanted.recv_cq = ptr::null_mut(),
    ];
    for change in too_much {
        let mut wanted = description(client.queue, WANTED);
        change(&mut wanted);
        // SAFETY: a live protection domain.
        assert!(unsafe { ibv_create_qp(client.domain, &mut wanted) }.is_null());
        assert_eq!(errno(), libc::EINVAL);
    }
}

#[test]
fn there_is_one_port_with_two_gids_and_one_key() {
    let (_parent, fabric) = fabric();
    let context = Client::open(&fabric, "a");
    let context = context.context;
    let ports = [0, 2, u8::MAX].map(|port| (port, 0));
    let indices = BEYOND.map(|index| (PORT, index));
    // SAFETY: a live context, and room for the answers; integers and plain bytes, for
    // which zero is valid.
    unsafe {
        let mut port: ibv::ibv_port_attr = mem::zeroed();
        let mut gid = ibv::ibv_gid { raw: [0; 16] };
        let mut entry: ibv::ibv_gid_entry = mem::zeroed();
        let (room, mut key, mut kind) = (size_of_val(&entry), 0, 0);
        for (number, index) in ports.into_iter().chain(indices) {
            if number != PORT {
                assert_eq!(ibv_query_port(context, number, &mut port), libc::EINVAL);
            }
            assert_eq!(ibv_query_gid(context, number, index, &mut gid), -1);
            assert_eq!(ibv_query_pkey(context, number, index, &mut key), -1);
            let (wide, index) = (u32::from(number), index.cast_unsigned());
            let known = _ibv_query_gid_ex(context, wide, index, &mut entry, 0, room);
            assert_eq!(known, libc::EINVAL);
            assert_eq!(ibv_query_gid_type(context, number, index, &mut kind), -1);
        }
        assert_eq!(ibv_get_pkey_index(context, PORT, 7), -1);
    }
}

#[test]
fn memory_has_a_place_and_flags_that_are_known() {
    let (_parent, fabric) = fabric();
    let client = Client::open(&fabric, "a");
    let address = client.memory.as_ptr().cast_mut().cast();
    let nothing = ptr::null_mut();
    let wrong = [
        (nothing, 8, 0),
        (address, 0, 0),
        (address, usize::MAX, 0),
        (address, 8, 1 << 12),
    ];
    for (address, bytes, access) in wrong {
        // SAFETY: a live protection domain, and memory that is not accessed.
        assert!(unsafe { ibv_reg_mr(client.domain, address, bytes, access) }.is_null());
        assert_eq!(errno(), libc::EINVAL);
    }
}

#[test]
fn work_is_taken_in_the_states_for_it() {
    let (_parent, fabric) = fabric();
    let [a, b] = ["a", "b"].map(|node| Client::open(&fabric, node));
    let send = |client: &Client| client.send(1, ibv::IBV_WR_SEND);
    assert_eq!((send(&a), a.receive(1)), (libc::EINVAL, libc::EINVAL));
    a.initialise();
    assert_eq!((send(&a), a.receive(1)), (libc::EINVAL, 0));
    assert_eq!(a.route_to(b.number(), b.gid(1)), 0);
    assert_eq!(send(&a), libc::EINVAL);
}

#[test]
fn work_on_a_queue_pair_in_error_is_flushed() {
    let (_parent, fabric) = fabric();
    let [a, _b] = connected(&fabric);
    assert_eq!(a.receive(1), 0);
    assert_eq!(
        a.modify(&mut attributes(ibv::IBV_QPS_ERR), ibv::IBV_QP_STATE),
        0
    );
    assert_eq!((a.receive(2), a.send(3, ibv::IBV_WR_SEND)), (0, 0));
    let mut flushed = [a.complete(), a.complete(), a.complete()];
    flushed.sort_by_key(|completion| completion.wr_id);
    let flushed = flushed.map(|completion| (completion.wr_id, completion.status));
    assert_eq!(flushed, [1, 2, 3].map(|id| (id, ibv::IBV_WC_WR_FLUSH_ERR)));
}

#[test]
fn requests_hold_no_more_than_was_asked_for() {
    let (_parent, fabric) = fabric();
    let [a, b] = connected(&fabric);
    let mut entries = [a.entry(), a.entry()];
    let (count, most) = (entries.len() as c_int, WANTED.requests as usize);
    // SAFETY: integers and nullable pointers, for which zero is valid; live objects.
    unsafe {
        let mut send: ibv::ibv_send_wr = mem::zeroed();
        let mut receive: ibv::ibv_recv_wr = mem::zeroed();
        (send.sg_list, receive.sg_list) = (entries.as_mut_ptr(), entries.as_mut_ptr());
        let ops = (*a.context).ops;
        let (mut bad_send, mut bad_receive) = (ptr::null_mut(), ptr::null_mut());
        for count in [count, c_int::MAX, -1] {
            (send.num_sge, receive.num_sge) = (count, count);
            let sent = ops.post_send.expect("set")(a.pair, &mut send, &mut bad_send);
            assert_eq!((sent, bad_send), (libc::EINVAL, &raw mut send));
            let posted = ops.post_recv.expect("set")(a.pair, &mut receive, &mut bad_receive);
            assert_eq!((posted, bad_receive), (libc::EINVAL, &raw mut receive));
        }
        let nothing = ops.post_send.expect("set")(a.pair, ptr::null_mut(), &mut bad_send);
        assert_eq!(nothing, 0, "an empty list");
    }
    let mut long = a.entry();
    long.length = (1 << 20) + 1;
    let sent = a.post_send(1, ibv::IBV_WR_SEND, long, long, 0);
    assert_eq!(sent, libc::EMSGSIZE);
    assert!((0..most).all(|_| b.receive(1) == 0));
    assert_eq!(b.receive(1), libc::ENOMEM);
}

#[test]
fn memory_that_was_taken_back_meanwhile_is_an_error() {
    let (_parent, fabric) = fabric();
    let [mut a, b] = connected(&fabric);
    assert_eq!(b.receive(1), 0);
    let (entry, access) = (a.entry(), ACCESS as c_int);
    // SAFETY: live objects, and the client's memory.
    unsafe {
        assert_eq!(ibv_dereg_mr(a.region), 0);
        let length = a.memory.len();
        a.region = ibv_reg_mr(a.domain, entry.addr as *mut _, length, access);
    }
    assert_eq!(a.post_send(2, ibv::IBV_WR_SEND, entry, entry, 0), 0);
    assert_eq!(a.complete().status, ibv::IBV_WC_LOC_PROT_ERR);
}

#[test]
fn steps_that_there_are_not_are_refused() {
    let (_parent, fabric) = fabric();
    let [a, b] = ["a", "b"].map(|node| Client::open(&fabric, node));
    let step = |state| a.modify(&mut attributes(state), ibv::IBV_QP_STATE);
    for state in [ibv::IBV_QPS_RTR, ibv::IBV_QPS_RTS, ibv::IBV_QPS_ERR, 77] {
        assert_eq!(step(state), libc::EINVAL, "from RESET to {state}");
    }
    let refused = |state, mask, change: fn(&mut ibv::ibv_qp_attr)| {
        let mut attributes = attributes(state);
        change(&mut attributes);
        assert_eq!(a.modify(&mut attributes, mask), libc::EINVAL);
    };
    let (init, rts) = (ibv::IBV_QPS_INIT, ibv::IBV_QPS_RTS);
    refused(init, INITIALISED | ibv::IBV_QP_SQ_PSN, |_| {});
    refused(init, INITIALISED, |it| it.port_num = 0);
    refused(init, INITIALISED, |it| it.port_num = 2);
    refused(init, INITIALISED, |it| it.pkey_index = 1);
    a.connect(&b);
    refused(ibv::IBV_QPS_SQD, ibv::IBV_QP_STATE, |_| {});
    refused(rts, ibv::IBV_QP_STATE | ibv::IBV_QP_DEST_QPN, |_| {});
    refused(rts, ibv::IBV_QP_PATH_MTU, |_| {});
    assert_eq!(step(ibv::IBV_QPS_RESET), 0);
    assert_eq!(step(ibv::IBV_QPS_RTS), libc::EINVAL);
}

#[test]
fn a_reliable_queue_pair_wants_values_that_exist() {
    let (_parent, fabric) = fabric();
    let reliable = Client::open_kind(&fabric, "a", 0, ibv::IBV_QPT_RC);
    reliable.initialise();
    let wrong: [fn(&mut ibv::ibv_qp_attr); 4] = [
        |it| it.path_mtu = 0,
        |it| it.path_mtu = 6,
        |it| it.min_rnr_timer = 32,
        |it| it.max_dest_rd_atomic = READS + 1,
    ];
    for change in wrong {
        let mut ready = attributes(ibv::IBV_QPS_RTR);
        ready.ah_attr.is_global = 1;
        ready.ah_attr.grh.sgid_index = 1;
        change(&mut ready);
        assert_eq!(reliable.modify(&mut ready, READY_TO_RECEIVE), libc::EINVAL);
    }
    assert_eq!(reliable.route_to(1, reliable.gid(1)), 0);
    let wrong: [fn(&mut ibv::ibv_qp_attr); 4] = [
        |it| it.timeout = 32,
        |it| it.retry_cnt = 8,
        |it| it.rnr_retry = 8,
        |it| it.max_rd_atomic = READS + 1,
    ];
    for change in wrong {
        let mut ready = attributes(ibv::IBV_QPS_RTS);
        change(&mut ready);
        assert_eq!(reliable.modify(&mut ready, READY_TO_SEND), libc::EINVAL);
    }
    assert_eq!(
        reliable.modify(&mut attributes(ibv::IBV_QPS_RTS), READY_TO_SEND),
        0
    );
}
