//! Calls that several threads make at the same time, as libibverbs permits. A thread
//! sanitiser sees the races that these tests do not.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use super::*;

/// Pointers that threads share. libibverbs permits it.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);

// SAFETY: the functions that take these pointers may be called from any thread.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// A client that threads share.
struct Common(Client);

// SAFETY: as for `Shared`.
unsafe impl Sync for Common {}

impl Common {
    fn get(&self) -> &Client {
        &self.0
    }
}

/// Checks that `destroy` waits for `acknowledge`.
fn waits(destroy: impl FnOnce() -> c_int + Send, acknowledge: impl FnOnce()) {
    let is_destroyed = AtomicBool::new(false);
    thread::scope(|scope| {
        let destroys = scope.spawn(|| {
            let errno = destroy();
            is_destroyed.store(true, Ordering::SeqCst);
            errno
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!is_destroyed.load(Ordering::SeqCst), "it did not wait");
        acknowledge();
        assert_eq!(destroys.join().expect("no panic"), 0);
    });
}

#[test]
fn a_completion_queue_is_freed_when_its_events_are_acknowledged() {
    let (_parent, fabric) = fabric();
    let [mut a, _b] = connected(&fabric);
    for id in [1, 2] {
        arm(&a, 0);
        assert_eq!(a.send(id, ibv::IBV_WR_SEND), 0);
        assert_eq!(a.complete().wr_id, id);
        assert_eq!(cq_event(&a).0, a.queue);
    }
    // SAFETY: live objects, of which new ones take the places of those destroyed.
    unsafe {
        assert_eq!(ibv_destroy_qp(a.pair), 0);
        ibv_ack_cq_events(a.queue, 1);
        let queue = Shared(a.queue);
        let acknowledge = || {
            assert_eq!((*queue.get()).cq_context as usize, QUEUE_NAME, "it lives");
            ibv_ack_cq_events(queue.get(), 1);
        };
        waits(|| ibv_destroy_cq(queue.get()), acknowledge);
        a.queue = ibv_create_cq(a.context, 8, ptr::null_mut(), a.channel, 0);
        a.pair = ibv_create_qp(a.domain, &mut description(a.queue, WANTED));
    }
}

#[test]
fn a_queue_pair_is_freed_when_its_events_are_acknowledged() {
    let (_parent, fabric) = fabric();
    let [a, mut b] = connected_by(&fabric, ibv::IBV_QPT_RC);
    let mut beyond = b.entry();
    beyond.addr += 1;
    assert_eq!(a.post(1, ibv::IBV_WR_RDMA_WRITE, beyond), 0);
    let mut event = async_event(&b);
    // SAFETY: live objects, of which a new one takes the place of the one destroyed.
    unsafe {
        let pair = Shared(b.pair);
        let acknowledge = || {
            assert_eq!(event.element.qp, pair.get());
            ibv_ack_async_event(&mut event);
        };
        waits(|| ibv_destroy_qp(pair.get()), acknowledge);
        b.pair = ibv_create_qp(b.domain, &mut description(b.queue, WANTED));
    }
}

/// One thread reads events and uses the queue that each names, while another destroys
/// the queues.
#[test]
fn a_queue_that_an_event_names_is_there_until_the_event_is_acknowledged() {
    let (_parent, fabric) = fabric();
    let a = Common(Client::open(&fabric, "a"));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                if !has_event(a.get(), 1) {
                    continue;
                }
                let (mut queue, mut name) = (ptr::null_mut(), ptr::null_mut());
                // SAFETY: a live channel, room for the answers, and a completion queue
                // that lives until its event is acknowledged.
                unsafe {
                    let channel = a.get().channel;
                    if ibv_get_cq_event(channel, &mut queue, &mut name) == 0 {
                        assert_eq!((*queue).cq_context, name);
                        ibv_ack_cq_events(queue, 1);
                    }
                }
            }
        });
        let a = a.get();
        for round in 1..=200 {
            // SAFETY: live objects, which are destroyed at the end of the round.
            unsafe {
                let flags = libc::fcntl((*a.channel).fd, libc::F_GETFL);
                libc::fcntl((*a.channel).fd, libc::F_SETFL, flags | libc::O_NONBLOCK);
                let name = ptr::without_provenance_mut(round);
                let queue = ibv_create_cq(a.context, 8, name, a.channel, 0);
                let pair = ibv_create_qp(a.domain, &mut description(queue, WANTED));
                let [own, other] = [pair, queue.cast()].map(Shared);
                let mut initial = attributes(ibv::IBV_QPS_INIT);
                let mask = INITIALISED as c_int;
                assert_eq!(ibv_modify_qp(own.get(), &mut initial, mask), 0);
                let ops = (*a.context).ops;
                let mut entry = a.entry();
                let mut receive: ibv::ibv_recv_wr = mem::zeroed();
                (receive.sg_list, receive.num_sge) = (&mut entry, 1);
                let mut bad = ptr::null_mut();
                let posted = ops.post_recv.expect("set")(pair, &mut receive, &mut bad);
                assert_eq!(posted, 0);
                assert_eq!(ops.req_notify_cq.expect("set")(queue, 0), 0);
                // Flushes the receive, which is an event.
                let mut error = attributes(ibv::IBV_QPS_ERR);
                let mask = ibv::IBV_QP_STATE as c_int;
                assert_eq!(ibv_modify_qp(pair, &mut error, mask), 0);
                let mut completion = mem::zeroed();
                while ops.poll_cq.expect("set")(queue, 1, &mut completion) == 0 {}
                assert_eq!(ibv_destroy_qp(pair), 0);
                assert_eq!(ibv_destroy_cq(other.get().cast()), 0);
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
}

/// Threads modify, query, post to and poll one queue pair. Attributes that are set
/// together are read together, and every request completes.
#[test]
fn a_queue_pair_is_modified_queried_and_used_at_the_same_time() {
    const ROUNDS: u64 = 2_000;
    let (_parent, fabric) = fabric();
    let [a, b] = connected_by(&fabric, ibv::IBV_QPT_RC).map(Common);
    let posted = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let settings = |value: u8| {
        let mut all = attributes(ibv::IBV_QPS_RTS);
        all.alt_port_num = value;
        all.alt_timeout = value;
        all.alt_ah_attr.dlid = u16::from(value);
        all.alt_ah_attr.grh.dgid.raw = [value; 16];
        all
    };
    thread::scope(|scope| {
        for first in [0, 100] {
            let a = &a;
            let is_over = &is_over;
            scope.spawn(move || {
                let mask = ibv::IBV_QP_STATE | ibv::IBV_QP_ALT_PATH;
                for round in 0.. {
                    let value = first + (round % 100) as u8;
                    let errno = a.get().modify(&mut settings(value), mask);
                    if errno != 0 || is_over.load(Ordering::SeqCst) {
                        assert!(is_over.load(Ordering::SeqCst), "the state permits it");
                        return;
                    }
                }
            });
        }
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                // SAFETY: a live queue pair, and room for the answers; integers and
                // nullable pointers, for which zero is valid.
                let (kept, shown) = unsafe {
                    let (mut kept, mut wanted): (ibv::ibv_qp_attr, _) = mem::zeroed();
                    let pair = a.get().pair;
                    assert_eq!(ibv_query_qp(pair, &mut kept, 0, &mut wanted), 0);
                    (kept, kept.alt_ah_attr.grh.dgid.raw)
                };
                let together = (kept.alt_timeout, kept.alt_ah_attr.dlid, shown);
                let value = kept.alt_port_num;
                assert_eq!(together, (value, u16::from(value), [value; 16]));
            }
        });
        scope.spawn(|| {
            let mut received = 0;
            let mut outstanding = 0;
            while received < ROUNDS {
                while outstanding < 4 && b.get().receive(received) == 0 {
                    outstanding += 1;
                }
                if let Some(completion) = b.get().poll() {
                    assert_eq!(completion.status, ibv::IBV_WC_SUCCESS);
                    received += 1;
                    outstanding -= 1;
                }
            }
        });
        scope.spawn(|| {
            while posted.load(Ordering::SeqCst) < ROUNDS {
                match a
                    .get()
                    .send(posted.load(Ordering::SeqCst), ibv::IBV_WR_SEND)
                {
                    0 => _ = posted.fetch_add(1, Ordering::SeqCst),
                    full => assert_eq!(full, libc::ENOMEM),
                }
            }
        });
        for id in 0..ROUNDS {
            let completion = a.get().complete();
            assert_eq!((completion.wr_id, completion.status), (id, 0));
        }
        is_over.store(true, Ordering::SeqCst);
    });
}

/// A queue pair that is moved to ERR beside the thread that posts flushes what was
/// accepted, no more and no less.
#[test]
fn every_request_completes_when_the_queue_pair_is_moved_to_error_beside_the_poster() {
    for _ in 0..20 {
        let (_parent, fabric) = fabric();
        let [a, _b] = connected(&fabric).map(Common);
        let accepted = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for id in 0..400 {
                    if a.get().receive(id) == 0 {
                        accepted.fetch_add(1, Ordering::SeqCst);
                    }
                    a.get().poll().inspect(|_| {
                        accepted.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            });
            let error = &mut attributes(ibv::IBV_QPS_ERR);
            assert_eq!(a.get().modify(error, ibv::IBV_QP_STATE), 0);
        });
        for _ in 0..accepted.load(Ordering::SeqCst) {
            assert_eq!(a.get().complete().status, ibv::IBV_WC_WR_FLUSH_ERR);
        }
        assert!(a.get().poll().is_none());
    }
}
