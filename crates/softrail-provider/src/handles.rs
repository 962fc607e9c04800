//! The objects that the application holds by pointer and later hands back.
//!
//! libibverbs frees any pointer that it is handed. Here a pointer that is handed back
//! twice, or that never came from here, is refused.

use std::{any::TypeId, collections::BTreeSet, ffi::c_int, sync::Mutex};

use super::lock;

/// All objects of the process, by address and type: C hands back only the pointer.
static HELD: Mutex<BTreeSet<(usize, TypeId)>> = Mutex::new(BTreeSet::new());

fn key<T: 'static>(object: *mut T) -> (usize, TypeId) {
    (object as usize, TypeId::of::<T>())
}

/// Hands an object to the application.
pub fn give<T: 'static>(object: Box<T>) -> *mut T {
    let object = Box::into_raw(object);
    lock(&HELD).insert(key(object));
    object
}

/// Takes an object back and drops it. Returns 0, or `EBUSY` while something else uses it,
/// or `EINVAL` if the application has no such object.
pub fn take_back<T: 'static>(object: *mut T, is_used: impl FnOnce(&T) -> bool) -> c_int {
    retire(object, is_used, |_| ())
}

/// The same, for an object that other threads may still use until `retire` returns.
pub fn retire<T: 'static>(
    object: *mut T,
    is_used: impl FnOnce(&T) -> bool,
    retire: impl FnOnce(&T),
) -> c_int {
    let mut held = lock(&HELD);
    if !held.contains(&key(object)) {
        return libc::EINVAL;
    }
    // SAFETY: it came from `give` as this type, and was not taken back.
    if is_used(unsafe { &*object }) {
        return libc::EBUSY;
    }
    held.remove(&key(object));
    drop(held);
    // SAFETY: as above, and from here on no other call can take it back again.
    retire(unsafe { &*object });
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(object) });
    0
}
