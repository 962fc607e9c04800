//! A client of the C interface, for the tests and the benchmark, which include this file:
//! a device with one queue pair and one registered memory region, by pointers and in real
//! time.
//!
//! It asserts that calls that always succeed do. A call that a test may expect to fail
//! returns its `errno`.
#![allow(unsafe_code)]
// Each of the programs that include it uses a part.
#![allow(dead_code)]

use std::{
    ffi::c_int,
    mem,
    path::Path,
    ptr,
    time::{Duration, Instant},
};

use softrail::config;
use softrail_provider::{
    api::{completion::*, device::*, memory::*, query::*, queue_pair::*},
    bindings as ibv,
};

/// An open device with everything that a connection needs.
#[derive(Debug)]
pub struct Client {
    pub context: *mut ibv::ibv_context,
    pub channel: *mut ibv::ibv_comp_channel,
    pub domain: *mut ibv::ibv_pd,
    pub queue: *mut ibv::ibv_cq,
    pub pair: *mut ibv::ibv_qp,
    pub region: *mut ibv::ibv_mr,
    pub memory: Box<[u8]>,
}

/// The options of a client.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The type of its queue pair.
    pub kind: ibv::ibv_qp_type,
    /// Bytes of its memory.
    pub memory: usize,
    /// Sends, and receives, that may be outstanding.
    pub requests: u32,
}

/// The application's context value of its completion queue.
pub const QUEUE_NAME: usize = 0x51;

/// The time limit for events that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The access rights of the other end.
pub const ACCESS: u32 =
    ibv::IBV_ACCESS_LOCAL_WRITE | ibv::IBV_ACCESS_REMOTE_WRITE | ibv::IBV_ACCESS_REMOTE_READ;

/// The attributes of the transition to INIT.
pub const INITIALISED: u32 =
    ibv::IBV_QP_STATE | ibv::IBV_QP_PKEY_INDEX | ibv::IBV_QP_PORT | ibv::IBV_QP_ACCESS_FLAGS;

/// The attributes of the transition to RTR.
pub const READY_TO_RECEIVE: u32 = ibv::IBV_QP_STATE
    | ibv::IBV_QP_AV
    | ibv::IBV_QP_PATH_MTU
    | ibv::IBV_QP_DEST_QPN
    | ibv::IBV_QP_RQ_PSN
    | ibv::IBV_QP_MAX_DEST_RD_ATOMIC
    | ibv::IBV_QP_MIN_RNR_TIMER;

/// The attributes of the transition to RTS.
pub const READY_TO_SEND: u32 = ibv::IBV_QP_STATE
    | ibv::IBV_QP_SQ_PSN
    | ibv::IBV_QP_TIMEOUT
    | ibv::IBV_QP_RETRY_CNT
    | ibv::IBV_QP_RNR_RETRY
    | ibv::IBV_QP_MAX_QP_RD_ATOMIC;

/// Those of them that only reliable queue pairs have.
const OF_RELIABLE: u32 = ibv::IBV_QP_MAX_DEST_RD_ATOMIC
    | ibv::IBV_QP_MIN_RNR_TIMER
    | ibv::IBV_QP_TIMEOUT
    | ibv::IBV_QP_RETRY_CNT
    | ibv::IBV_QP_RNR_RETRY
    | ibv::IBV_QP_MAX_QP_RD_ATOMIC;

impl Client {
    /// Opens a device of a node of the fabric in `folder`.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn of(folder: &Path, node: &str, device: usize, wanted: Wanted) -> Self {
        let devices = config::devices(folder, node).expect("the node's devices");
        assert!(device < devices.len());
        let list = device_list(devices);
        let mut memory = vec![0; wanted.memory].into_boxed_slice();
        // SAFETY: each pointer is live and goes to the function for its type.
        unsafe {
            let context = ibv_open_device(*list.add(device));
            ibv_free_device_list(list);
            assert!(!context.is_null());
            let domain = ibv_alloc_pd(context);
            let channel = ibv_create_comp_channel(context);
            let entries = 2 * wanted.requests as c_int;
            let queue = ibv_create_cq(context, entries, QUEUE_NAME as *mut _, channel, 0);
            let pair = ibv_create_qp(domain, &mut description(queue, wanted));
            assert!(!pair.is_null());
            let address = memory.as_mut_ptr().cast();
            let region = ibv_reg_mr(domain, address, memory.len(), ACCESS as c_int);
            Client {
                context,
                channel,
                domain,
                queue,
                pair,
                region,
                memory,
            }
        }
    }

    /// The number of its queue pair.
    pub fn number(&self) -> u32 {
        // SAFETY: a live queue pair.
        unsafe { (*self.pair).qp_num }
    }

    /// A GID of its port.
    pub fn gid(&self, index: c_int) -> ibv::ibv_gid {
        let mut gid = ibv::ibv_gid { raw: [0; 16] };
        // SAFETY: a live context and room for a GID.
        let status = unsafe { ibv_query_gid(self.context, PORT, index, &mut gid) };
        assert_eq!(status, 0);
        gid
    }

    /// Requests a state transition of its queue pair, without the attributes that only
    /// reliable ones have.
    pub fn modify(&self, attributes: &mut ibv::ibv_qp_attr, mask: u32) -> c_int {
        // SAFETY: a live queue pair.
        unsafe {
            let mask = match (*self.pair).qp_type {
                ibv::IBV_QPT_RC => mask,
                _ => mask & !OF_RELIABLE,
            };
            ibv_modify_qp(self.pair, attributes, mask as c_int)
        }
    }

    /// Takes its queue pair to INIT.
    pub fn initialise(&self) {
        let mut attributes = attributes(ibv::IBV_QPS_INIT);
        attributes.port_num = PORT;
        attributes.qp_access_flags = ACCESS;
        assert_eq!(self.modify(&mut attributes, INITIALISED), 0);
    }

    /// Requests the transition to RTR, connected to a queue pair at `dgid`.
    pub fn route_to(&self, peer: u32, dgid: ibv::ibv_gid) -> c_int {
        let mut ready = attributes(ibv::IBV_QPS_RTR);
        ready.dest_qp_num = peer;
        ready.ah_attr.is_global = 1;
        ready.ah_attr.grh.sgid_index = 1;
        ready.ah_attr.grh.dgid = dgid;
        self.modify(&mut ready, READY_TO_RECEIVE)
    }

    /// Takes its queue pair to RTS, connected to one at `dgid`.
    pub fn connect_to(&self, peer: u32, dgid: ibv::ibv_gid) {
        self.connect_within(peer, dgid, 14);
    }

    /// The same, with an answer timeout of 4.096 us times 2 to the power of `timeout`.
    pub fn connect_within(&self, peer: u32, dgid: ibv::ibv_gid, timeout: u8) {
        self.initialise();
        assert_eq!(self.route_to(peer, dgid), 0);
        let mut ready = attributes(ibv::IBV_QPS_RTS);
        ready.timeout = timeout;
        ready.retry_cnt = 7;
        ready.rnr_retry = 7;
        assert_eq!(self.modify(&mut ready, READY_TO_SEND), 0);
    }

    /// Connects it to another client of this process.
    pub fn connect(&self, peer: &Client) {
        self.connect_to(peer.number(), peer.gid(1));
    }

    /// All of its memory.
    pub fn entry(&self) -> ibv::ibv_sge {
        ibv::ibv_sge {
            addr: self.memory.as_ptr() as u64,
            length: self.memory.len() as u32,
            // SAFETY: a live memory region.
            lkey: unsafe { (*self.region).lkey },
        }
    }

    /// The first bytes of its memory.
    pub fn first(&self, bytes: u32) -> ibv::ibv_sge {
        ibv::ibv_sge {
            length: bytes,
            ..self.entry()
        }
    }

    /// Posts a signalled send of `local`. A one-sided operation addresses `remote`.
    pub fn post_send(
        &self,
        id: u64,
        opcode: ibv::ibv_wr_opcode,
        mut local: ibv::ibv_sge,
        remote: ibv::ibv_sge,
        flags: u32,
    ) -> c_int {
        // SAFETY: integers and nullable pointers, for which zero is valid; the
        // lists live until the call returns.
        unsafe {
            let mut request: ibv::ibv_send_wr = mem::zeroed();
            request.wr_id = id;
            request.sg_list = &mut local;
            request.num_sge = 1;
            request.opcode = opcode;
            request.wr.rdma.remote_addr = remote.addr;
            request.wr.rdma.rkey = remote.lkey;
            request.send_flags = ibv::IBV_SEND_SIGNALED | flags;
            let mut bad = ptr::null_mut();
            let post = (*self.context).ops.post_send.expect("emulated");
            let errno = post(self.pair, &mut request, &mut bad);
            let refused = if errno == 0 {
                ptr::null_mut()
            } else {
                &raw mut request
            };
            assert_eq!(bad, refused);
            errno
        }
    }

    /// Posts a receive into `local`.
    pub fn post_receive(&self, id: u64, mut local: ibv::ibv_sge) -> c_int {
        // SAFETY: as for `post_send`.
        unsafe {
            let mut request: ibv::ibv_recv_wr = mem::zeroed();
            request.wr_id = id;
            request.sg_list = &mut local;
            request.num_sge = 1;
            let mut bad = ptr::null_mut();
            let post = (*self.context).ops.post_recv.expect("emulated");
            post(self.pair, &mut request, &mut bad)
        }
    }

    /// A completion, if there is one by now.
    pub fn poll(&self) -> Option<ibv::ibv_wc> {
        // SAFETY: integers, for which zero is valid; a live completion queue, and
        // room for one completion.
        unsafe {
            let mut completion: ibv::ibv_wc = mem::zeroed();
            let poll = (*self.context).ops.poll_cq.expect("emulated");
            (poll(self.queue, 1, &mut completion) == 1).then_some(completion)
        }
    }

    /// The next completion.
    ///
    /// # Panics
    /// If none comes within the time limit.
    pub fn complete(&self) -> ibv::ibv_wc {
        let mut given_up = None;
        loop {
            if let Some(completion) = self.poll() {
                return completion;
            }
            let now = Instant::now();
            let given_up = *given_up.get_or_insert(now + PATIENCE);
            assert!(now < given_up, "nothing completed");
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: each pointer goes back to where it came from, users before what they
        // use.
        unsafe {
            assert_eq!(
                ibv_destroy_cq(self.queue),
                libc::EBUSY,
                "a queue pair uses it"
            );
            assert_eq!(ibv_destroy_qp(self.pair), 0);
            assert_eq!(
                ibv_destroy_comp_channel(self.channel),
                libc::EBUSY,
                "a completion queue uses it"
            );
            assert_eq!(ibv_destroy_cq(self.queue), 0);
            assert_eq!(ibv_destroy_comp_channel(self.channel), 0);
            assert_eq!(ibv_dereg_mr(self.region), 0);
            assert_eq!(ibv_dealloc_pd(self.domain), 0);
            assert_eq!(ibv_close_device(self.context), 0);
        }
    }
}

/// The attributes of a transition to a state. All others are zero, except those for which
/// zero is not valid.
pub fn attributes(state: ibv::ibv_qp_state) -> ibv::ibv_qp_attr {
    // SAFETY: integers, for which zero is valid.
    let zero: ibv::ibv_qp_attr = unsafe { mem::zeroed() };
    ibv::ibv_qp_attr {
        qp_state: state,
        port_num: PORT,
        path_mtu: ibv::IBV_MTU_1024,
        ..zero
    }
}

/// The initial attributes of a queue pair whose completions all go to `queue`.
pub fn description(queue: *mut ibv::ibv_cq, wanted: Wanted) -> ibv::ibv_qp_init_attr {
    // SAFETY: integers and nullable pointers, for which zero is valid.
    let mut description: ibv::ibv_qp_init_attr = unsafe { mem::zeroed() };
    description.send_cq = queue;
    description.recv_cq = queue;
    description.cap.max_send_wr = wanted.requests;
    description.cap.max_recv_wr = wanted.requests;
    description.cap.max_send_sge = 1;
    description.cap.max_recv_sge = 1;
    description.qp_type = wanted.kind;
    description
}
