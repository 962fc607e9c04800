//! The other way to post sends: `ibv_wr_start`, one call for each part of each request,
//! and `ibv_wr_complete`, which posts all of them or none.

use std::{
    ffi::{c_int, c_void},
    slice,
};

use super::{
    bindings as ibv, clock, lock,
    memory::Memory,
    objects::Qp,
    ops::errno,
    work::{Payload, Pieces, SendRequest},
};
use softrail::fabric::{Operation, Remote};

/// The operations that a queue pair of this kind can be created for.
pub const OPERATIONS: u64 = (ibv::IBV_QP_EX_WITH_RDMA_WRITE
    | ibv::IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM
    | ibv::IBV_QP_EX_WITH_SEND
    | ibv::IBV_QP_EX_WITH_SEND_WITH_IMM
    | ibv::IBV_QP_EX_WITH_RDMA_READ) as u64;

/// The requests since `ibv_wr_start`.
#[derive(Debug, Default)]
pub struct Builder {
    requests: Vec<SendRequest>,
    /// The first error in them.
    error: Option<c_int>,
}

/// Sets the functions through which `verbs.h` calls this module.
pub fn fill(qp: &mut ibv::ibv_qp_ex) {
    qp.wr_start = Some(start);
    qp.wr_complete = Some(complete);
    qp.wr_abort = Some(abort);
    qp.wr_send = Some(send);
    qp.wr_send_imm = Some(send_imm);
    qp.wr_rdma_write = Some(rdma_write);
    qp.wr_rdma_write_imm = Some(rdma_write_imm);
    qp.wr_rdma_read = Some(rdma_read);
    qp.wr_set_sge = Some(set_sge);
    qp.wr_set_sge_list = Some(set_sge_list);
    qp.wr_set_inline_data = Some(set_inline_data);
    qp.wr_set_inline_data_list = Some(set_inline_data_list);
}

/// Works on the requests of a queue pair.
///
/// # Safety
/// `qp` must be a live queue pair that was created with send operations.
unsafe fn with<T>(qp: *mut ibv::ibv_qp_ex, act: impl FnOnce(&Qp, &mut Builder) -> T) -> Option<T> {
    // SAFETY: the caller's promise; an `ibv_qp_ex` is the beginning of a `Qp`.
    let qp = unsafe { &*qp.cast::<Qp>() };
    let builder = qp.builder.as_ref()?;
    Some(act(qp, &mut lock(builder)))
}

/// Begins a request, with the id and the flags that the application set in the queue
/// pair.
///
/// # Safety
/// As for [`with`].
unsafe fn begin(qp: *mut ibv::ibv_qp_ex, operation: Operation, immediate: Option<u32>) {
    let begun = |qp: &Qp, builder: &mut Builder| {
        let (id, flags) = qp.next_request();
        builder.requests.push(SendRequest {
            id,
            payload: Payload::Pieces(Pieces::new(&[])),
            operation,
            immediate,
            signalled: flags & ibv::IBV_SEND_SIGNALED != 0,
            solicited: flags & ibv::IBV_SEND_SOLICITED != 0,
            fenced: flags & ibv::IBV_SEND_FENCE != 0,
        });
    };
    // SAFETY: the caller's promise.
    unsafe { with(qp, begun) };
}

/// Sets the payload of the request that was begun last.
///
/// # Safety
/// As for [`with`].
unsafe fn give(qp: *mut ibv::ibv_qp_ex, payload: Payload) {
    let given = |qp: &Qp, builder: &mut Builder| {
        let cap = &qp.wanted.cap;
        let fits = match &payload {
            Payload::Pieces(pieces) => pieces.as_slice().len() <= cap.max_send_sge as usize,
            Payload::Inline(bytes) => bytes.len() <= cap.max_inline_data as usize,
        };
        match builder.requests.last_mut() {
            Some(request) if fits => request.payload = payload,
            _ => _ = builder.error.get_or_insert(libc::EINVAL),
        }
    };
    // SAFETY: the caller's promise.
    unsafe { with(qp, given) };
}

unsafe extern "C" fn start(qp: *mut ibv::ibv_qp_ex) {
    // SAFETY: called through a live queue pair of this kind.
    unsafe { with(qp, |_, builder| *builder = Builder::default()) };
}

unsafe extern "C" fn abort(qp: *mut ibv::ibv_qp_ex) {
    // SAFETY: called through a live queue pair of this kind.
    unsafe { start(qp) };
}

unsafe extern "C" fn complete(qp: *mut ibv::ibv_qp_ex) -> c_int {
    let completed = |qp: &Qp, builder: &mut Builder| {
        let Builder { requests, error } = std::mem::take(builder);
        match error {
            Some(error) => error,
            None => match qp.inner.post_sends(clock::now(), requests) {
                Ok(()) => 0,
                Err(error) => errno(error),
            },
        }
    };
    // SAFETY: called through a live queue pair of this kind.
    unsafe { with(qp, completed) }.unwrap_or(libc::EINVAL)
}

unsafe extern "C" fn send(qp: *mut ibv::ibv_qp_ex) {
    // SAFETY: called through a live queue pair of this kind.
    unsafe { begin(qp, Operation::Send, None) };
}

unsafe extern "C" fn send_imm(qp: *mut ibv::ibv_qp_ex, immediate: u32) {
    // SAFETY: called through a live queue pair of this kind.
    unsafe { begin(qp, Operation::Send, Some(immediate)) };
}

unsafe extern "C" fn rdma_write(qp: *mut ibv::ibv_qp_ex, key: u32, address: u64) {
    // SAFETY: called through a live queue pair of this kind.
    unsafe { begin(qp, Operation::Write(Remote { address, key }), None) };
}

unsafe extern "C" fn rdma_write_imm(
    qp: *mut ibv::ibv_qp_ex,
    key: u32,
    address: u64,
    immediate: u32,
) {
    let operation = Operation::Write(Remote { address, key });
    // SAFETY: called through a live queue pair of this kind.
    unsafe { begin(qp, operation, Some(immediate)) };
}

unsafe extern "C" fn rdma_read(qp: *mut ibv::ibv_qp_ex, key: u32, address: u64) {
    // SAFETY: called through a live queue pair of this kind.
    unsafe { begin(qp, Operation::Read(Remote { address, key }), None) };
}

unsafe extern "C" fn set_sge(qp: *mut ibv::ibv_qp_ex, key: u32, address: u64, length: u32) {
    let memory = Memory {
        address,
        bytes: u64::from(length),
        key,
    };
    // SAFETY: called through a live queue pair of this kind.
    unsafe { give(qp, Payload::Pieces(Pieces::One(memory))) };
}

unsafe extern "C" fn set_sge_list(
    qp: *mut ibv::ibv_qp_ex,
    count: usize,
    list: *const ibv::ibv_sge,
) {
    // SAFETY: called through a live queue pair of this kind, with the application's
    // list of that many entries.
    unsafe {
        let entries = if count == 0 {
            &[]
        } else {
            slice::from_raw_parts(list, count)
        };
        give(qp, Payload::Pieces(Pieces::new(entries)));
    }
}

unsafe extern "C" fn set_inline_data(qp: *mut ibv::ibv_qp_ex, address: *mut c_void, length: usize) {
    let buffer = ibv::ibv_data_buf {
        addr: address,
        length,
    };
    // SAFETY: called through a live queue pair of this kind, with the application's
    // memory of that length.
    unsafe { set_inline_data_list(qp, 1, &buffer) };
}

unsafe extern "C" fn set_inline_data_list(
    qp: *mut ibv::ibv_qp_ex,
    count: usize,
    list: *const ibv::ibv_data_buf,
) {
    // SAFETY: called through a live queue pair of this kind, with the application's
    // list of that many buffers, each of memory of that length.
    unsafe {
        let mut bytes = Vec::new();
        for index in 0..count {
            let buffer = &*list.add(index);
            if buffer.length > 0 {
                bytes.extend_from_slice(slice::from_raw_parts(buffer.addr.cast(), buffer.length));
            }
        }
        give(qp, Payload::Inline(bytes.into()));
    }
}
