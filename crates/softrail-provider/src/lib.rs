//! The C interface of libibverbs: the functions that jaccl looks up by name, and
//! the operations that `verbs.h` reaches through `ibv_context.ops`.
//!
//! Every object the application holds a pointer to begins with the structure that
//! `verbs.h` declares for it and is owned by the application until it hands the
//! pointer back. Objects share what outlives them (`Arc`), so they may be handed
//! back in any order. Arguments are trusted as far as libibverbs trusts them:
//! pointers must be live and of the right kind.
//!
//! There is no thread behind it: work is done inside `ibv_post_send` and
//! `ibv_poll_cq`, with the times that hardware would have done it at.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

mod bindings;
mod clock;
mod completions;
mod memory;
mod objects;
mod ops;
mod queue_pair;

use std::{
    ffi::{c_char, c_int, c_void},
    net::Ipv4Addr,
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bindings as ibv;
use memory::Regions;
use objects::{CompletionQueue, Context, Device, MemoryRegion, ProtectionDomain, Qp};
use queue_pair::{Limits, Peer, Phase, QueuePair};

use rail_matrix::DeviceFault;
use softrail::{config, fabric::QUEUE_BYTES};

/// Ports are counted from 1, and a cable's end has one.
const PORT: u8 = 1;

/// Entries of a port's table of GIDs: a link-local one as every port has, then
/// the IPv4-mapped one. jaccl looks for the latter and names index 1 without
/// looking.
const GIDS: c_int = 2;

/// Nothing panics while it holds a lock, and if it did the state would
/// still be the best there is to go on with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets `errno` and gives the null pointer that goes with it.
fn fail<T>(errno: c_int) -> *mut T {
    // SAFETY: the location is this thread's own and always valid.
    unsafe { *libc::__errno_location() = errno };
    ptr::null_mut()
}

/// The IPv4-mapped GID of an address, `::ffff:a.b.c.d`.
fn mapped_gid(address: Ipv4Addr) -> ibv::ibv_gid {
    ibv::ibv_gid {
        raw: address.to_ipv6_mapped().octets(),
    }
}

/// What a device's table of GIDs has at `index`, if anything.
fn gid_entry(device: &config::Device, index: c_int) -> Option<ibv::ibv_gid> {
    let mapped = mapped_gid(device.address);
    match index {
        0 => {
            let mut local = mapped;
            // SAFETY: every variant of the union is 16 plain bytes.
            unsafe { local.raw[..12].copy_from_slice(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]) };
            Some(local)
        }
        1 if !device.is(DeviceFault::NoGid) => Some(mapped),
        _ => None,
    }
}

/// Lists the devices of this process's node, null-terminated; a node without
/// devices has an empty list. Where there is no fabric, the answer is libibverbs'
/// where the system knows no RDMA: null, and `errno` is `ENOSYS`. Standard error
/// says why.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_get_device_list(count: *mut c_int) -> *mut *mut ibv::ibv_device {
    let devices = config::devices_from_env();
    if !count.is_null() {
        let listed = devices.as_ref().map_or(0, Vec::len);
        // SAFETY: the application passes null or room for the count.
        unsafe { *count = listed as c_int };
    }
    match devices {
        Ok(devices) => device_list(devices),
        Err(error) => {
            eprintln!("softrail: no RDMA devices: {error}");
            fail(libc::ENOSYS)
        }
    }
}

/// An array of devices, ended by null and owned by the application.
fn device_list(devices: Vec<config::Device>) -> *mut *mut ibv::ibv_device {
    let list: Vec<*mut ibv::ibv_device> = devices
        .into_iter()
        .map(|device| Arc::into_raw(Device::new(device)).cast_mut().cast())
        .chain([ptr::null_mut()])
        .collect();
    Box::into_raw(list.into_boxed_slice()).cast()
}

/// Frees a list and those of its devices that were not opened. There must be a
/// list: libibverbs reads through the null pointer and dies, and so does this.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_free_device_list(list: *mut *mut ibv::ibv_device) {
    if list.is_null() {
        eprintln!("softrail: ibv_free_device_list was given no list, which libibverbs dies of");
        std::process::abort();
    }
    let mut length = 0;
    // SAFETY: the list came from `ibv_get_device_list`: a boxed slice of pointers
    // from `Arc::into_raw`, the last of them null, given back once.
    unsafe {
        while !(*list.add(length)).is_null() {
            drop(Arc::from_raw((*list.add(length)).cast::<Device>()));
            length += 1;
        }
        drop(Box::from_raw(ptr::slice_from_raw_parts_mut(
            list,
            length + 1,
        )));
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_get_device_name(device: *mut ibv::ibv_device) -> *const c_char {
    // SAFETY: a live device, whose name is NUL-terminated.
    unsafe { (*device).name.as_ptr() }
}

/// Maps the device's cable. Null with `errno` when that fails.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_open_device(device: *mut ibv::ibv_device) -> *mut ibv::ibv_context {
    // SAFETY: a device of a list is an `Arc<Device>` that the list holds; this
    // adds a holder.
    let device = unsafe {
        Arc::increment_strong_count(device.cast::<Device>());
        Arc::from_raw(device.cast::<Device>())
    };
    match Context::open(device) {
        Ok(context) => Box::into_raw(context).cast(),
        Err(error) => {
            eprintln!("softrail: {error}");
            fail(libc::ENODEV)
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_close_device(context: *mut ibv::ibv_context) -> c_int {
    // SAFETY: from `ibv_open_device`, given back once.
    drop(unsafe { Box::from_raw(context.cast::<Context>()) });
    0
}

/// Describes the one port of a device. The caller's structure may be that of the
/// first libibverbs, so what was appended to it since is left alone.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_query_port(
    context: *mut ibv::ibv_context,
    port: u8,
    attributes: *mut ibv::ibv_port_attr,
) -> c_int {
    if port != PORT {
        return libc::EINVAL;
    }
    // SAFETY: a live context.
    let context = unsafe { &*context.cast::<Context>() };
    // SAFETY: integers, for which zero is valid.
    let zero: ibv::ibv_port_attr = unsafe { std::mem::zeroed() };
    // What `ibstat` and others print as LinkUp and Polling.
    let (state, phys_state) = if context.device.config.is(DeviceFault::PortDown) {
        (ibv::IBV_PORT_DOWN, 2)
    } else {
        (ibv::IBV_PORT_ACTIVE, 5)
    };
    let port = ibv::ibv_port_attr {
        state,
        max_mtu: ibv::IBV_MTU_4096,
        active_mtu: ibv::IBV_MTU_4096,
        gid_tbl_len: GIDS,
        max_msg_sz: QUEUE_BYTES as u32,
        pkey_tbl_len: 1,
        // One lane, as a Thunderbolt link reports itself.
        active_width: 1,
        active_speed: 32,
        phys_state,
        link_layer: ibv::IBV_LINK_LAYER_ETHERNET as u8,
        ..zero
    };
    let known = std::mem::offset_of!(ibv::ibv_port_attr, port_cap_flags2);
    // SAFETY: the caller's structure has at least the fields before that one.
    unsafe {
        ptr::copy_nonoverlapping(ptr::from_ref(&port).cast::<u8>(), attributes.cast(), known);
    }
    0
}

/// Reads an entry of the table of GIDs. As in libibverbs, an entry that is empty
/// is 16 zeros and no error; one beyond the table is -1.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_query_gid(
    context: *mut ibv::ibv_context,
    port: u8,
    index: c_int,
    gid: *mut ibv::ibv_gid,
) -> c_int {
    if port != PORT || !(0..GIDS).contains(&index) {
        fail::<c_void>(libc::EINVAL);
        return -1;
    }
    // SAFETY: a live context.
    let context = unsafe { &*context.cast::<Context>() };
    let empty = ibv::ibv_gid { raw: [0; 16] };
    // SAFETY: the caller's room for a GID.
    unsafe { *gid = gid_entry(&context.device.config, index).unwrap_or(empty) };
    0
}

/// Null with `ENETDOWN` on a port that is down.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_alloc_pd(context: *mut ibv::ibv_context) -> *mut ibv::ibv_pd {
    // SAFETY: a live context.
    let device = &unsafe { &*context.cast::<Context>() }.device.config;
    if device.is(DeviceFault::PortDown) {
        return fail(libc::ENETDOWN);
    }
    let raw = ibv::ibv_pd { context, handle: 0 };
    Box::into_raw(Box::new(ProtectionDomain {
        raw,
        regions: Arc::new(Regions::default()),
    }))
    .cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_dealloc_pd(domain: *mut ibv::ibv_pd) -> c_int {
    // SAFETY: from `ibv_alloc_pd`, given back once.
    drop(unsafe { Box::from_raw(domain.cast::<ProtectionDomain>()) });
    0
}

/// Registers memory. Access flags are accepted and not enforced.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_reg_mr(
    domain: *mut ibv::ibv_pd,
    address: *mut c_void,
    bytes: usize,
    _access: c_int,
) -> *mut ibv::ibv_mr {
    if address.is_null() || bytes == 0 {
        return fail(libc::EINVAL);
    }
    // SAFETY: a live protection domain.
    let domain = unsafe { &*domain.cast::<ProtectionDomain>() };
    Box::into_raw(MemoryRegion::register(domain, address, bytes)).cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_dereg_mr(region: *mut ibv::ibv_mr) -> c_int {
    // SAFETY: from `ibv_reg_mr`, given back once.
    drop(unsafe { Box::from_raw(region.cast::<MemoryRegion>()) });
    0
}

/// Makes a completion queue. Events are not supported: a completion channel is
/// refused with `EOPNOTSUPP`.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_create_cq(
    context: *mut ibv::ibv_context,
    entries: c_int,
    cq_context: *mut c_void,
    channel: *mut ibv::ibv_comp_channel,
    _vector: c_int,
) -> *mut ibv::ibv_cq {
    if !channel.is_null() {
        return fail(libc::EOPNOTSUPP);
    }
    if entries < 1 {
        return fail(libc::EINVAL);
    }
    Box::into_raw(CompletionQueue::new(context, entries, cq_context)).cast()
}

/// Frees a completion queue; `EBUSY` while a queue pair uses it.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_destroy_cq(queue: *mut ibv::ibv_cq) -> c_int {
    // SAFETY: a live completion queue.
    if unsafe { &*queue.cast::<CompletionQueue>() }.is_used() {
        return libc::EBUSY;
    }
    // SAFETY: from `ibv_create_cq`, given back once.
    drop(unsafe { Box::from_raw(queue.cast::<CompletionQueue>()) });
    0
}

/// Makes an unreliably connected queue pair. Null with `EOPNOTSUPP` for another
/// type or a shared receive queue, `ENOMEM` when the device has no more.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_create_qp(
    domain: *mut ibv::ibv_pd,
    wanted: *mut ibv::ibv_qp_init_attr,
) -> *mut ibv::ibv_qp {
    // SAFETY: the caller's own description, read and answered in place.
    let wanted = unsafe { &mut *wanted };
    if wanted.qp_type != ibv::IBV_QPT_UC || !wanted.srq.is_null() {
        return fail(libc::EOPNOTSUPP);
    }
    if wanted.send_cq.is_null() || wanted.recv_cq.is_null() {
        return fail(libc::EINVAL);
    }
    if wanted.cap.max_send_sge > 1 || wanted.cap.max_recv_sge > 1 {
        return fail(libc::EINVAL);
    }
    wanted.cap.max_inline_data = 0;
    // SAFETY: a live protection domain on a live context.
    let (domain, context) = unsafe {
        let domain = &*domain.cast::<ProtectionDomain>();
        (domain, &*domain.raw.context.cast::<Context>())
    };
    let limits = Limits {
        sends: wanted.cap.max_send_wr as usize,
        receives: wanted.cap.max_recv_wr as usize,
        signal_all: wanted.sq_sig_all != 0,
    };
    let Some(pair) = QueuePair::create(
        Arc::clone(&context.cable),
        context.device.config.clone(),
        Arc::clone(&domain.regions),
        limits,
    ) else {
        return fail(libc::ENOMEM);
    };
    Box::into_raw(Qp::new(domain, wanted, Arc::new(pair))).cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_destroy_qp(pair: *mut ibv::ibv_qp) -> c_int {
    // SAFETY: from `ibv_create_qp`, given back once, before its completion queues.
    drop(unsafe { Box::from_raw(pair.cast::<Qp>()) });
    0
}

/// Moves a queue pair through its states, with the checks that a rig in the field
/// has been seen to fail: a queue pair without a global route, or by way of a GID
/// that the port does not have, is refused with `EINVAL`.
///
/// An address that is not at the other end of this cable is *not* refused: a
/// queue pair cannot know.
#[unsafe(no_mangle)]
unsafe extern "C" fn ibv_modify_qp(
    pair: *mut ibv::ibv_qp,
    attributes: *mut ibv::ibv_qp_attr,
    mask: c_int,
) -> c_int {
    // SAFETY: a live queue pair and the caller's attributes.
    let (pair, attributes) = unsafe { (&mut *pair.cast::<Qp>(), &*attributes) };
    let mask = mask.unsigned_abs();
    if mask & ibv::IBV_QP_STATE == 0 {
        return 0;
    }
    let changed = match attributes.qp_state {
        ibv::IBV_QPS_RESET => pair.inner.advance(Phase::Reset),
        ibv::IBV_QPS_INIT => attributes.port_num == PORT && pair.inner.advance(Phase::Init),
        ibv::IBV_QPS_RTR => {
            let needed = ibv::IBV_QP_AV | ibv::IBV_QP_DEST_QPN;
            let route = &attributes.ah_attr;
            let routed = mask & needed == needed
                && route.is_global != 0
                && gid_entry(pair.inner.device(), c_int::from(route.grh.sgid_index)).is_some();
            routed && pair.inner.connect(destination(&pair.inner, attributes))
        }
        ibv::IBV_QPS_RTS => pair.inner.advance(Phase::ReadyToSend),
        ibv::IBV_QPS_ERR => pair.inner.advance(Phase::Error),
        _ => false,
    };
    if !changed {
        return libc::EINVAL;
    }
    pair.raw.state = attributes.qp_state;
    0
}

/// Who is meant: the queue pair of that number, if the GID is the one at the
/// other end of this queue pair's cable.
fn destination(pair: &QueuePair, attributes: &ibv::ibv_qp_attr) -> Peer {
    let reachable = mapped_gid(pair.device().peer_address);
    // SAFETY: every variant of the union is 16 plain bytes.
    if unsafe { attributes.ah_attr.grh.dgid.raw == reachable.raw } {
        Peer::Number(attributes.dest_qp_num)
    } else {
        Peer::Unreachable
    }
}

#[cfg(test)]
mod tests;
