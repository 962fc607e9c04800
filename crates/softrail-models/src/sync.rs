//! As `sync` of softrail, for a model.

pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Stores a value where another thread may exchange the one before. loom does not take
/// from what an exchange has read that it came before the store: it would let a thread
/// that knows of both read the exchanged value later. It knows the order of exchanges.
pub fn overwrite(word: &AtomicU64, value: u64) {
    word.swap(value, Ordering::Relaxed);
}

/// The messages that a queue remembers: few, so that their memory is soon used again.
pub const ENTRIES: usize = 2;
