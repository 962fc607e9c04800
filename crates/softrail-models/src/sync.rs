//! As `sync` of softrail, for a model.

pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
