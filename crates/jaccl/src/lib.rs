//! Drives jaccl, MLX's RDMA library, in any build that is around.
//!
//! jaccl is C++ and part of MLX. A build of just jaccl and the small C interface
//! in `shim/` is one shared library; this crate opens it at run time, so that one
//! program can compare builds:
//!
//! ```no_run
//! # use std::path::Path;
//! use jaccl::{Config, Library};
//!
//! let library = Library::open(Path::new("libjaccl_shim.so"))?;
//! let mut group = library.init(&Config {
//!     rank: 0,
//!     coordinator: "127.0.0.1:20000".to_owned(),
//!     devices: "devices.json".into(),
//!     prefer_ring: true,
//! })?;
//! let mut sum = [0.0_f32; 4];
//! group.all_sum(&[1.0, 2.0, 3.0, 4.0], &mut sum)?;
//! # Ok::<(), jaccl::Error>(())
//! ```
//!
//! Lengths and ranks are checked here; everything else is jaccl as it is. Its
//! calls return when the operation is done and spin until then, for ever if the
//! peer is gone: run a rank in a process of its own, under a watchdog. A build with
//! a defect that writes past a buffer does so here too.
//!
//! [`run`] exercises a group and checks every byte; the program `jaccl-rank` is a
//! `main` around it.

mod element;
mod error;
mod exercise;
mod group;
mod job;
mod library;
mod shim;

pub use element::{Dtype, Element};
pub use error::Error;
pub use exercise::run;
pub use group::{Group, Reduction};
pub use job::{Job, Operation, Report, Step};
pub use library::{Config, Library, MatrixValidity};
