//! Drives jaccl, MLX's RDMA library, in any build that is around.
//!
//! jaccl is C++ and part of MLX. A build of just jaccl and the small C interface
//! in `shim/` is one shared library; this crate opens it at run time, so that one
//! program can compare builds:
//!
//! ```no_run
//! # use std::path::Path;
//! use jaccl::{Config, Dtype, Library, Reduction};
//!
//! let library = Library::open(Path::new("libjaccl_shim.so"))?;
//! let mut group = library.init(&Config {
//!     rank: 0,
//!     coordinator: "127.0.0.1:20000".to_owned(),
//!     devices: "devices.json".into(),
//!     prefer_ring: true,
//! })?;
//! group.all_reduce_in_place(Reduction::Sum, Dtype::UInt8, &mut [1, 2, 3, 4])?;
//! # Ok::<(), jaccl::Error>(())
//! ```
//!
//! Lengths and ranks are checked here; everything else is jaccl as it is. Its
//! calls return when the operation is done and spin until then, for ever if the
//! peer is gone: run a rank in a process of its own, under a watchdog. A build with
//! a defect that writes past a buffer does so here too.
//!
//! [`serve`] does what a launcher asks and checks every byte; rail-verify's program
//! `jaccl-rank` is a `main` around it.

// Written by the crate `codegen`.
#[rustfmt::skip]
#[allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    unsafe_code,
    unsafe_op_in_unsafe_fn,
    clippy::missing_safety_doc,
    clippy::too_many_arguments,
    clippy::undocumented_unsafe_blocks
)]
mod bindings;
mod dtype;
mod error;
mod exercise;
mod group;
mod guarded;
mod job;
mod library;
mod sample;
mod shim;

pub use dtype::Dtype;
pub use error::Error;
pub use exercise::serve;
pub use group::{Group, Reduction};
pub use job::{Job, Operation, Report, Request, Step};
pub use library::{Config, Features, Library, MatrixValidity};

/// The line before a stack that [`Library::trace_signals`] makes a process write.
pub const STACK_BEGINS: &str = "jaccl_shim: stack";

/// The line behind it.
pub const STACK_ENDS: &str = "jaccl_shim: end of stack";
