//! Devices: listing, opening and closing.

use std::{
    ffi::{c_char, c_int},
    ptr,
    sync::Arc,
};

use crate::{
    bindings as ibv, complain, fail, handles,
    objects::{Context, Device, OpenError},
    refuse,
};
use softrail::{config, shm::Side};

/// Lists the devices of this process's node, null-terminated; a node without devices has
/// an empty list. Without a fabric the result is that of libibverbs on a system without
/// RDMA: null, with `errno` set to `ENOSYS`. The reason is written to standard error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_device_list(count: *mut c_int) -> *mut *mut ibv::ibv_device {
    let devices = config::devices_from_env();
    if !count.is_null() {
        let listed = devices.as_ref().map_or(0, Vec::len);
        // SAFETY: the application passes null or room for the count.
        unsafe { *count = listed as c_int };
    }
    match devices {
        Ok(devices) => device_list(devices),
        Err(error) => {
            let why = softrail::with_causes(&error);
            match error.help() {
                Some(help) => complain(format_args!("no RDMA devices: {why}; {help}")),
                None => complain(format_args!("no RDMA devices: {why}")),
            }
            fail(libc::ENOSYS)
        }
    }
}

/// An array of devices, ended by null and owned by the application.
pub fn device_list(devices: Vec<config::Device>) -> *mut *mut ibv::ibv_device {
    let list: Vec<*mut ibv::ibv_device> = devices
        .into_iter()
        .map(|device| Arc::into_raw(Device::new(device)).cast_mut().cast())
        .chain([ptr::null_mut()])
        .collect();
    Box::into_raw(list.into_boxed_slice()).cast()
}

/// Frees a list and those of its devices that were not opened. The list must not be null:
/// libibverbs reads through a null pointer and crashes, and so does this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_free_device_list(list: *mut *mut ibv::ibv_device) {
    if list.is_null() {
        complain("ibv_free_device_list was given no list, which libibverbs dies of");
        std::process::abort();
    }
    let mut length = 0;
    // SAFETY: the list came from `ibv_get_device_list`: a boxed slice of pointers from
    // `Arc::into_raw`, the last of them null, handed back once.
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
pub unsafe extern "C" fn ibv_get_device_name(device: *mut ibv::ibv_device) -> *const c_char {
    // SAFETY: a live device, whose name is NUL-terminated.
    unsafe { (*device).name.as_ptr() }
}

/// Maps the device's cable. Null with `errno` when that fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_open_device(device: *mut ibv::ibv_device) -> *mut ibv::ibv_context {
    // SAFETY: a device on a list is an `Arc<Device>` that the list holds; this adds a
    // holder.
    let device = unsafe {
        Arc::increment_strong_count(device.cast::<Device>());
        Arc::from_raw(device.cast::<Device>())
    };
    match Context::open(device) {
        Ok(context) => context.into_raw(),
        Err(OpenError::Cable(error)) => {
            complain(softrail::with_causes(&error));
            fail(libc::ENODEV)
        }
        Err(OpenError::Events(error)) => fail(error.raw_os_error().unwrap_or(libc::EMFILE)),
    }
}

/// Closes a device. While objects of it are alive it stays open for them, and the last of
/// them closes it. libibverbs closes it under them, and well-known programs do not
/// notice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_close_device(context: *mut ibv::ibv_context) -> c_int {
    match handles::take_back(Context::behind(context), Context::close) {
        0 | libc::EBUSY => 0,
        errno => refuse(errno),
    }
}

/// A number that no other device of the rig has, in network byte order: the device's IPv4
/// address behind a prefix of locally administered addresses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_device_guid(device: *mut ibv::ibv_device) -> u64 {
    // SAFETY: a live device.
    guid(&unsafe { &*device.cast::<Device>() }.config)
}

pub fn guid(device: &config::Device) -> u64 {
    let [a, b, c, d] = device.address.octets();
    u64::from_ne_bytes([2, 0, 0, 0, a, b, c, d])
}

/// A number that no other device of the node has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_device_index(device: *mut ibv::ibv_device) -> c_int {
    // SAFETY: a live device.
    let device = &unsafe { &*device.cast::<Device>() }.config;
    let [_, high, low, _] = device.address.octets();
    let end = c_int::from(device.side == Side::Second);
    c_int::from(u16::from_be_bytes([high, low])) * 2 + end
}
