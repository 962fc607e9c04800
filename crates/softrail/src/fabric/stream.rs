use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rail_matrix::Link;

use super::{
    DEPTH, QUEUE_BYTES, Time,
    direction::{FRAME_BYTES, serialisation},
};

/// When a message leaves and when it is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transit {
    /// The last byte has left; the sender may reuse the buffer.
    pub departs: Time,
    /// The last byte has arrived.
    pub arrives: Time,
}

/// What a stream wants carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// How much of it takes time on the cable.
    pub bytes: u64,
    /// When it may start.
    pub ready: Time,
    /// How much longer than the cable's latency it is on its way.
    pub delay: Duration,
}

/// A part of a load that is carried without interruption.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// When all of it has left.
    pub departs: Time,
    pub bytes: u64,
    /// Whether it is the end of its load.
    pub is_last: bool,
}

/// How much a queue pair wants carried, in order, and since when; not what.
///
/// Its queue pair is the only one to [offer](Self::offer), and whoever advances the
/// [direction](super::Direction) says when each load leaves and arrives. All zeros is
/// a stream that never offered anything. A load is remembered until [`DEPTH`] others
/// were offered after it.
#[derive(Debug)]
#[repr(C)]
pub struct Stream {
    offered: Cursor,
    placed: Placed,
    items: [Item; DEPTH],
}

/// A count, alone on its cache line: one side writes it while the other polls it.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Cursor(pub(super) AtomicU64);

/// How far the stream is on the cable.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Placed {
    loads: AtomicU64,
    /// Of the next load, in bytes.
    part: AtomicU64,
    last_arrival: AtomicU64,
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
    /// Forgets what was not carried yet. Nobody may be offering or placing.
    ///
    /// It goes on counting: who is late with the last owner's messages must not take
    /// them for the next one's.
    pub fn reset(&self) {
        let offered = self.offered();
        // No stream gets that far; somebody else wrote it.
        let offered = if offered > u64::MAX / 2 { 0 } else { offered };
        self.offered.0.store(offered, Ordering::Relaxed);
        self.placed.part.store(0, Ordering::Relaxed);
        self.placed.last_arrival.store(0, Ordering::Relaxed);
        self.placed.loads.store(offered, Ordering::Release);
    }

    /// How many loads were offered.
    pub fn offered(&self) -> u64 {
        self.offered.0.load(Ordering::Acquire)
    }

    /// How many of them have their times.
    pub fn placed(&self) -> u64 {
        self.placed.loads.load(Ordering::Acquire)
    }

    /// Offers another load and gives its number, counted from 0. What it stands for
    /// must be written before.
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

    /// Whether as many loads as are remembered have not left by `now`.
    pub fn is_full(&self, now: Time) -> bool {
        let oldest = self.offered().checked_sub(DEPTH as u64);
        let has_left = |oldest| {
            let transit = self.transit(oldest);
            transit.is_some_and(|transit| transit.departs <= now)
        };
        oldest.is_some_and(|oldest| !has_left(oldest))
    }

    /// When the next load may start, if there is one. A stream that claims more of them
    /// than it remembers has none: its owner's process is not trusted.
    pub(super) fn ready(&self) -> Option<Time> {
        let next = self.placed.loads.load(Ordering::Relaxed);
        let waiting = self.offered().wrapping_sub(next);
        (1..=DEPTH as u64)
            .contains(&waiting)
            .then(|| Time::from_nanos(self.item(next).ready.load(Ordering::Relaxed)))
    }

    /// Puts the next frame on a cable that is free from `start` on. One at a time,
    /// and only if there is a load.
    pub(super) fn place(&self, link: &Link, start: Time) -> Frame {
        let number = self.placed.loads.load(Ordering::Relaxed);
        let item = self.item(number);
        // The owner's process is not trusted.
        let bytes = item.bytes.load(Ordering::Relaxed).min(QUEUE_BYTES);
        let part = self.placed.part.load(Ordering::Relaxed).min(bytes);
        let frame = (bytes - part).min(FRAME_BYTES);
        // Rounded for the load as a whole, not for every frame.
        let duration = serialisation(link, part + frame) - serialisation(link, part);
        let departs = start + duration;
        let is_last = part + frame == bytes;
        if is_last {
            let delay = Duration::from_nanos(item.delay.load(Ordering::Relaxed));
            // What follows a delayed message stays behind it.
            let before = Time::from_nanos(self.placed.last_arrival.load(Ordering::Relaxed));
            let arrives = (departs + link.latency + delay).max(before);
            item.departs.store(departs.as_nanos(), Ordering::Relaxed);
            item.arrives.store(arrives.as_nanos(), Ordering::Relaxed);
            self.placed
                .last_arrival
                .store(arrives.as_nanos(), Ordering::Relaxed);
            self.placed.part.store(0, Ordering::Relaxed);
            self.placed
                .loads
                .store(number.wrapping_add(1), Ordering::Release);
        } else {
            self.placed.part.store(part + frame, Ordering::Relaxed);
        }
        Frame {
            departs,
            bytes: frame,
            is_last,
        }
    }

    fn item(&self, number: u64) -> &Item {
        &self.items[(number % DEPTH as u64) as usize]
    }
}
