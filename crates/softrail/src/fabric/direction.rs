use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rail_matrix::Link;

use super::Time;

/// How long `bytes` occupy a link, rounded up to a nanosecond. A link of 0 bytes a
/// second carries one byte a second: slow, but not a division by zero.
pub fn serialisation(link: &Link, bytes: u64) -> Duration {
    let rate = u128::from(link.bytes_per_second.max(1));
    let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// When a frame leaves and when it is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transit {
    /// The last byte has left; the sender may reuse the buffer.
    pub departs: Time,
    /// The last byte has arrived.
    pub arrives: Time,
}

/// One direction of a cable. All zeros is a cable that never carried anything.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Direction {
    next_free: AtomicU64,
    bytes: AtomicU64,
    frames: AtomicU64,
}

impl Direction {
    /// Puts a frame that became ready at `ready` behind all frames already on
    /// this direction, whoever sent them.
    pub fn transmit(&self, link: &Link, ready: Time, bytes: u64) -> Transit {
        let duration = serialisation(link, bytes);
        let departure = |free: u64| Time::from_nanos(free).max(ready) + duration;
        let free = self
            .next_free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                Some(departure(free).as_nanos())
            })
            .unwrap_or_else(|free| free);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
        let departs = departure(free);
        Transit {
            departs,
            arrives: departs + link.latency,
        }
    }

    /// Bytes this direction was given so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Frames this direction was given so far.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link {
        bytes_per_second: 50_000_000,
        latency: Duration::from_micros(20),
    };

    fn micros(micros: u64) -> Time {
        Time::ZERO + Duration::from_micros(micros)
    }

    #[test]
    fn a_frame_pays_its_bytes_and_then_the_latency() {
        let transit = Direction::default().transmit(&LINK, micros(100), 50_000);
        assert_eq!(
            transit,
            Transit {
                departs: micros(1100),
                arrives: micros(1120)
            }
        );
    }

    #[test]
    fn frames_queue_behind_each_other_and_idle_time_is_not_saved_up() {
        let direction = Direction::default();
        let departures =
            [0, 0, 5000].map(|ready| direction.transmit(&LINK, micros(ready), 50_000).departs);
        assert_eq!(departures, [micros(1000), micros(2000), micros(6000)]);
        assert_eq!((direction.bytes(), direction.frames()), (150_000, 3));
    }

    #[test]
    fn serialisation_never_rounds_to_more_than_the_line_rate() {
        let link = Link {
            bytes_per_second: 3,
            latency: Duration::ZERO,
        };
        assert_eq!(serialisation(&link, 1), Duration::from_nanos(333_333_334));
        assert_eq!(serialisation(&link, 0), Duration::ZERO);
    }
}
