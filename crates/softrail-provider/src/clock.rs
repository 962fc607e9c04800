//! Real time, and yielding the processor while waiting.

use std::cell::Cell;

use rustix::thread::sched_yield;

pub use softrail::now;

/// Empty polls in a row before the thread yields the processor. jaccl spins, and with as
/// many ranks as cores a spinning rank keeps its peer from sending what the rank waits
/// for.
const EMPTY_POLLS: u32 = 20;

/// Counts an empty poll of this thread, and yields after many in a row.
pub fn polled(completions: usize) {
    thread_local!(static EMPTY: Cell<u32> = const { Cell::new(0) });
    EMPTY.with(|empty| {
        let count = if completions == 0 { empty.get() + 1 } else { 0 };
        if count == EMPTY_POLLS {
            sched_yield();
            empty.set(0);
        } else {
            empty.set(count);
        }
    });
}
