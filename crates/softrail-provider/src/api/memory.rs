//! Protection domains and the memory registered in them.

use std::ffi::{c_int, c_void};

use rail_matrix::DeviceFault;

use crate::{
    bindings as ibv, fail, handles,
    objects::{Context, MemoryRegion, ProtectionDomain},
};

/// What memory may be registered for.
const ACCESS: u32 = ibv::IBV_ACCESS_LOCAL_WRITE
    | ibv::IBV_ACCESS_REMOTE_WRITE
    | ibv::IBV_ACCESS_REMOTE_READ
    | ibv::IBV_ACCESS_REMOTE_ATOMIC
    | ibv::IBV_ACCESS_HUGETLB;

/// All flags that `verbs.h` has, in ten bits.
const FLAGS: u32 = 0x3ff;

/// Hints, in ten bits, which libibverbs drops where a device does not know them.
const HINTS: u32 = 0x3ff * ibv::IBV_ACCESS_OPTIONAL_FIRST;

/// Null with `ENETDOWN` on a port that is down.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_alloc_pd(context: *mut ibv::ibv_context) -> *mut ibv::ibv_pd {
    // SAFETY: a live context.
    let condition = unsafe { &*Context::behind(context) }.condition();
    if condition.is(DeviceFault::PortDown) {
        return fail(libc::ENETDOWN);
    }
    handles::give(ProtectionDomain::new(context)).cast()
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

/// Registers memory that is named by other addresses than its own.
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

/// Registers memory. Null with `EINVAL` for none at all, for more than there are
/// addresses, for flags that nobody knows, or when the other end might write what this
/// end may not; `EOPNOTSUPP` for memory windows, memory that
/// is fetched on demand, and addresses that begin at zero.
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
    handles::give(MemoryRegion::register(
        domain, address, bytes, named, access,
    ))
    .cast()
}

/// Takes memory back at any time: what is posted and has yet to use it fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_dereg_mr(region: *mut ibv::ibv_mr) -> c_int {
    handles::take_back(region.cast::<MemoryRegion>(), |_| false)
}
