//! The C interface as a client uses it: by pointers, in real time.

use std::{
    ffi::{CStr, c_void},
    mem,
    time::Duration,
};

use rig::{Defect, DeviceFault, End, Fault, Rig, Rules};

use super::{
    api::{completion::*, device::*, events::*, memory::*, query::*, queue_pair::*},
    bindings as ibv,
    objects::Context,
    *,
};
use client::*;
use softrail::{Fabric, config, live::Live};

mod arms;
mod bad_input;
#[path = "../tests/client/mod.rs"]
mod client;
mod completions;
mod faults;
mod hostile;
mod properties;
mod threads;
mod thunderbolt;

/// Enough requests and bytes for a test.
const WANTED: Wanted = Wanted {
    kind: ibv::IBV_QPT_UC,
    memory: 4096,
    requests: 4,
};

impl Client {
    /// Opens the first device of a node.
    fn open(fabric: &Fabric, node: &str) -> Self {
        Self::open_device(fabric, node, 0)
    }

    fn open_device(fabric: &Fabric, node: &str, device: usize) -> Self {
        Self::of(fabric.path(), node, device, WANTED)
    }

    /// Opens a device for a queue pair of a type.
    fn open_kind(fabric: &Fabric, node: &str, device: usize, kind: ibv::ibv_qp_type) -> Self {
        Self::of(fabric.path(), node, device, Wanted { kind, ..WANTED })
    }

    /// Replaces the queue pair by one that supports both ways of posting sends.
    fn rebuild(&mut self) -> *mut ibv::ibv_qp_ex {
        let mut wanted = whole(description(self.queue, WANTED), self.domain);
        // SAFETY: live objects, and the function that the context provides for it.
        unsafe {
            assert_eq!(ibv_destroy_qp(self.pair), 0);
            let context = Context::behind(self.context).cast::<ibv::verbs_context>();
            let create = (*context).create_qp_ex.expect("offered");
            self.pair = create(self.context, &mut wanted);
            ibv_qp_to_qp_ex(self.pair)
        }
    }

    /// Sends the memory, or writes it to or reads it from the start of `peer`'s memory.
    fn one_sided(&self, id: u64, opcode: ibv::ibv_wr_opcode, peer: &Client) -> c_int {
        self.post(id, opcode, peer.entry())
    }

    fn send(&self, id: u64, opcode: ibv::ibv_wr_opcode) -> c_int {
        self.post(id, opcode, self.entry())
    }

    fn send_flagged(&self, id: u64, flags: u32) -> c_int {
        self.post_send(id, ibv::IBV_WR_SEND, self.entry(), self.entry(), flags)
    }

    fn post(&self, id: u64, opcode: ibv::ibv_wr_opcode, remote: ibv::ibv_sge) -> c_int {
        self.post_send(id, opcode, self.entry(), remote, 0)
    }

    fn receive(&self, id: u64) -> c_int {
        self.post_receive(id, self.entry())
    }
}

fn errno() -> c_int {
    errno::errno().0
}

fn fabric() -> (tempfile::TempDir, Fabric) {
    fabric_with(vec![])
}

fn fabric_with(faults: Vec<Fault>) -> (tempfile::TempDir, Fabric) {
    fabric_of(&rdma().with_faults(faults))
}

/// The embedded rig with all that the emulation offers.
fn rdma() -> Rig {
    Rig::embedded().with_rules(Rules::rdma())
}

fn fabric_of(rig: &Rig) -> (tempfile::TempDir, Fabric) {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let fabric = Fabric::create(parent.path(), rig).expect("a fabric");
    (parent, fabric)
}

/// A fault of a device of node `a`.
fn broken(device: &str, kind: DeviceFault) -> Fault {
    let device = End {
        node: "a".to_owned(),
        device: device.to_owned(),
    };
    Defect::Device { device, kind }.into()
}

/// Two clients on the first cable, connected to each other.
fn connected(fabric: &Fabric) -> [Client; 2] {
    connected_by(fabric, ibv::IBV_QPT_UC)
}

fn connected_by(fabric: &Fabric, kind: ibv::ibv_qp_type) -> [Client; 2] {
    let [a, b] = ["a", "b"].map(|node| Client::open_kind(fabric, node, 0, kind));
    a.connect(&b);
    b.connect(&a);
    [a, b]
}

#[test]
fn a_message_goes_from_one_client_to_another() {
    let (_parent, fabric) = fabric();
    let [mut a, b] = connected(&fabric);
    a.memory.fill(42);
    assert_eq!(b.receive(7), 0);
    assert_eq!(a.send(5, ibv::IBV_WR_SEND), 0);

    let sent = a.complete();
    assert_eq!(
        (sent.wr_id, sent.status, sent.opcode),
        (5, ibv::IBV_WC_SUCCESS, ibv::IBV_WC_SEND)
    );
    let received = b.complete();
    assert_eq!((received.wr_id, received.opcode), (7, ibv::IBV_WC_RECV));
    assert_eq!((received.byte_len, received.qp_num), (4096, b.number()));
    assert!(b.memory.iter().all(|byte| *byte == 42));
    assert_eq!(fabric.cable_bytes()["cable-1"], 4096);
}

/// The queue pairs of all devices have the same numbers, so only the GID shows that a
/// message was meant for another cable.
#[test]
fn a_message_for_another_cable_does_not_arrive_on_this_one() {
    let (_parent, fabric) = fabric();
    let a = Client::open(&fabric, "a");
    let b = Client::open(&fabric, "b");
    let other = Client::open_device(&fabric, "b", 1);
    assert_eq!(b.number(), other.number());
    a.connect(&other);
    b.connect(&a);
    assert_eq!(b.receive(1), 0);
    assert_eq!(a.send(2, ibv::IBV_WR_SEND), 0);
    assert_eq!(a.complete().wr_id, 2);
    std::thread::sleep(Duration::from_millis(5));
    assert!(b.poll().is_none());
}

#[test]
fn without_a_fabric_there_is_no_list() {
    let mut count = -1;
    // SAFETY: room for a count.
    let list = unsafe { ibv_get_device_list(&mut count) };
    assert!(list.is_null());
    assert_eq!((count, errno()), (0, libc::ENOSYS));
}

/// The names on the device list of a node of the fabric. The list must end in null.
fn listed(fabric: &Fabric, node: &str) -> Vec<String> {
    let list = device_list(config::devices(fabric.path(), node).expect("a node"));
    let mut names = Vec::new();
    // SAFETY: a null-terminated list of live devices.
    unsafe {
        while !(*list.add(names.len())).is_null() {
            let name = CStr::from_ptr(ibv_get_device_name(*list.add(names.len())));
            names.push(name.to_str().expect("as in the rig").to_owned());
        }
        ibv_free_device_list(list);
    }
    names
}

#[test]
fn devices_are_named_as_in_the_rig() {
    let (_parent, fabric) = fabric();
    assert_eq!(listed(&fabric, "b"), ["rdma_en5", "rdma_en6", "rdma_en7"]);
}

#[test]
fn a_port_has_the_gids_that_jaccl_looks_for() {
    let (_parent, fabric) = fabric();
    let client = Client::open(&fabric, "a");
    // SAFETY: plain bytes.
    let (local, mapped) = unsafe { (client.gid(0).raw, client.gid(1).raw) };
    assert_eq!(local[..2], [0xfe, 0x80]);
    assert_eq!(mapped[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    let mut none = ibv::ibv_gid { raw: [0; 16] };
    // SAFETY: a live context and room for a GID.
    let status = unsafe { ibv_query_gid(client.context, PORT, 2, &mut none) };
    assert_ne!(status, 0);
}

/// The first libibverbs had a structure of 48 bytes, and its clients call the function
/// `ibv_query_port`.
#[test]
fn describing_a_port_writes_no_more_than_the_first_version_had() {
    let (_parent, fabric) = fabric();
    let client = Client::open(&fabric, "a");
    let mut bytes = [0xEE_u8; size_of::<ibv::ibv_port_attr>()];
    // SAFETY: room for the structure, for which all bytes are valid.
    let port = unsafe {
        assert_eq!(
            ibv_query_port(client.context, PORT, bytes.as_mut_ptr().cast()),
            0
        );
        bytes.as_ptr().cast::<ibv::ibv_port_attr>().read_unaligned()
    };
    assert_eq!((port.state, port.gid_tbl_len), (ibv::IBV_PORT_ACTIVE, 2));
    assert!(bytes[48..].iter().all(|byte| *byte == 0xEE));
    // SAFETY: as above.
    let wrong = unsafe { ibv_query_port(client.context, 2, bytes.as_mut_ptr().cast()) };
    assert_eq!(wrong, libc::EINVAL);
}

#[test]
fn connecting_without_a_route_is_refused_as_in_the_field() {
    let (_parent, fabric) = fabric();
    let client = Client::open(&fabric, "a");
    client.initialise();
    let mut ready = attributes(ibv::IBV_QPS_RTR);
    assert_eq!(
        client.modify(&mut ready, READY_TO_RECEIVE),
        libc::EINVAL,
        "no global route"
    );
    ready.ah_attr.is_global = 1;
    ready.ah_attr.grh.sgid_index = 2;
    assert_eq!(
        client.modify(&mut ready, READY_TO_RECEIVE),
        libc::EINVAL,
        "no such GID"
    );
    let mut send = attributes(ibv::IBV_QPS_RTS);
    assert_eq!(
        client.modify(&mut send, READY_TO_SEND),
        libc::EINVAL,
        "not connected"
    );
}

#[test]
fn what_is_not_emulated_says_so() {
    let (_parent, fabric) = fabric();
    let (a, b) = (Client::open(&fabric, "a"), Client::open(&fabric, "b"));
    a.connect(&b);
    let atomic = ibv::IBV_WR_ATOMIC_FETCH_AND_ADD;
    assert_eq!(a.send(1, atomic), libc::EOPNOTSUPP);
    // SAFETY: live objects.
    unsafe {
        let mut datagrams = description(a.queue, WANTED);
        datagrams.qp_type = ibv::IBV_QPT_UD;
        assert!(ibv_create_qp(a.domain, &mut datagrams).is_null());
        assert_eq!(errno(), libc::EOPNOTSUPP);
        assert!(ibv_qp_to_qp_ex(a.pair).is_null());
        let on_demand = ibv::IBV_ACCESS_ON_DEMAND as c_int;
        let address = a.memory.as_ptr().cast_mut().cast();
        assert!(ibv_reg_mr(a.domain, address, 8, on_demand).is_null());
        assert_eq!(errno(), libc::EOPNOTSUPP);
    }
    assert!(api::absent::ibv_create_srq().is_null());
    assert_eq!(errno(), libc::EOPNOTSUPP);
}

#[test]
fn memory_that_others_may_write_must_be_writable_here() {
    let (_parent, fabric) = fabric();
    let client = Client::open(&fabric, "a");
    let address = client.memory.as_ptr().cast_mut().cast();
    let access = ibv::IBV_ACCESS_REMOTE_WRITE as c_int;
    // SAFETY: a live protection domain and the client's memory.
    assert!(unsafe { ibv_reg_mr(client.domain, address, 8, access) }.is_null());
    assert_eq!(errno(), libc::EINVAL);
}

/// The other end sleeps or does other work all the while.
#[test]
fn memory_is_written_and_read_without_its_application() {
    let (_parent, fabric) = fabric();
    let [a, b] = connected_by(&fabric, ibv::IBV_QPT_RC);
    let [mut a, mut b] = [a, b];
    a.memory.fill(42);
    assert_eq!(a.one_sided(1, ibv::IBV_WR_RDMA_WRITE, &b), 0);
    let written = a.complete();
    assert_eq!(
        (written.wr_id, written.status, written.opcode),
        (1, ibv::IBV_WC_SUCCESS, ibv::IBV_WC_RDMA_WRITE)
    );
    assert!(b.memory.iter().all(|byte| *byte == 42));

    b.memory.fill(7);
    assert_eq!(a.one_sided(2, ibv::IBV_WR_RDMA_READ, &b), 0);
    let read = a.complete();
    assert_eq!((read.wr_id, read.opcode), (2, ibv::IBV_WC_RDMA_READ));
    assert!(a.memory.iter().all(|byte| *byte == 7));
}

/// Sends for which there is no room leave one after the other, although the sender does
/// not look again.
#[test]
fn what_waits_for_room_goes_on_without_its_application() {
    let (_parent, fabric) = fabric();
    let wanted = Wanted {
        memory: 64 * 1024,
        requests: 64,
        ..WANTED
    };
    let [a, b] = ["a", "b"].map(|node| Client::of(fabric.path(), node, 0, wanted));
    a.connect(&b);
    b.connect(&a);
    for _ in 0..64 {
        assert_eq!(b.receive(1), 0);
        assert_eq!(a.send(2, ibv::IBV_WR_SEND), 0);
    }
    for _ in 0..64 {
        assert_eq!(b.complete().status, ibv::IBV_WC_SUCCESS);
    }
}

#[test]
fn a_reliable_send_is_answered_without_its_receiver_looking() {
    let (_parent, fabric) = fabric();
    let [a, b] = connected_by(&fabric, ibv::IBV_QPT_RC);
    assert_eq!((b.receive(1), a.send(2, ibv::IBV_WR_SEND)), (0, 0));
    assert_eq!(a.complete().status, ibv::IBV_WC_SUCCESS);
    assert_eq!(b.poll().map(|wc| wc.wr_id), Some(1));
}

#[test]
fn a_violation_is_told_to_both_ends() {
    let (_parent, fabric) = fabric();
    let [a, b] = connected_by(&fabric, ibv::IBV_QPT_RC);
    let mut beyond = b.entry();
    beyond.addr += 1;
    assert_eq!(a.post(1, ibv::IBV_WR_RDMA_WRITE, beyond), 0);
    assert_eq!(a.complete().status, ibv::IBV_WC_REM_ACCESS_ERR);
    // SAFETY: live objects, and room for the answers; integers and nullable pointers,
    // for which zero is valid.
    unsafe {
        let mut event = async_event(&b);
        assert_eq!(event.event_type, ibv::IBV_EVENT_QP_ACCESS_ERR);
        assert_eq!(event.element.qp, b.pair);
        ibv_ack_async_event(&mut event);
        let (mut attributes, mut wanted) = mem::zeroed();
        assert_eq!(ibv_query_qp(a.pair, &mut attributes, 0, &mut wanted), 0);
        assert_eq!(attributes.qp_state, ibv::IBV_QPS_ERR);
        assert_eq!((attributes.timeout, wanted.cap.max_send_wr), (14, 4));
    }
}

/// Longer than any event takes, in milliseconds.
const SOON: c_int = 30_000;

/// Polls a descriptor for this long.
pub fn is_readable(fd: c_int, milliseconds: c_int) -> bool {
    let mut descriptor = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one descriptor.
    unsafe { libc::poll(&mut descriptor, 1, milliseconds) == 1 }
}

/// Polls the channel's descriptor for this long.
fn has_event(client: &Client, milliseconds: c_int) -> bool {
    // SAFETY: a live channel.
    is_readable(unsafe { (*client.channel).fd }, milliseconds)
}

/// The next event of the client's channel, which must be acknowledged.
fn cq_event(client: &Client) -> (*mut ibv::ibv_cq, *mut c_void) {
    assert!(has_event(client, SOON));
    let (mut queue, mut name) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: a live channel, and room for the answers.
    let errno = unsafe { ibv_get_cq_event(client.channel, &mut queue, &mut name) };
    assert_eq!(errno, 0);
    (queue, name)
}

/// The next asynchronous event of the client's device, which must be acknowledged.
fn async_event(client: &Client) -> ibv::ibv_async_event {
    // SAFETY: integers and a union of integers and nullable pointers, for which zero is
    // valid; a live context, and room for the answer.
    unsafe {
        assert!(is_readable((*client.context).async_fd, SOON));
        let mut event = mem::zeroed();
        assert_eq!(ibv_get_async_event(client.context, &mut event), 0);
        event
    }
}

fn arm(client: &Client, solicited_only: c_int) {
    // SAFETY: live objects.
    let errno = unsafe {
        let notify = (*client.context).ops.req_notify_cq.expect("emulated");
        notify(client.queue, solicited_only)
    };
    assert_eq!(errno, 0);
}

#[test]
fn a_sleeper_is_woken_by_what_completes_after_it_asked() {
    let (_parent, fabric) = fabric();
    for kind in [ibv::IBV_QPT_UC, ibv::IBV_QPT_RC] {
        let [a, b] = connected_by(&fabric, kind);
        arm(&b, 0);
        assert!(!has_event(&b, 5), "nothing was sent");
        assert_eq!((b.receive(1), a.send(2, ibv::IBV_WR_SEND)), (0, 0));
        assert!(has_event(&b, SOON));
        let (queue, name) = cq_event(&b);
        assert_eq!((queue, name as usize), (b.queue, QUEUE_NAME));
        // SAFETY: a live completion queue.
        unsafe { ibv_ack_cq_events(queue, 1) };
        assert_eq!(b.poll().map(|wc| wc.wr_id), Some(1));
        assert!(!has_event(&b, 5), "one was asked for");
    }
}

#[test]
fn a_sender_that_sleeps_is_woken_when_its_message_has_left() {
    let (_parent, fabric) = fabric();
    for kind in [ibv::IBV_QPT_UC, ibv::IBV_QPT_RC] {
        let [a, b] = connected_by(&fabric, kind);
        assert_eq!(b.receive(1), 0);
        arm(&a, 0);
        assert_eq!(a.send(2, ibv::IBV_WR_SEND), 0);
        assert!(has_event(&a, SOON));
        assert_eq!(a.poll().map(|wc| wc.wr_id), Some(2));
    }
}

#[test]
fn who_waits_for_solicited_messages_sleeps_through_others() {
    let (_parent, fabric) = fabric();
    let [a, b] = connected_by(&fabric, ibv::IBV_QPT_UC);
    assert_eq!((b.receive(1), b.receive(2)), (0, 0));
    arm(&b, 1);
    assert_eq!(a.send(3, ibv::IBV_WR_SEND), 0);
    a.complete();
    assert!(!has_event(&b, 50));
    assert_eq!(a.send_flagged(4, ibv::IBV_SEND_SOLICITED), 0);
    assert!(has_event(&b, SOON));
}

#[test]
fn sends_are_built_piece_by_piece_and_posted_together() {
    let (_parent, fabric) = fabric();
    let [mut a, b] = ["a", "b"].map(|node| Client::open(&fabric, node));
    let ex = a.rebuild();
    a.connect(&b);
    b.connect(&a);
    assert_eq!((b.receive(1), b.receive(2)), (0, 0));
    let entry = a.entry();
    // SAFETY: a live queue pair, the functions that it provides, and memory of these
    // lengths.
    unsafe {
        (*ex).wr_start.expect("set")(ex);
        (*ex).wr_id = 5;
        (*ex).wr_flags = 0;
        (*ex).wr_send.expect("set")(ex);
        (*ex).wr_set_sge.expect("set")(ex, entry.lkey, entry.addr, 4);
        (*ex).wr_id = 6;
        (*ex).wr_flags = ibv::IBV_SEND_SIGNALED;
        (*ex).wr_send_imm.expect("set")(ex, 9);
        (*ex).wr_set_inline_data.expect("set")(ex, [8_u8, 9].as_mut_ptr().cast(), 2);
        assert_eq!((*ex).wr_complete.expect("set")(ex), 0);
    }
    assert_eq!(a.complete().wr_id, 6);
    let received = [b.complete(), b.complete()];
    assert_eq!(received.map(|wc| wc.byte_len), [4, 2]);
    // SAFETY: a union of integers.
    assert_eq!(unsafe { received[1].__bindgen_anon_1.imm_data }, 9);

    // SAFETY: as above.
    let status = unsafe {
        (*ex).wr_start.expect("set")(ex);
        (*ex).wr_set_sge.expect("set")(ex, entry.lkey, entry.addr, 4);
        (*ex).wr_complete.expect("set")(ex)
    };
    assert_eq!(status, libc::EINVAL, "there was no request to set");
}

/// The longer description of a queue pair that supports both ways of posting sends.
fn whole(wanted: ibv::ibv_qp_init_attr, domain: *mut ibv::ibv_pd) -> ibv::ibv_qp_init_attr_ex {
    // SAFETY: integers and nullable pointers, for which zero is valid.
    let mut whole: ibv::ibv_qp_init_attr_ex = unsafe { mem::zeroed() };
    whole.send_cq = wanted.send_cq;
    whole.recv_cq = wanted.recv_cq;
    whole.cap = wanted.cap;
    whole.cap.max_inline_data = 16;
    whole.qp_type = wanted.qp_type;
    whole.comp_mask = ibv::IBV_QP_INIT_ATTR_PD | ibv::IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    whole.pd = domain;
    whole.send_ops_flags = u64::from(ibv::IBV_QP_EX_WITH_SEND | ibv::IBV_QP_EX_WITH_SEND_WITH_IMM);
    whole
}

#[test]
fn the_tables_of_gids_agree() {
    let (_parent, fabric) = fabric_with(vec![broken("rdma_en5", DeviceFault::NoGid)]);
    for (node, entries) in [("a", 1), ("b", 2)] {
        let client = Client::open(&fabric, node);
        // SAFETY: a live context, and room for the answers; integers and plain bytes,
        // for which zero is valid.
        unsafe {
            let mut table: [ibv::ibv_gid_entry; 4] = mem::zeroed();
            let size = size_of::<ibv::ibv_gid_entry>();
            let found = _ibv_query_gid_table(client.context, table.as_mut_ptr(), 4, 0, size);
            assert_eq!(found, entries);
            for index in 0..2 {
                let mut entry: ibv::ibv_gid_entry = mem::zeroed();
                let port = u32::from(PORT);
                let status = _ibv_query_gid_ex(client.context, port, index, &mut entry, 0, size);
                if (index as isize) < entries {
                    assert_eq!(status, 0);
                    let same = table[index as usize];
                    assert_eq!((entry.gid_index, entry.gid_type), (index, same.gid_type));
                    assert_eq!(entry.gid.raw, same.gid.raw);
                    assert_eq!(entry.gid.raw, client.gid(index as c_int).raw);
                } else {
                    assert_eq!(status, libc::ENODATA);
                }
            }
        }
    }
}

#[test]
fn steps_without_their_attributes_are_refused() {
    let (_parent, fabric) = fabric();
    let reliable = Client::open_kind(&fabric, "a", 0, ibv::IBV_QPT_RC);
    let mut initial = attributes(ibv::IBV_QPS_INIT);
    initial.port_num = PORT;
    let without = INITIALISED & !ibv::IBV_QP_ACCESS_FLAGS;
    assert_eq!(reliable.modify(&mut initial, without), libc::EINVAL);
    reliable.initialise();
    let mut ready = attributes(ibv::IBV_QPS_RTR);
    ready.ah_attr.is_global = 1;
    ready.ah_attr.grh.sgid_index = 1;
    let without = READY_TO_RECEIVE & !ibv::IBV_QP_MIN_RNR_TIMER;
    assert_eq!(reliable.modify(&mut ready, without), libc::EINVAL);
    assert_eq!(reliable.modify(&mut ready, READY_TO_RECEIVE), 0);
}

#[test]
fn a_device_runs_out_of_queue_pairs() {
    let (_parent, fabric) = fabric();
    let client = Client::open(&fabric, "a");
    // SAFETY: live objects; every queue pair is destroyed.
    unsafe {
        let more: Vec<_> = (0..softrail::shm::SLOTS)
            .map(|_| ibv_create_qp(client.domain, &mut description(client.queue, WANTED)))
            .collect();
        assert_eq!(errno(), libc::ENOMEM);
        let (refused, made): (Vec<_>, Vec<_>) = more.into_iter().partition(|pair| pair.is_null());
        assert_eq!(refused.len(), 1);
        for pair in made {
            assert_eq!(ibv_destroy_qp(pair), 0);
        }
    }
}

#[test]
fn messages_that_wait_for_a_receive_are_counted_and_so_are_those_behind_them() {
    let (_parent, fabric) = fabric();
    let live = Live::attach(fabric.path()).expect("it is up");
    let [a, b] = connected(&fabric);
    for id in [1, 2] {
        assert_eq!(a.send(id, ibv::IBV_WR_SEND), 0);
    }
    assert_eq!([a.complete().wr_id, a.complete().wr_id], [1, 2]);
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(live.counters()[0].pending, 2);
    assert_eq!((b.receive(3), b.receive(4)), (0, 0));
    assert_eq!([b.complete().wr_id, b.complete().wr_id], [3, 4]);
    let counted = &live.counters()[0];
    assert_eq!(
        (counted.from.as_str(), counted.to.as_str()),
        ("a:rdma_en5", "b:rdma_en5")
    );
    assert_eq!(
        (counted.waited, counted.depth, counted.lost),
        (2, Some(2), 0)
    );
    assert_eq!(counted.pending, 0);
    assert_eq!(counted.bytes, 2 * 4096);
}
