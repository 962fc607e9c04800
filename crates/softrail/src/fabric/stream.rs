use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rail_matrix::Link;

use super::{
    DEPTH, QUEUE_BYTES, Time,
    direction::{FRAME_BYTES, serialisation},
};

/// When a message leaves and when it reaches the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transit {
    /// The time at which the last byte leaves; from then on the sender may reuse the
    /// buffer.
    pub departs: Time,
    /// The time at which the last byte arrives.
    pub arrives: Time,
}

/// A number of bytes that a stream offers to the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// The bytes that take time on the cable.
    pub bytes: u64,
    /// The earliest time at which it may start.
    pub ready: Time,
    /// Extra delay on top of the cable's latency.
    pub delay: Duration,
}

/// A part of a load that is carried without interruption.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// When all of it has left.
    pub departs: Time,
    pub bytes: u64,
    /// Whether it is the last part of its load.
    pub is_last: bool,
}

/// The amounts that a queue pair offers to the cable, in order and with their times, but
/// without the data.
///
/// Only the queue pair that owns the stream [offers](Self::offer) loads. The process that
/// advances the [direction](super::Direction) determines when each load leaves and
/// arrives. All zeros is a stream that never offered anything. A load is remembered until
/// [`DEPTH`] others were offered after it.
#[derive(Debug)]
#[repr(C)]
pub struct Stream {
    offered: Cursor,
    placed: Placed,
    items: [Item; DEPTH],
}

/// A counter on a cache line of its own, because one side writes it while the other polls
/// it.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Cursor(pub(super) AtomicU64);

/// How far the stream was carried.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Placed {
    progress: AtomicU64,
    last_arrival: AtomicU64,
}

/// The number of loads that were placed, and the bytes of the next load that were placed,
/// in one word. It is advanced by compare-and-swap, so a process that was stopped in the
/// middle of placing cannot advance it twice.
#[derive(Debug, Clone, Copy)]
struct Progress {
    loads: u64,
    part: u64,
}

impl Progress {
    /// Enough for the bytes of the longest load.
    const PART_BITS: u32 = QUEUE_BYTES.ilog2() + 1;

    fn from_word(word: u64) -> Self {
        Progress {
            loads: word >> Self::PART_BITS,
            part: word & ((1 << Self::PART_BITS) - 1),
        }
    }

    fn to_word(self) -> u64 {
        self.loads << Self::PART_BITS | self.part
    }
}

#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Item {
    bytes: AtomicU64,
    ready: AtomicU64,
    delay: AtomicU64,
    departs: AtomicU64,
    arrives: AtomicU64,
}

impl Default for Stream {
    fn default() -> Self {
        Stream {
            offered: Cursor::default(),
            placed: Placed::default(),
            items: std::array::from_fn(|_| Item::default()),
        }
    }
}

impl Stream {
    /// Discards the loads that were not carried yet. No process may be offering or
    /// placing.
    ///
    /// The count goes on: a process that is still handling the last owner's messages must
    /// not take the next owner's for them.
    pub fn reset(&self) {
        let loads = self.offered();
        // No stream gets that far, so another process wrote it.
        let loads = if loads > 1 << 40 { 0 } else { loads };
        let progress = Progress { loads, part: 0 };
        self.offered.0.store(loads, Ordering::Relaxed);
        self.placed.last_arrival.store(0, Ordering::Relaxed);
        self.placed
            .progress
            .store(progress.to_word(), Ordering::Release);
    }

    /// How many loads were offered.
    pub fn offered(&self) -> u64 {
        self.offered.0.load(Ordering::Acquire)
    }

    /// How many loads have their times.
    pub fn placed(&self) -> u64 {
        Progress::from_word(self.placed.progress.load(Ordering::Acquire)).loads
    }

    /// Offers another load and returns its number, counted from 0. The caller must have
    /// written the data that it stands for.
    pub fn offer(&self, load: Load) -> u64 {
        let number = self.offered.0.load(Ordering::Relaxed);
        let item = self.item(number);
        let delay = u64::try_from(load.delay.as_nanos()).unwrap_or(u64::MAX);
        item.bytes.store(load.bytes, Ordering::Relaxed);
        item.ready.store(load.ready.as_nanos(), Ordering::Relaxed);
        item.delay.store(delay, Ordering::Relaxed);
        self.offered
            .0
            .store(number.wrapping_add(1), Ordering::Release);
        number
    }

    /// When a load leaves and arrives, once that is settled.
    pub fn transit(&self, number: u64) -> Option<Transit> {
        (number < self.placed()).then(|| {
            let item = self.item(number);
            Transit {
                departs: Time::from_nanos(item.departs.load(Ordering::Relaxed)),
                arrives: Time::from_nanos(item.arrives.load(Ordering::Relaxed)),
            }
        })
    }

    /// Whether the maximum number of remembered loads have not left by `now`.
    pub fn is_full(&self, now: Time) -> bool {
        let oldest = self.offered().checked_sub(DEPTH as u64);
        let has_left = |oldest| {
            let transit = self.transit(oldest);
            transit.is_some_and(|transit| transit.departs <= now)
        };
        oldest.is_some_and(|oldest| !has_left(oldest))
    }

    /// When the next load may start, if there is one. `None` for a stream that claims
    /// more loads than it can remember: its owner's process is not trusted.
    pub(super) fn ready(&self) -> Option<Time> {
        let next = self.placed();
        let waiting = self.offered().wrapping_sub(next);
        (1..=DEPTH as u64)
            .contains(&waiting)
            .then(|| Time::from_nanos(self.item(next).ready.load(Ordering::Relaxed)))
    }

    /// Places the next frame on a cable that is free from `start` on, if there is a load.
    /// `None` if another process has placed it meanwhile. `placing` is called with the frame
    /// before any process can see that it was placed.
    pub(super) fn place(
        &self,
        link: &Link,
        start: Time,
        placing: impl FnOnce(&Frame),
    ) -> Option<Frame> {
        let found = self.placed.progress.load(Ordering::Acquire);
        let Progress { loads, part } = Progress::from_word(found);
        let item = self.item(loads);
        // The owner's process is not trusted.
        let bytes = item.bytes.load(Ordering::Relaxed).min(QUEUE_BYTES);
        let part = part.min(bytes);
        let frame = (bytes - part).min(FRAME_BYTES);
        // Rounded for the load as a whole, not for every frame.
        let duration = serialisation(link, part + frame) - serialisation(link, part);
        let departs = start + duration;
        let is_last = part + frame == bytes;
        let next = match is_last {
            true => Progress {
                loads: loads.wrapping_add(1),
                part: 0,
            },
            false => Progress {
                loads,
                part: part + frame,
            },
        };
        if is_last {
            self.time(item, departs, link.latency);
        }
        let placed = Frame {
            departs,
            bytes: frame,
            is_last,
        };
        placing(&placed);
        let moved = self.placed.progress.compare_exchange(
            found,
            next.to_word(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        moved.ok().map(|_| placed)
    }

    /// Sets when a load leaves and arrives.
    fn time(&self, item: &Item, departs: Time, latency: Duration) {
        let delay = Duration::from_nanos(item.delay.load(Ordering::Relaxed));
        let last_arrival = &self.placed.last_arrival;
        // Later loads stay behind a delayed one.
        let before = Time::from_nanos(last_arrival.load(Ordering::Relaxed));
        let arrives = (departs + latency + delay).max(before);
        item.departs.store(departs.as_nanos(), Ordering::Relaxed);
        item.arrives.store(arrives.as_nanos(), Ordering::Relaxed);
        last_arrival.store(arrives.as_nanos(), Ordering::Relaxed);
    }

    fn item(&self, number: u64) -> &Item {
        &self.items[(number % DEPTH as u64) as usize]
    }
}
