//! A verbs library that passes through to another one, and counts bytes, messages, waits
//! and depth of each device in a file of the crate [`meter`].
//!
//! jaccl opens it by the name of the verbs library, because it lies first on the loader's
//! path under that name; no patch of jaccl is needed. The library behind it is named by
//! the environment ([`meter::NEXT_VARIABLE`]).
//!
//! `exports` has the functions that jaccl looks up. They are passed on as they are, but
//! for `ibv_open_device`: `verbs.h` calls `ibv_post_send`, `ibv_post_recv` and
//! `ibv_poll_cq` through the context, so a context that was opened gets functions of ours
//! in its table (`slots`), which call the ones that were there.
//!
//! Only functions that jaccl uses are here. Other programs of verbs do not start with it.
//! On Linux a driver of rdma-core that is linked to libibverbs by its usual name would
//! find this library; nobody has tried it there over real cables, and nobody on a Mac.
#![allow(unsafe_code)]

// The file is softrail-provider's, whose crate cannot be linked here: it exports the same
// names.
#[path = "../../softrail-provider/src/bindings.rs"]
mod bindings;
// What the functions do and need is as for the library behind.
#[allow(missing_docs, clippy::missing_safety_doc)]
pub mod exports;
mod next;
mod slots;

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Prints a message that no error number can express. Unlike `eprintln` it does not end
/// the process of an application that has closed its standard error.
fn complain(what: impl Display) {
    let _ = writeln!(io::stderr(), "meter: {what}");
}
