//! The operations that `verbs.h` calls through `ibv_context.ops`.
//!
//! One table for all contexts. What is not emulated answers `EOPNOTSUPP`.

use std::{
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    slice,
};

use super::{
    bindings as ibv, clock,
    completions::Completions,
    fail,
    memory::Memory,
    objects::{CompletionQueue, Qp},
    queue_pair::{PostError, WorkRequest},
};

/// The table.
pub const OPERATIONS: ibv::ibv_context_ops = ibv::ibv_context_ops {
    poll_cq: Some(poll_cq),
    post_send: Some(post_send),
    post_recv: Some(post_recv),
    req_notify_cq: Some(unsupported::req_notify_cq),
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

unsafe extern "C" fn poll_cq(
    queue: *mut ibv::ibv_cq,
    capacity: c_int,
    entries: *mut ibv::ibv_wc,
) -> c_int {
    let Ok(capacity @ 1..) = usize::try_from(capacity) else {
        return 0;
    };
    // SAFETY: a live completion queue, and the application's array of that length,
    // which need not be initialised.
    let (queue, entries) = unsafe {
        let entries = entries.cast::<MaybeUninit<ibv::ibv_wc>>();
        (
            &*queue.cast::<CompletionQueue>(),
            slice::from_raw_parts_mut(entries, capacity),
        )
    };
    c_int::try_from(queue.poll(Completions::new(entries))).unwrap_or(c_int::MAX)
}

/// Posts a list of sends. Whole messages only: no RDMA, no immediate data, not
/// inline, one scatter-gather entry.
unsafe extern "C" fn post_send(
    pair: *mut ibv::ibv_qp,
    first: *mut ibv::ibv_send_wr,
    bad: *mut *mut ibv::ibv_send_wr,
) -> c_int {
    let now = clock::now();
    // SAFETY: a live queue pair.
    let pair = unsafe { &*pair.cast::<Qp>() };
    let post = |request: &ibv::ibv_send_wr| {
        if request.opcode != ibv::IBV_WR_SEND || request.send_flags & ibv::IBV_SEND_INLINE != 0 {
            return Err(libc::EOPNOTSUPP);
        }
        let work = WorkRequest {
            id: request.wr_id,
            // SAFETY: the list holds as many entries as the request says.
            memory: unsafe { memory(request.sg_list, request.num_sge) }?,
            signalled: request.send_flags & ibv::IBV_SEND_SIGNALED != 0,
        };
        pair.inner.post_send(now, work).map_err(errno)
    };
    // SAFETY: the application's list and its room for the request that fails.
    unsafe { post_list(first, bad, |request| request.next, post) }
}

/// Posts a list of receives of one scatter-gather entry each.
unsafe extern "C" fn post_recv(
    pair: *mut ibv::ibv_qp,
    first: *mut ibv::ibv_recv_wr,
    bad: *mut *mut ibv::ibv_recv_wr,
) -> c_int {
    let now = clock::now();
    // SAFETY: a live queue pair.
    let pair = unsafe { &*pair.cast::<Qp>() };
    let post = |request: &ibv::ibv_recv_wr| {
        let work = WorkRequest {
            id: request.wr_id,
            // SAFETY: the list holds as many entries as the request says.
            memory: unsafe { memory(request.sg_list, request.num_sge) }?,
            signalled: true,
        };
        pair.inner.post_receive(now, work).map_err(errno)
    };
    // SAFETY: the application's list and its room for the request that fails.
    unsafe { post_list(first, bad, |request| request.next, post) }
}

/// Posts one work request after another. The first that is not taken ends it:
/// `bad` then points to that one, and its `errno` is the answer.
///
/// # Safety
/// `first` must begin a list of live requests that `next` leads through and null
/// ends, and `bad` must be valid for writing.
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

/// The memory of a work request; an empty list is an empty message.
///
/// # Safety
/// `list` must hold `entries` entries.
unsafe fn memory(list: *const ibv::ibv_sge, entries: c_int) -> Result<Memory, c_int> {
    match entries {
        0 => Ok(Memory::EMPTY),
        1 => {
            // SAFETY: the caller's promise.
            let entry = unsafe { &*list };
            Ok(Memory {
                address: entry.addr,
                bytes: u64::from(entry.length),
                key: entry.lkey,
            })
        }
        _ => Err(libc::EINVAL),
    }
}

fn errno(error: PostError) -> c_int {
    match error {
        PostError::State => libc::EINVAL,
        PostError::Full | PostError::Refused => libc::ENOMEM,
        PostError::TooLong => libc::EMSGSIZE,
    }
}

/// One function for each shape of operation that is not emulated.
mod unsupported {
    use super::*;

    pub unsafe extern "C" fn operation() -> *mut c_void {
        fail(libc::EOPNOTSUPP)
    }

    pub unsafe extern "C" fn req_notify_cq(_: *mut ibv::ibv_cq, _: c_int) -> c_int {
        libc::EOPNOTSUPP
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
