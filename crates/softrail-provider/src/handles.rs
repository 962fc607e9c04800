//! The objects that the application holds by pointer and later hands back.
//!
//! libibverbs frees any pointer that it is handed. Here a pointer that is handed back
//! twice, or that never came from here, is refused.
//!
//! A child that the application forks inherits the pointers of its parent. It may hand
//! them back, as the destructors of static objects do when it exits. The parent still
//! uses what is behind them: queue pairs in shared memory. The threads that serve them do
//! not exist in the child, and a lock that another thread held at the fork stays locked
//! there. So in the child such an object is left as it is.

use std::{
    any::TypeId,
    collections::BTreeSet,
    ffi::c_int,
    process, ptr,
    sync::{
        Mutex, TryLockError,
        atomic::{AtomicPtr, Ordering},
    },
};

use super::lock;

/// The objects of one process, by address and type: C hands back only the pointer.
struct Handles {
    process: u32,
    held: Mutex<BTreeSet<(usize, TypeId)>>,
    /// Those of the process that forked this one.
    inherited: Option<&'static Handles>,
}

/// The objects of this process, or of its parent while this process has made none.
static CURRENT: AtomicPtr<Handles> = AtomicPtr::new(ptr::null_mut());

impl Handles {
    /// Those of this process.
    fn own() -> &'static Handles {
        let mut current = CURRENT.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or a box that was leaked below.
            let found: Option<&'static Handles> = unsafe { current.as_ref() };
            if let Some(own) = found.filter(|it| it.process == process::id()) {
                return own;
            }
            let new = Box::into_raw(Box::new(Handles {
                process: process::id(),
                held: Mutex::default(),
                inherited: found,
            }));
            let order = Ordering::AcqRel;
            match CURRENT.compare_exchange(current, new, order, Ordering::Acquire) {
                // SAFETY: a box that nothing frees.
                Ok(_) => return unsafe { &*new },
                Err(other) => {
                    // SAFETY: it was just boxed, and no other thread has seen it.
                    drop(unsafe { Box::from_raw(new) });
                    current = other;
                }
            }
        }
    }

    /// Whether an object may belong to a process that forked this one.
    fn has_inherited(&self, key: &(usize, TypeId)) -> bool {
        self.inherited.is_some_and(|parent| {
            let holds = match parent.held.try_lock() {
                Ok(held) => held.contains(key),
                Err(TryLockError::Poisoned(held)) => held.into_inner().contains(key),
                // A thread of the parent held the lock at the fork.
                Err(TryLockError::WouldBlock) => true,
            };
            holds || parent.has_inherited(key)
        })
    }
}

fn key<T: 'static>(object: *mut T) -> (usize, TypeId) {
    (object as usize, TypeId::of::<T>())
}

/// Hands an object to the application.
pub fn give<T: 'static>(object: Box<T>) -> *mut T {
    let object = Box::into_raw(object);
    lock(&Handles::own().held).insert(key(object));
    object
}

/// Takes an object back and drops it. Returns 0, or `EBUSY` while something else uses it,
/// or `EINVAL` if the application has no such object. An object of a process that forked
/// this one is left alone.
pub fn take_back<T: 'static>(object: *mut T, is_used: impl FnOnce(&T) -> bool) -> c_int {
    retire(object, is_used, |_| ())
}

/// The same, for an object that other threads may still use until `retire` returns.
pub fn retire<T: 'static>(
    object: *mut T,
    is_used: impl FnOnce(&T) -> bool,
    retire: impl FnOnce(&T),
) -> c_int {
    let own = Handles::own();
    let mut held = lock(&own.held);
    if !held.contains(&key(object)) {
        return match own.has_inherited(&key(object)) {
            true => 0,
            false => libc::EINVAL,
        };
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
