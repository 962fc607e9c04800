//! The functions that jaccl looks up.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
};

use crate::{bindings as ibv, next, slots};

/// Functions that are passed on. Without a library behind, they answer as libibverbs does on
/// a system without RDMA.
macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty, or $missing:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            match next::functions().and_then(|next| next.$name) {
                // SAFETY: the caller's promises are for the library behind.
                Some(next) => unsafe { next($($argument),*) },
                None => {
                    errno::set_errno(errno::Errno(libc::ENOSYS));
                    $missing
                }
            }
        }
    )*};
}

forward! {
    ibv_get_device_list(count: *mut c_int) -> *mut *mut ibv::ibv_device, or ptr::null_mut();
    ibv_free_device_list(list: *mut *mut ibv::ibv_device) -> (), or ();
    ibv_get_device_name(device: *mut ibv::ibv_device) -> *const c_char, or ptr::null();
    ibv_close_device(context: *mut ibv::ibv_context) -> c_int, or -1;
    ibv_alloc_pd(context: *mut ibv::ibv_context) -> *mut ibv::ibv_pd, or ptr::null_mut();
    ibv_dealloc_pd(domain: *mut ibv::ibv_pd) -> c_int, or libc::ENOSYS;
    ibv_create_cq(
        context: *mut ibv::ibv_context,
        entries: c_int,
        cq_context: *mut c_void,
        channel: *mut ibv::ibv_comp_channel,
        vector: c_int
    ) -> *mut ibv::ibv_cq, or ptr::null_mut();
    ibv_destroy_cq(queue: *mut ibv::ibv_cq) -> c_int, or libc::ENOSYS;
    ibv_create_qp(
        domain: *mut ibv::ibv_pd,
        attributes: *mut ibv::ibv_qp_init_attr
    ) -> *mut ibv::ibv_qp, or ptr::null_mut();
    ibv_modify_qp(
        pair: *mut ibv::ibv_qp,
        attributes: *mut ibv::ibv_qp_attr,
        mask: c_int
    ) -> c_int, or libc::ENOSYS;
    ibv_destroy_qp(pair: *mut ibv::ibv_qp) -> c_int, or libc::ENOSYS;
    ibv_query_port(
        context: *mut ibv::ibv_context,
        port: u8,
        attributes: *mut ibv::ibv_port_attr
    ) -> c_int, or libc::ENOSYS;
    ibv_query_gid(
        context: *mut ibv::ibv_context,
        port: u8,
        index: c_int,
        gid: *mut ibv::ibv_gid
    ) -> c_int, or -1;
    ibv_reg_mr(
        domain: *mut ibv::ibv_pd,
        address: *mut c_void,
        length: usize,
        access: c_int
    ) -> *mut ibv::ibv_mr, or ptr::null_mut();
    ibv_dereg_mr(region: *mut ibv::ibv_mr) -> c_int, or libc::ENOSYS;
}

/// Opens a device, and counts what goes through its context from then on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_open_device(device: *mut ibv::ibv_device) -> *mut ibv::ibv_context {
    let next = next::functions();
    let Some(open) = next.and_then(|next| next.ibv_open_device) else {
        errno::set_errno(errno::Errno(libc::ENOSYS));
        return ptr::null_mut();
    };
    // SAFETY: the caller's promises are for the library behind.
    let context = unsafe { open(device) };
    let name = next.and_then(|next| next.ibv_get_device_name);
    if let (Some(name), false) = (name, context.is_null()) {
        // SAFETY: a live device, whose name is NUL-terminated.
        let name = unsafe { CStr::from_ptr(name(device)) };
        // SAFETY: the context was just opened, and nobody else has it yet.
        unsafe { slots::count(context, &name.to_string_lossy()) };
    }
    context
}
