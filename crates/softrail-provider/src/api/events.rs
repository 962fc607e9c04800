//! Asynchronous events.

use std::{ffi::c_int, mem};

use super::query::PORT;
use crate::{bindings as ibv, objects::Context, refuse};

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
        Ok(told) => {
            // SAFETY: integers and a union of integers and nullable pointers, for
            // which zero is valid.
            let mut answer: ibv::ibv_async_event = unsafe { mem::zeroed() };
            answer.event_type = told.kind;
            match told.object {
                0 => answer.element.port_num = c_int::from(PORT),
                object => answer.element.qp = object as *mut ibv::ibv_qp,
            }
            // SAFETY: the caller's room for an event.
            unsafe { event.write(answer) };
            0
        }
        Err(error) => refuse(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// Does nothing: an event holds no resource.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_ack_async_event(_event: *mut ibv::ibv_async_event) {}
