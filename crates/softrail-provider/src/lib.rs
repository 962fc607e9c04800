//! The C interface of libibverbs: the functions that programs link to or look up by
//! name (`api`), and the operations that `verbs.h` reaches through `ibv_context`
//! (`ops`).
//!
//! Every object the application holds a pointer to begins with the structure that
//! `verbs.h` declares for it. The application owns the object until it hands the pointer
//! back. Objects share what outlives them (`Arc`), so they may be handed back in any
//! order. Arguments are trusted as far as libibverbs trusts them: pointers must be live
//! and of the right type.
//!
//! Work is done inside `ibv_post_send` and `ibv_poll_cq`, with the times at which
//! hardware would have done it. A thread (`engine`) does only the work that must go on
//! while the application calls neither.
#![allow(unsafe_code)]

// Public for the test client, which is a program of its own in some of the tests. What
// the functions do and need is as for libibverbs, with the trust described above.
#[allow(missing_docs, clippy::missing_safety_doc)]
pub mod api;
pub mod bindings;
mod builder;
mod clock;
mod completions;
mod engine;
mod events;
mod handles;
mod memory;
mod objects;
mod offer;
mod ops;
mod port;
mod queue_pair;
pub mod simulation;
mod work;

use std::{
    collections::BTreeSet,
    ffi::c_int,
    fmt::Display,
    io::{self, Write},
    ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// No thread panics while it holds a lock. If one did, its state would still be the best
/// to continue with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets `errno` and returns the null pointer that goes with it.
fn fail<T>(errno: c_int) -> *mut T {
    set_errno(errno);
    ptr::null_mut()
}

/// Sets `errno` and returns the -1 that goes with it.
fn refuse(errno: c_int) -> c_int {
    set_errno(errno);
    -1
}

/// Prints a message that no error number can express. Unlike `eprintln` it does not end
/// the process of an application that has closed its standard error.
fn complain(what: impl Display) {
    let _ = writeln!(io::stderr(), "softrail: {what}");
}

/// Says once what devices of the rig's profile lack, when a program asks for it.
fn explain(what: &'static str) {
    static SAID: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if lock(&SAID).insert(what) {
        complain(what);
    }
}

fn set_errno(errno: c_int) {
    errno::set_errno(errno::Errno(errno));
}

#[cfg(test)]
mod tests;

/// The test client names this crate as other programs do.
#[cfg(test)]
extern crate self as softrail_provider;
