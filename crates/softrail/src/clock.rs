use rustix::time::{ClockId, clock_gettime};

use crate::fabric::Time;

/// The current time, on a clock that all processes of the machine share.
pub fn now() -> Time {
    let time = clock_gettime(ClockId::Monotonic);
    Time::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}
