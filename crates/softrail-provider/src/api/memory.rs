//! Protection domains and the memory registered in them.

use std::ffi::{c_int, c_void};

use crate::{
    bindings as ibv, explain, fail, handles,
    objects::{Context, MemoryRegion, ProtectionDomain},
};

/// The access rights that memory may be registered with.
const ACCESS: u32 = ibv::IBV_ACCESS_LOCAL_WRITE
    | ibv::IBV_ACCESS_REMOTE_WRITE
    | ibv::IBV_ACCESS_REMOTE_READ
    | ibv::IBV_ACCESS_REMOTE_ATOMIC
    | ibv::IBV_ACCESS_HUGETLB;

/// All flags that `verbs.h` has, in ten bits.
const FLAGS: u32 = 0x3ff;

/// Hints, in ten bits. libibverbs drops them for a device that does not support them.
const HINTS: u32 = 0x3ff * ibv::IBV_ACCESS_OPTIONAL_FIRST;

/// Makes a protection domain. Null with `ENETDOWN` if the port is down, and with `ENOMEM`
/// if the device has no more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_alloc_pd(context: *mut ibv::ibv_context) -> *mut ibv::ibv_pd {
    // SAFETY: a live context.
    let opened = unsafe { &*Context::behind(context) };
    if opened.condition().is_down() {
        return fail(libc::ENETDOWN);
    }
    match ProtectionDomain::new(context) {
        Some(domain) => handles::give(domain).cast(),
        None => {
            explain("all protection domains of a device are in use");
            fail(libc::ENOMEM)
        }
    }
}

/// Frees a protection domain; `EBUSY` while memory or a queue pair is in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_dealloc_pd(domain: *mut ibv::ibv_pd) -> c_int {
    handles::take_back(domain.cast(), ProtectionDomain::is_used)
}

/// Registers memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_reg_mr(
    domain: *mut ibv::ibv_pd,
    address: *mut c_void,
    bytes: usize,
    access: c_int,
) -> *mut ibv::ibv_mr {
    let access = access.cast_unsigned();
    // SAFETY: a live protection domain.
    unsafe { ibv_reg_mr_iova2(domain, address, bytes, address as u64, access) }
}

/// Registers memory under addresses other than its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_reg_mr_iova(
    domain: *mut ibv::ibv_pd,
    address: *mut c_void,
    bytes: usize,
    named: u64,
    access: c_int,
) -> *mut ibv::ibv_mr {
    // SAFETY: a live protection domain.
    unsafe { ibv_reg_mr_iova2(domain, address, bytes, named, access.cast_unsigned()) }
}

/// Registers memory. Null with `EINVAL` for zero bytes, for a range beyond the address
/// space, for unknown flags, or if remote writes are permitted but local ones are not;
/// `EOPNOTSUPP` for memory windows, on-demand paging, and zero-based addresses; `ENOMEM`
/// if the device has no more regions, or none that long.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_reg_mr_iova2(
    domain: *mut ibv::ibv_pd,
    address: *mut c_void,
    bytes: usize,
    named: u64,
    access: u32,
) -> *mut ibv::ibv_mr {
    let by_others = ibv::IBV_ACCESS_REMOTE_WRITE | ibv::IBV_ACCESS_REMOTE_ATOMIC;
    let unfounded = access & by_others != 0 && access & ibv::IBV_ACCESS_LOCAL_WRITE == 0;
    let nowhere = address.is_null() || (address as usize).checked_add(bytes).is_none();
    let unknown = access & !(FLAGS | HINTS) != 0;
    if nowhere || bytes == 0 || unfounded || unknown {
        return fail(libc::EINVAL);
    }
    if access & !(ACCESS | HINTS) != 0 {
        return fail(libc::EOPNOTSUPP);
    }
    // SAFETY: a live protection domain.
    let domain = unsafe { &*domain.cast::<ProtectionDomain>() };
    let offer = domain.context().offer();
    let remote = ibv::IBV_ACCESS_REMOTE_READ | by_others;
    let likeness = &domain.context().device.config.rules.likeness;
    if offer.has_credits && likeness.refuses_local_write_alone && access & remote == 0 {
        explain(
            "memory was registered without remote access, which Macs were seen to refuse \
                 (the rig's refuses_local_write_alone)",
        );
        return fail(libc::EINVAL);
    }
    if bytes as u64 > offer.region {
        explain("more than 4 GiB were registered as one memory region");
        return fail(libc::ENOMEM);
    }
    match MemoryRegion::register(domain, address, bytes, named, access) {
        Some(region) => handles::give(region).cast(),
        None => {
            explain("all memory regions of a device are in use");
            fail(libc::ENOMEM)
        }
    }
}

/// Deregisters memory at any time: posted requests that have yet to use it fail. `EBUSY`
/// where a Mac would keep it registered until the process ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_dereg_mr(region: *mut ibv::ibv_mr) -> c_int {
    let errno = handles::take_back(region.cast(), MemoryRegion::is_leaked);
    if errno == libc::EBUSY {
        explain(
            "memory stays registered after a queue pair was moved to the error state and \
                 destroyed, as was seen on Macs (the rig's leaks_after_error)",
        );
    }
    errno
}
