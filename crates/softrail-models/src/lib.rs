//! The parts of `softrail` that processes use at the same time through shared memory,
//! compiled from softrail's own files with the atomics of [`loom`], a model checker. It
//! runs a test once for each order in which threads may take turns, and with each value
//! that the memory model lets a thread read, up to a number of preemptions.
//!
//! In a model each thread stands for a process. The tests are `tests/*.rs`. They are a
//! package of their own because loom's atomics work inside a model only, and because the
//! rest of softrail need not be compiled a second time for them.

#[path = "../../softrail/src/bell.rs"]
pub mod bell;
#[path = "../../softrail/src/fabric/mod.rs"]
pub mod fabric;
#[path = "../../softrail/src/lease.rs"]
pub mod lease;
mod platform;
mod sync;

use std::sync::Arc;

use loom::thread;

/// Runs a model with at most `preemptions` in each of its orders. A thread is preempted
/// if it could have gone on; waiting is not counted.
pub fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let model = Arc::new(model);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    // A queue consists of many atomics.
    builder.max_branches = 100_000;
    builder.check(move || {
        let model = Arc::clone(&model);
        // An outlet does not fit on the usual stack of a model.
        let thread = thread::Builder::new().stack_size(1 << 20);
        let thread = thread.spawn(move || model());
        let ended = thread.expect("few threads run").join();
        ended.expect("loom ends at the first panic");
    });
}
