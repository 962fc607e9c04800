//! Properties of devices and their ports.

use std::{
    ffi::{c_char, c_int},
    mem::{self, MaybeUninit, offset_of},
    net::Ipv4Addr,
    ptr,
};

use rig::{DeviceFault, Profile};

use super::device::guid;
use crate::{bindings as ibv, objects::Context, offer::Offer, refuse, set_errno};
use softrail::{Condition, config};

/// Ports are counted from 1, and a cable's end has one.
pub const PORT: u8 = 1;

/// Completions that a completion queue may be asked to hold.
pub const COMPLETIONS: c_int = 1 << 22;

/// Reads of a reliable queue pair that may be in flight.
pub const READS: u8 = 16;

/// The only partition key: that of the default partition.
const PARTITION: u16 = 0xffff;

/// The IPv4-mapped GID of an address, `::ffff:a.b.c.d`.
pub fn mapped_gid(address: Ipv4Addr) -> ibv::ibv_gid {
    ibv::ibv_gid {
        raw: address.to_ipv6_mapped().octets(),
    }
}

/// The entries of a device's GID table: a link-local GID, which every port has, and the
/// IPv4-mapped GID at the rig's index; link-local ones between them. jaccl searches for the
/// mapped one, but uses index 1 without looking.
pub fn gids(device: &config::Device) -> c_int {
    c_int::from(device.rules.gid_index) + 1
}

/// The entry at `index` of a device's GID table; `None` if it is empty or beyond the
/// table. A Mac's port without an IPv4 address has a link-local GID in its place.
pub fn gid_entry(
    device: &config::Device,
    condition: &Condition,
    index: c_int,
) -> Option<ibv::ibv_gid> {
    let is_mapped = index == c_int::from(device.rules.gid_index);
    let is_missing = is_mapped && condition.is(DeviceFault::NoGid);
    match device.rules.profile {
        _ if !(0..gids(device)).contains(&index) => None,
        Profile::Rdma if is_missing => None,
        _ if is_mapped && !is_missing => Some(mapped_gid(device.address)),
        _ => Some(local_gid(device.address, index)),
    }
}

/// Whether a queue pair can be connected from the entry at `index`. On a Mac it must be the
/// IPv4-mapped one.
pub fn is_route(device: &config::Device, condition: &Condition, index: c_int) -> bool {
    let entry = gid_entry(device, condition, index);
    let mapped = mapped_gid(device.address);
    match device.rules.profile {
        Profile::Rdma => entry.is_some(),
        // SAFETY: every variant of the union is 16 plain bytes.
        Profile::Thunderbolt => entry.is_some_and(|entry| unsafe { entry.raw == mapped.raw }),
    }
}

/// A link-local GID of an address.
fn local_gid(address: Ipv4Addr, index: c_int) -> ibv::ibv_gid {
    let [a, b, c, d] = address.octets();
    let number = index as u8;
    ibv::ibv_gid {
        raw: [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, number, 0, 0, a, b, c, d],
    }
}

impl Context {
    /// The current entry at `index` of the GID table, if it is not empty.
    fn gid(&self, index: c_int) -> Option<ibv::ibv_gid> {
        gid_entry(&self.device.config, self.condition(), index)
    }
}

/// The context behind a pointer.
///
/// # Safety
/// The context must be live, and stay so as long as the reference is used.
unsafe fn opened<'a>(context: *mut ibv::ibv_context) -> &'a Context {
    // SAFETY: the caller's promise.
    unsafe { &*Context::behind(context) }
}

/// Describes a device. Limits are those of the emulation; unsupported features are 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_device(
    context: *mut ibv::ibv_context,
    attributes: *mut ibv::ibv_device_attr,
) -> c_int {
    // SAFETY: a live context.
    let context = unsafe { opened(context) };
    // SAFETY: the caller's room for the description.
    unsafe { attributes.write(describe(&context.device.config)) };
    0
}

/// The same with the later extensions of the description, as far as the caller's
/// structure has room for them. No extension is offered here.
pub unsafe extern "C" fn query_device_ex(
    context: *mut ibv::ibv_context,
    input: *const ibv::ibv_query_device_ex_input,
    attributes: *mut ibv::ibv_device_attr_ex,
    room: usize,
) -> c_int {
    // SAFETY: null or the caller's structure.
    let asked = unsafe { input.as_ref() }.map_or(0, |input| input.comp_mask);
    if asked != 0 || room < size_of::<ibv::ibv_device_attr>() {
        return libc::EINVAL;
    }
    // SAFETY: a live context.
    let context = unsafe { opened(context) };
    let known = room.min(size_of::<ibv::ibv_device_attr_ex>());
    let mut all = MaybeUninit::<ibv::ibv_device_attr_ex>::zeroed();
    // SAFETY: integers, for which zero is valid, and the caller's room for as many bytes
    // as it says; no more are copied.
    unsafe {
        let all = all.assume_init_mut();
        all.orig_attr = describe(&context.device.config);
        all.phys_port_cnt_ex = 1;
        ptr::write_bytes(attributes.cast::<u8>(), 0, room);
        ptr::copy_nonoverlapping(ptr::from_ref(all).cast::<u8>(), attributes.cast(), known);
    }
    0
}

fn describe(device: &config::Device) -> ibv::ibv_device_attr {
    // SAFETY: integers, for which zero is valid.
    let zero: ibv::ibv_device_attr = unsafe { mem::zeroed() };
    let mut version = zero.fw_ver;
    let text = concat!("softrail-", env!("CARGO_PKG_VERSION"));
    for (target, byte) in version.iter_mut().zip(text.bytes()) {
        *target = byte as c_char;
    }
    let offer = Offer::of(device.rules.profile);
    let reads = match offer.has_credits {
        true => 0,
        false => c_int::from(READS),
    };
    ibv::ibv_device_attr {
        fw_ver: version,
        node_guid: guid(device),
        sys_image_guid: guid(device),
        max_mr_size: offer.region,
        page_size_cap: 4096,
        max_qp: offer.queue_pairs as c_int,
        max_qp_wr: offer.depth as c_int,
        max_sge: offer.scatter as c_int,
        max_sge_rd: offer.scatter as c_int,
        max_cq: offer.completion_queues as c_int,
        max_cqe: COMPLETIONS,
        max_mr: offer.regions as c_int,
        max_pd: offer.domains as c_int,
        max_qp_rd_atom: reads,
        max_res_rd_atom: reads * offer.queue_pairs as c_int,
        max_qp_init_rd_atom: reads,
        atomic_cap: ibv::IBV_ATOMIC_NONE,
        max_pkeys: 1,
        local_ca_ack_delay: 15,
        phys_port_cnt: PORT,
        ..zero
    }
}

/// Describes the one port of a device. The caller's structure may be that of the first
/// libibverbs, so fields that were appended since are left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_port(
    context: *mut ibv::ibv_context,
    port: u8,
    attributes: *mut ibv::ibv_port_attr,
) -> c_int {
    let first = offset_of!(ibv::ibv_port_attr, port_cap_flags2);
    // SAFETY: a live context, and the caller's structure, which has at least the fields
    // before that one.
    unsafe { query_port_whole(context, port, attributes, first) }
}

/// Fills the first `room` bytes of the caller's structure.
pub unsafe extern "C" fn query_port_whole(
    context: *mut ibv::ibv_context,
    port: u8,
    attributes: *mut ibv::ibv_port_attr,
    room: usize,
) -> c_int {
    if port != PORT {
        return libc::EINVAL;
    }
    // SAFETY: a live context.
    let context = unsafe { opened(context) };
    // SAFETY: integers, for which zero is valid.
    let zero: ibv::ibv_port_attr = unsafe { mem::zeroed() };
    // The states that `ibstat` and others print as LinkUp and Polling.
    let (state, phys_state) = if context.condition().is_down() {
        (ibv::IBV_PORT_DOWN, 2)
    } else {
        (ibv::IBV_PORT_ACTIVE, 5)
    };
    let port = ibv::ibv_port_attr {
        state,
        max_mtu: ibv::IBV_MTU_4096,
        active_mtu: ibv::IBV_MTU_4096,
        gid_tbl_len: gids(&context.device.config),
        max_msg_sz: Offer::of(context.device.config.rules.profile).message as u32,
        pkey_tbl_len: 1,
        // One lane, as a Thunderbolt link reports.
        active_width: 1,
        active_speed: 32,
        phys_state,
        link_layer: ibv::IBV_LINK_LAYER_ETHERNET as u8,
        ..zero
    };
    let known = room.min(size_of::<ibv::ibv_port_attr>());
    // SAFETY: the caller's structure has as many bytes as it says.
    unsafe {
        ptr::copy_nonoverlapping(ptr::from_ref(&port).cast::<u8>(), attributes.cast(), known);
    }
    0
}

/// Reads an entry of the GID table. As in libibverbs, an empty entry is returned as 16
/// zeros without an error; an index beyond the table returns -1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_gid(
    context: *mut ibv::ibv_context,
    port: u8,
    index: c_int,
    gid: *mut ibv::ibv_gid,
) -> c_int {
    // SAFETY: a live context.
    let context = unsafe { opened(context) };
    if port != PORT || !(0..gids(&context.device.config)).contains(&index) {
        return refuse(libc::EINVAL);
    }
    let empty = ibv::ibv_gid { raw: [0; 16] };
    // SAFETY: the caller's room for a GID.
    unsafe { gid.write(context.gid(index).unwrap_or(empty)) };
    0
}

/// Reads an entry of the GID table with its type and port; `ENODATA` if it is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ibv_query_gid_ex(
    context: *mut ibv::ibv_context,
    port: u32,
    index: u32,
    entry: *mut ibv::ibv_gid_entry,
    flags: u32,
    room: usize,
) -> c_int {
    // SAFETY: a live context.
    let context = unsafe { opened(context) };
    let length = gids(&context.device.config);
    let known = c_int::try_from(index).is_ok_and(|index| index < length);
    if port != u32::from(PORT) || !known || flags != 0 {
        return libc::EINVAL;
    }
    let Some(found) = whole_entry(context, index) else {
        return libc::ENODATA;
    };
    // SAFETY: the caller's room for as many bytes as it says.
    unsafe { copy_entry(&found, entry, room) };
    0
}

/// Reads all non-empty entries of the GID table. Returns their number, or a negative
/// error number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ibv_query_gid_table(
    context: *mut ibv::ibv_context,
    entries: *mut ibv::ibv_gid_entry,
    most: usize,
    flags: u32,
    room: usize,
) -> isize {
    if flags != 0 {
        return -(libc::EINVAL as isize);
    }
    // SAFETY: a live context.
    let context = unsafe { opened(context) };
    let length = gids(&context.device.config) as u32;
    let found = (0..length).filter_map(|index| whole_entry(context, index));
    let mut count = 0;
    for entry in found.take(most) {
        // SAFETY: the caller's room for as many entries as it says, each of as many
        // bytes as it says.
        unsafe { copy_entry(&entry, entries.byte_add(count * room), room) };
        count += 1;
    }
    count as isize
}

/// An entry of the GID table with its type and port. There is no network interface, so
/// its index is unset.
fn whole_entry(context: &Context, index: u32) -> Option<ibv::ibv_gid_entry> {
    Some(ibv::ibv_gid_entry {
        gid: context.gid(index as c_int)?,
        gid_index: index,
        port_num: u32::from(PORT),
        gid_type: gid_type(context, index),
        ndev_ifindex: 0,
    })
}

/// The link-local GIDs belong to RoCE version 1, the mapped one to version 2.
fn gid_type(context: &Context, index: u32) -> u32 {
    let condition = &context.cable.end(context.device.config.side).condition;
    match is_route(&context.device.config, condition, index as c_int) {
        false => ibv::IBV_GID_TYPE_ROCE_V1,
        true => ibv::IBV_GID_TYPE_ROCE_V2,
    }
}

/// # Safety
/// `target` must be valid for writing `room` bytes.
unsafe fn copy_entry(entry: &ibv::ibv_gid_entry, target: *mut ibv::ibv_gid_entry, room: usize) {
    let known = room.min(size_of::<ibv::ibv_gid_entry>());
    // SAFETY: the caller's promise.
    unsafe { ptr::copy_nonoverlapping(ptr::from_ref(entry).cast::<u8>(), target.cast(), known) };
}

/// The type of a GID in the form that rdma-core's own tools query: 0 for RoCE version 1,
/// 1 for version 2. As in libibverbs, an empty entry has version 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_gid_type(
    context: *mut ibv::ibv_context,
    port: u8,
    index: u32,
    kind: *mut u32,
) -> c_int {
    // SAFETY: a live context.
    let context = unsafe { opened(context) };
    if port != PORT || index >= gids(&context.device.config) as u32 {
        return refuse(libc::EINVAL);
    }
    let entry = whole_entry(context, index);
    let second = entry.is_some_and(|entry| entry.gid_type == ibv::IBV_GID_TYPE_ROCE_V2);
    // SAFETY: the caller's room for a type.
    unsafe { kind.write(u32::from(second)) };
    0
}

/// Reads an entry of the partition key table, in network byte order; -1 for an index
/// beyond the table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_pkey(
    _context: *mut ibv::ibv_context,
    port: u8,
    index: c_int,
    key: *mut u16,
) -> c_int {
    if (port, index) != (PORT, 0) {
        return refuse(libc::EINVAL);
    }
    // SAFETY: the caller's room for a key.
    unsafe { key.write(PARTITION.to_be()) };
    0
}

/// The index of a partition key in the table; -1 if it is not there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_pkey_index(
    _context: *mut ibv::ibv_context,
    port: u8,
    key: u16,
) -> c_int {
    if port == PORT && key == PARTITION.to_be() {
        0
    } else {
        refuse(libc::EINVAL)
    }
}

/// Devices have no folder in `/sys`: an empty path, and no file in it.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_get_sysfs_path() -> *const c_char {
    c"".as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn ibv_read_sysfs_file(
    _folder: *const c_char,
    _file: *const c_char,
    _buffer: *mut c_char,
    _room: usize,
) -> c_int {
    refuse(libc::ENOENT)
}

#[unsafe(no_mangle)]
pub extern "C" fn ibv_read_ibdev_sysfs_file() -> c_int {
    refuse(libc::ENOENT)
}

/// Nothing is registered with a kernel, so memory needs no care when a process forks. What a
/// child inherits it cannot use (see `handles`).
#[unsafe(no_mangle)]
pub extern "C" fn ibv_fork_init() -> c_int {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn ibv_is_fork_initialized() -> ibv::ibv_fork_status {
    ibv::IBV_FORK_UNNEEDED
}

#[unsafe(no_mangle)]
pub extern "C" fn ibv_dontfork_range() -> c_int {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn ibv_dofork_range() -> c_int {
    0
}

/// The link-layer address behind a GID, which only senders of datagrams need.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_resolve_eth_l2_from_gid() -> c_int {
    set_errno(libc::EOPNOTSUPP);
    libc::EOPNOTSUPP
}
