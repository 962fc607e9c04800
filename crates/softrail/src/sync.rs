//! The atomics of the shared memory. The crate `softrail-models` compiles the files that
//! use them a second time, with the atomics of a model checker in this module's place.

pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
