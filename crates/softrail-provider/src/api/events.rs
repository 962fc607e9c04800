//! Asynchronous events.

use std::{ffi::c_int, mem, sync::Arc};

use super::query::PORT;
use crate::{
    bindings as ibv,
    objects::{CompletionQueue, Context, Qp},
    refuse,
};

/// Waits for an asynchronous event. Returns -1 with `errno` if a signal comes first, or
/// if the application made the context's descriptor non-blocking and there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_async_event(
    context: *mut ibv::ibv_context,
    event: *mut ibv::ibv_async_event,
) -> c_int {
    // SAFETY: a live context.
    let context = unsafe { &*Context::behind(context) };
    match context.async_events.next() {
        Ok((kind, subject)) => {
            // SAFETY: integers and a union of integers and nullable pointers, for
            // which zero is valid.
            let mut answer: ibv::ibv_async_event = unsafe { mem::zeroed() };
            answer.event_type = kind;
            match (kind, subject.object) {
                (_, 0) => answer.element.port_num = c_int::from(PORT),
                (ibv::IBV_EVENT_CQ_ERR, queue) => answer.element.cq = queue as *mut ibv::ibv_cq,
                (_, pair) => answer.element.qp = pair as *mut ibv::ibv_qp,
            }
            // SAFETY: the caller's room for an event.
            unsafe { event.write(answer) };
            0
        }
        Err(error) => refuse(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// Acknowledges an event. The call that destroys the object of the event waits for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_ack_async_event(event: *mut ibv::ibv_async_event) {
    // SAFETY: an event from `ibv_get_async_event`, whose object lives until the event is
    // acknowledged.
    unsafe {
        let event = &*event;
        match event.event_type {
            ibv::IBV_EVENT_CQ_ERR => {
                let queue = &*event.element.cq.cast::<CompletionQueue>();
                let subject = Arc::clone(queue.completions.subject());
                subject.acknowledge(1);
            }
            ibv::IBV_EVENT_QP_FATAL | ibv::IBV_EVENT_QP_ACCESS_ERR => {
                let pair = &*event.element.qp.cast::<Qp>();
                let subject = Arc::clone(pair.inner.subject());
                subject.acknowledge(1);
            }
            // The port needs no acknowledgement.
            _ => {}
        }
    }
}
