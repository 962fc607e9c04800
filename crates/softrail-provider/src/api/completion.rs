//! Completion queues and their completion channels.

use std::{
    ffi::{c_int, c_uint, c_void},
    sync::Arc,
};

use super::query::COMPLETIONS;
use crate::{
    bindings as ibv, explain, fail, handles,
    objects::{Channel, CompletionQueue},
    refuse,
};

/// Makes a completion channel. Its descriptor polls readable while there is an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_create_comp_channel(
    context: *mut ibv::ibv_context,
) -> *mut ibv::ibv_comp_channel {
    match Channel::open(context) {
        Ok(channel) => handles::give(channel).cast(),
        Err(error) => fail(error.raw_os_error().unwrap_or(libc::EMFILE)),
    }
}

/// Frees a completion channel; `EBUSY` while a completion queue uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_destroy_comp_channel(channel: *mut ibv::ibv_comp_channel) -> c_int {
    handles::take_back(channel.cast(), Channel::is_used)
}

/// Makes a completion queue with room for `entries` completions. Null with `ENOMEM` if the
/// device has no more queues.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_create_cq(
    context: *mut ibv::ibv_context,
    entries: c_int,
    cq_context: *mut c_void,
    channel: *mut ibv::ibv_comp_channel,
    vector: c_int,
) -> *mut ibv::ibv_cq {
    if !(1..=COMPLETIONS).contains(&entries) || vector != 0 {
        return fail(libc::EINVAL);
    }
    // SAFETY: null or a live channel.
    let channel = unsafe { channel.cast::<Channel>().as_ref() };
    match CompletionQueue::new(context, entries, cq_context, channel) {
        Some(queue) => handles::give(queue).cast(),
        None => {
            explain("all completion queues of a device are in use");
            fail(libc::ENOMEM)
        }
    }
}

/// Changes the capacity of a completion queue; `EINVAL` if more completions wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_resize_cq(queue: *mut ibv::ibv_cq, entries: c_int) -> c_int {
    if !(1..=COMPLETIONS).contains(&entries) {
        return libc::EINVAL;
    }
    // SAFETY: a live completion queue.
    match unsafe { &*queue.cast::<CompletionQueue>() }.resize(entries) {
        true => 0,
        false => libc::EINVAL,
    }
}

/// Frees a completion queue, and its events with it; `EBUSY` while a queue pair uses it.
/// Waits until every event that was read is acknowledged, as libibverbs does: until then
/// another thread may use the queue that an event names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_destroy_cq(queue: *mut ibv::ibv_cq) -> c_int {
    let retire = |queue: &CompletionQueue| queue.completions.retire();
    handles::retire(queue.cast(), CompletionQueue::is_used, retire)
}

/// Waits for an event. Returns -1 with `errno` if a signal comes first, or if the
/// application made the channel's descriptor non-blocking and there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_cq_event(
    channel: *mut ibv::ibv_comp_channel,
    queue: *mut *mut ibv::ibv_cq,
    cq_context: *mut *mut c_void,
) -> c_int {
    // SAFETY: a live channel.
    let channel = unsafe { &*channel.cast::<Channel>() };
    match channel.events.next() {
        Ok(((), subject)) => {
            // SAFETY: the caller's room for the answers.
            unsafe {
                queue.write(subject.object as *mut ibv::ibv_cq);
                cq_context.write(subject.context as *mut c_void);
            }
            0
        }
        Err(error) => refuse(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// Acknowledges events of a completion queue. [`ibv_destroy_cq`] waits for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_ack_cq_events(queue: *mut ibv::ibv_cq, count: c_uint) {
    // SAFETY: a completion queue lives until its events are acknowledged.
    let queue = unsafe { &*queue.cast::<CompletionQueue>() };
    // It may be freed as soon as they are.
    let subject = Arc::clone(queue.completions.subject());
    subject.acknowledge(count);
}
