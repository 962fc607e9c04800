//! The operations that `verbs.h` calls through `ibv_context.ops`.
//!
//! There is one table for all contexts. Operations that are not emulated return
//! `EOPNOTSUPP`.

use std::{
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    slice,
};

use super::{
    api, bindings as ibv, clock,
    completions::Wanted,
    explain, fail,
    objects::{CompletionQueue, Qp},
    queue_pair::PostError,
    work::{Payload, Pieces, ReceiveRequest, SendRequest},
};
use softrail::fabric::{Operation, Remote};

/// The table of operations.
pub const OPERATIONS: ibv::ibv_context_ops = ibv::ibv_context_ops {
    poll_cq: Some(poll_cq),
    post_send: Some(post_send),
    post_recv: Some(post_recv),
    req_notify_cq: Some(req_notify_cq),
    post_srq_recv: Some(unsupported::post_srq_recv),
    alloc_mw: Some(unsupported::alloc_mw),
    bind_mw: Some(unsupported::bind_mw),
    dealloc_mw: Some(unsupported::dealloc_mw),
    _compat_query_device: Some(unsupported::query_device),
    _compat_query_port: Some(unsupported::query_port),
    _compat_alloc_pd: Some(unsupported::operation),
    _compat_dealloc_pd: Some(unsupported::operation),
    _compat_reg_mr: Some(unsupported::operation),
    _compat_rereg_mr: Some(unsupported::operation),
    _compat_dereg_mr: Some(unsupported::operation),
    _compat_create_cq: Some(unsupported::operation),
    _compat_cq_event: Some(unsupported::operation),
    _compat_resize_cq: Some(unsupported::operation),
    _compat_destroy_cq: Some(unsupported::operation),
    _compat_create_srq: Some(unsupported::operation),
    _compat_modify_srq: Some(unsupported::operation),
    _compat_query_srq: Some(unsupported::operation),
    _compat_destroy_srq: Some(unsupported::operation),
    _compat_create_qp: Some(unsupported::operation),
    _compat_query_qp: Some(unsupported::operation),
    _compat_modify_qp: Some(unsupported::operation),
    _compat_destroy_qp: Some(unsupported::operation),
    _compat_create_ah: Some(unsupported::operation),
    _compat_destroy_ah: Some(unsupported::operation),
    _compat_attach_mcast: Some(unsupported::operation),
    _compat_detach_mcast: Some(unsupported::operation),
    _compat_async_event: Some(unsupported::operation),
};

/// Sets the operations that later versions of `verbs.h` call through the structure around
/// `ibv_context`. For an operation that is null there, `verbs.h` itself sets
/// `EOPNOTSUPP`.
pub fn extend(context: &mut ibv::verbs_context) {
    context.query_port = Some(api::query::query_port_whole);
    context.query_device_ex = Some(api::query::query_device_ex);
    context.create_qp_ex = Some(api::queue_pair::create_qp_ex);
}

unsafe extern "C" fn poll_cq(
    queue: *mut ibv::ibv_cq,
    capacity: c_int,
    entries: *mut ibv::ibv_wc,
) -> c_int {
    let Ok(capacity @ 1..) = usize::try_from(capacity) else {
        return 0;
    };
    // SAFETY: a live completion queue, and the application's array of that length, which
    // may be uninitialised.
    let (queue, entries) = unsafe {
        let entries = entries.cast::<MaybeUninit<ibv::ibv_wc>>();
        (
            &*queue.cast::<CompletionQueue>(),
            slice::from_raw_parts_mut(entries, capacity),
        )
    };
    c_int::try_from(queue.poll(entries)).unwrap_or(c_int::MAX)
}

/// Requests an event on the completion channel; `EINVAL` if the completion queue has no
/// channel.
unsafe extern "C" fn req_notify_cq(queue: *mut ibv::ibv_cq, solicited_only: c_int) -> c_int {
    let wanted = match solicited_only {
        0 => Wanted::Everything,
        _ => Wanted::Solicited,
    };
    // SAFETY: a live completion queue.
    let queue = unsafe { &*queue.cast::<CompletionQueue>() };
    if queue.notify(wanted) {
        0
    } else {
        libc::EINVAL
    }
}

/// Posts a list of sends, writes and reads.
unsafe extern "C" fn post_send(
    pair: *mut ibv::ibv_qp,
    first: *mut ibv::ibv_send_wr,
    bad: *mut *mut ibv::ibv_send_wr,
) -> c_int {
    let now = clock::now();
    // SAFETY: a live queue pair.
    let pair = unsafe { &*pair.cast::<Qp>() };
    let post = |request: &ibv::ibv_send_wr| {
        // SAFETY: the list holds as many entries as the request says, and inline data is
        // in the application's memory.
        let request = unsafe { send_request(request, &pair.wanted.cap) }?;
        if pair.context().offer().has_credits && !request.is_plain_send() {
            explain("RDMA over Thunderbolt has plain sends alone (IBV_WR_SEND)");
            return Err(libc::EOPNOTSUPP);
        }
        pair.inner.post_send(now, request).map_err(errno)
    };
    // SAFETY: the application's list and its room for the request that fails.
    unsafe { post_list(first, bad, |request| request.next, post) }
}

/// Posts a list of receives.
unsafe extern "C" fn post_recv(
    pair: *mut ibv::ibv_qp,
    first: *mut ibv::ibv_recv_wr,
    bad: *mut *mut ibv::ibv_recv_wr,
) -> c_int {
    let now = clock::now();
    // SAFETY: a live queue pair.
    let pair = unsafe { &*pair.cast::<Qp>() };
    let post = |request: &ibv::ibv_recv_wr| {
        let most = pair.wanted.cap.max_recv_sge;
        // SAFETY: the list holds as many entries as the request says.
        let entries = unsafe { entries(request.sg_list, request.num_sge, most) }?;
        let request = ReceiveRequest {
            id: request.wr_id,
            scatter: Pieces::new(entries),
        };
        pair.inner.post_receive(now, request).map_err(errno)
    };
    // SAFETY: the application's list and its room for the request that fails.
    unsafe { post_list(first, bad, |request| request.next, post) }
}

/// Posts one work request after another and stops at the first that is refused. `bad`
/// then points to that request, and its `errno` is returned.
///
/// # Safety
/// `first` must begin a null-terminated list of live requests linked by `next`, and `bad`
/// must be valid for writing.
unsafe fn post_list<R>(
    first: *mut R,
    bad: *mut *mut R,
    next: impl Fn(&R) -> *mut R,
    post: impl Fn(&R) -> Result<(), c_int>,
) -> c_int {
    let mut current = first;
    while !current.is_null() {
        // SAFETY: the caller's promise of a list of live requests.
        let request = unsafe { &*current };
        if let Err(errno) = post(request) {
            // SAFETY: the caller's promise.
            unsafe { *bad = current };
            return errno;
        }
        current = next(request);
    }
    0
}

/// Reads a work request. `EOPNOTSUPP` for atomic operations and for those that bind or
/// invalidate keys; `EINVAL` for more entries or inline bytes than the queue pair was
/// created for, and for a read into inline bytes.
///
/// # Safety
/// The request must have as many entries as it says, and inline entries must name
/// readable memory.
unsafe fn send_request(
    request: &ibv::ibv_send_wr,
    cap: &ibv::ibv_qp_cap,
) -> Result<SendRequest, c_int> {
    // SAFETY: integers, for which every value is valid.
    let (remote, immediate) = unsafe {
        let rdma = request.wr.rdma;
        let remote = Remote {
            address: rdma.remote_addr,
            key: rdma.rkey,
        };
        (remote, request.__bindgen_anon_1.imm_data)
    };
    let (operation, immediate) = match request.opcode {
        ibv::IBV_WR_SEND => (Operation::Send, None),
        ibv::IBV_WR_SEND_WITH_IMM => (Operation::Send, Some(immediate)),
        ibv::IBV_WR_RDMA_WRITE => (Operation::Write(remote), None),
        ibv::IBV_WR_RDMA_WRITE_WITH_IMM => (Operation::Write(remote), Some(immediate)),
        ibv::IBV_WR_RDMA_READ => (Operation::Read(remote), None),
        _ => return Err(libc::EOPNOTSUPP),
    };
    // SAFETY: the caller's promise.
    let entries = unsafe { entries(request.sg_list, request.num_sge, cap.max_send_sge) }?;
    let has = |flag| request.send_flags & flag != 0;
    let is_read = request.opcode == ibv::IBV_WR_RDMA_READ;
    let payload = match has(ibv::IBV_SEND_INLINE) {
        false => Payload::Pieces(Pieces::new(entries)),
        true if is_read => return Err(libc::EINVAL),
        // SAFETY: the caller's promise.
        true => Payload::Inline(unsafe { inline(entries, cap.max_inline_data) }?),
    };
    Ok(SendRequest {
        id: request.wr_id,
        payload,
        operation,
        immediate,
        signalled: has(ibv::IBV_SEND_SIGNALED),
        solicited: has(ibv::IBV_SEND_SOLICITED),
        fenced: has(ibv::IBV_SEND_FENCE),
    })
}

/// The scatter-gather list of a work request.
///
/// # Safety
/// `list` must hold `count` entries.
unsafe fn entries<'a>(
    list: *const ibv::ibv_sge,
    count: c_int,
    most: u32,
) -> Result<&'a [ibv::ibv_sge], c_int> {
    match u32::try_from(count) {
        Ok(0) => Ok(&[]),
        // SAFETY: the caller's promise.
        Ok(count) if count <= most => Ok(unsafe { slice::from_raw_parts(list, count as usize) }),
        _ => Err(libc::EINVAL),
    }
}

/// A copy of the memory that these entries name; inline entries need no key.
///
/// # Safety
/// The memory must be valid for reading.
unsafe fn inline(entries: &[ibv::ibv_sge], most: u32) -> Result<Box<[u8]>, c_int> {
    let length: u64 = entries.iter().map(|entry| u64::from(entry.length)).sum();
    if length > u64::from(most) {
        return Err(libc::EINVAL);
    }
    let mut bytes = Vec::with_capacity(length as usize);
    for entry in entries.iter().filter(|entry| entry.length > 0) {
        // SAFETY: the caller's promise.
        bytes.extend_from_slice(unsafe {
            slice::from_raw_parts(entry.addr as *const u8, entry.length as usize)
        });
    }
    Ok(bytes.into())
}

/// The return value by which libibverbs reports that a work request was refused.
pub fn errno(error: PostError) -> c_int {
    match error {
        PostError::State | PostError::Operation => libc::EINVAL,
        PostError::Full | PostError::Refused => libc::ENOMEM,
        PostError::TooLong => libc::EMSGSIZE,
    }
}

/// One function for each signature of an operation that is not emulated.
mod unsupported {
    use super::*;

    pub unsafe extern "C" fn operation() -> *mut c_void {
        fail(libc::EOPNOTSUPP)
    }

    pub unsafe extern "C" fn post_srq_recv(
        _: *mut ibv::ibv_srq,
        request: *mut ibv::ibv_recv_wr,
        bad: *mut *mut ibv::ibv_recv_wr,
    ) -> c_int {
        // SAFETY: the caller's room for the request that failed.
        unsafe { *bad = request };
        libc::EOPNOTSUPP
    }

    pub unsafe extern "C" fn alloc_mw(
        _: *mut ibv::ibv_pd,
        _: ibv::ibv_mw_type,
    ) -> *mut ibv::ibv_mw {
        fail(libc::EOPNOTSUPP)
    }

    pub unsafe extern "C" fn bind_mw(
        _: *mut ibv::ibv_qp,
        _: *mut ibv::ibv_mw,
        _: *mut ibv::ibv_mw_bind,
    ) -> c_int {
        libc::EOPNOTSUPP
    }

    pub unsafe extern "C" fn dealloc_mw(_: *mut ibv::ibv_mw) -> c_int {
        libc::EOPNOTSUPP
    }

    pub unsafe extern "C" fn query_device(
        _: *mut ibv::ibv_context,
        _: *mut ibv::ibv_device_attr,
    ) -> c_int {
        libc::EOPNOTSUPP
    }

    pub unsafe extern "C" fn query_port(
        _: *mut ibv::ibv_context,
        _: u8,
        _: *mut ibv::_compat_ibv_port_attr,
    ) -> c_int {
        libc::EOPNOTSUPP
    }
}
