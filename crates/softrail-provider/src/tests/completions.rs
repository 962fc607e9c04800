//! Completion queues that fill up, and the events of them.

use super::*;
use crate::api::completion::ibv_resize_cq;

/// Makes a client's completion queue this long.
fn resize(client: &Client, entries: c_int) -> c_int {
    // SAFETY: a live completion queue.
    unsafe { ibv_resize_cq(client.queue, entries) }
}

#[test]
fn a_completion_queue_has_the_size_that_was_asked_for() {
    let (_parent, fabric) = fabric();
    let [a, b] = connected(&fabric);
    // SAFETY: a live completion queue.
    let shown = || unsafe { (*b.queue).cqe };
    assert_eq!(shown(), 8);
    assert_eq!((b.receive(1), b.receive(2)), (0, 0));
    assert_eq!(
        (a.send(3, ibv::IBV_WR_SEND), a.send(4, ibv::IBV_WR_SEND)),
        (0, 0)
    );
    assert_eq!([a.complete().wr_id, a.complete().wr_id], [3, 4]);
    assert_eq!(b.complete().wr_id, 1);
    // The second arrived with the first or comes now.
    arm(&b, 0);
    let arrived = b.poll();
    assert_eq!((resize(&b, 3), shown()), (0, 3));
    assert!(arrived.is_some() || b.complete().wr_id == 2);
}

#[test]
fn a_completion_queue_is_not_made_shorter_than_what_is_in_it() {
    let (_parent, fabric) = fabric();
    let [a, _b] = connected(&fabric);
    let error = &mut attributes(ibv::IBV_QPS_ERR);
    assert_eq!(a.modify(error, ibv::IBV_QP_STATE), 0);
    for id in 1..=3 {
        assert_eq!(a.receive(id), 0);
    }
    assert_eq!(a.complete().status, ibv::IBV_WC_WR_FLUSH_ERR);
    assert_eq!((resize(&a, 1), resize(&a, 2)), (libc::EINVAL, 0));
    assert_eq!([a.complete().wr_id, a.complete().wr_id], [2, 3]);
}

/// An overrun of a completion queue is an event of the queue and of each queue pair that
/// reports to it, also of one that nobody polls.
#[test]
fn an_overrun_is_told_and_ends_the_queue_pairs() {
    let (_parent, fabric) = fabric();
    let [a, b] = connected(&fabric);
    let mut attributes = attributes(ibv::IBV_QPS_INIT);
    // SAFETY: live objects, which are destroyed at the end; room for the answers;
    // integers and nullable pointers, for which zero is valid.
    unsafe {
        let other = ibv_create_qp(b.domain, &mut description(b.queue, WANTED));
        let mask = INITIALISED as c_int;
        assert_eq!(ibv_modify_qp(other, &mut attributes, mask), 0);
        assert_eq!(resize(&b, 1), 0);
        for id in 1..=3 {
            assert_eq!((b.receive(id), a.send(id, ibv::IBV_WR_SEND)), (0, 0));
            assert_eq!(a.complete().status, ibv::IBV_WC_SUCCESS);
        }
        // All have arrived, and the one place is for the first.
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(b.complete().wr_id, 1);

        let mut events = [(); 3].map(|()| async_event(&b));
        assert_eq!(events[0].event_type, ibv::IBV_EVENT_CQ_ERR);
        assert_eq!(events[0].element.cq, b.queue);
        let mut ended = [1, 2].map(|index: usize| {
            assert_eq!(events[index].event_type, ibv::IBV_EVENT_QP_FATAL);
            events[index].element.qp
        });
        ended.sort();
        let mut all = [b.pair, other];
        all.sort();
        assert_eq!(ended, all);
        for event in &mut events {
            ibv_ack_async_event(event);
        }
        for pair in all {
            let (mut attributes, mut wanted): (ibv::ibv_qp_attr, _) = mem::zeroed();
            assert_eq!(ibv_query_qp(pair, &mut attributes, 0, &mut wanted), 0);
            assert_eq!(attributes.qp_state, ibv::IBV_QPS_ERR);
        }
        assert!(b.poll().is_none(), "what came later is lost");
        assert_eq!(ibv_destroy_qp(other), 0);
    }
}

#[test]
fn a_program_that_arms_and_then_polls_gets_its_event() {
    let (_parent, fabric) = fabric();
    let [a, b] = connected(&fabric);
    for id in 1..=100 {
        arm(&b, 0);
        assert_eq!((b.receive(id), a.send(id, ibv::IBV_WR_SEND)), (0, 0));
        assert_eq!(b.complete().wr_id, id);
        assert!(has_event(&b, 0), "it was asked for before");
        let (queue, _) = cq_event(&b);
        // SAFETY: a live completion queue.
        unsafe { ibv_ack_cq_events(queue, 1) };
        a.complete();
    }
}

#[test]
fn events_of_a_queue_that_is_gone_do_not_make_the_channel_readable() {
    let (_parent, fabric) = fabric();
    let [mut a, _b] = connected(&fabric);
    arm(&a, 0);
    assert_eq!(a.send(1, ibv::IBV_WR_SEND), 0);
    assert!(has_event(&a, SOON));
    // SAFETY: live objects, of which new ones take the places of those destroyed.
    unsafe {
        assert_eq!(ibv_destroy_qp(a.pair), 0);
        assert_eq!(ibv_destroy_cq(a.queue), 0);
        assert!(!has_event(&a, 0));
        a.queue = ibv_create_cq(a.context, 8, ptr::null_mut(), a.channel, 0);
        a.pair = ibv_create_qp(a.domain, &mut description(a.queue, WANTED));
    }
}
