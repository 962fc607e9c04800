//! Real time, and yielding the processor while waiting.

use std::cell::Cell;

use rustix::{
    thread::sched_yield,
    time::{ClockId, clock_gettime},
};

use softrail::fabric::Time;

/// Empty polls in a row before the thread yields the processor. jaccl spins, and with as
/// many ranks as cores a spinning rank keeps its peer from sending what the rank waits
/// for.
const EMPTY_POLLS: u32 = 20;

/// The current time, on a clock that all processes of the machine share.
pub fn now() -> Time {
    let time = clock_gettime(ClockId::Monotonic);
    Time::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

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
