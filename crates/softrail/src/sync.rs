//! The atomics of the shared memory. The crate `softrail-models` compiles the files that
//! use them a second time, with the atomics of a model checker in this module's place.

pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Stores a value, in no order with other words, where a process that is late may still
/// exchange the one before.
pub fn overwrite(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Relaxed);
}

/// The messages that a queue remembers. A model has fewer, so that their memory is soon
/// used again.
pub const ENTRIES: usize = 64;
