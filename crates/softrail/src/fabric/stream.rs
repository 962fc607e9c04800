use std::time::Duration;

use rail_matrix::Link;

use super::{
    DEPTH, MESSAGE_BYTES, Message, Time,
    direction::{FRAME_BYTES, serialisation},
};
use crate::sync::{AtomicU64, Ordering, overwrite};

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
    /// How far the stream was carried: a [`Progress`].
    progress: Cursor,
    items: [Item; DEPTH],
}

/// A counter on a cache line of its own, because one side writes it while the other polls
/// it.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Cursor(pub(super) AtomicU64);

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
    const PART_BITS: u32 = MESSAGE_BYTES.ilog2() + 1;

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
    departs: Moment,
    arrives: Moment,
}

/// A time that is set once for each load, by whichever process is first. Until then the
/// word names the load. So a process that was stopped while placing a load changes
/// neither the load's times nor those of a later load in the same item.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    /// Set in a word that names a load; no time is that late.
    const OPEN: u64 = 1 << 63;

    /// Waits for the time of a load.
    fn open(&self, load: u64) {
        overwrite(&self.0, Self::OPEN | load);
    }

    /// Sets the time of a load, if it is not set yet. Returns the load's time. If the
    /// word belongs to a later load the result has no meaning.
    fn set(&self, load: u64, time: Time) -> Time {
        let time = time.as_nanos().min(Self::OPEN - 1);
        let open = Self::OPEN | load;
        let order = Ordering::Relaxed;
        let set = self.0.compare_exchange(open, time, order, order);
        Time::from_nanos(set.map_or_else(|found| found, |_| time))
    }

    /// The time that was set last. The origin of time if the word names a load.
    fn get(&self) -> Time {
        let word = self.0.load(Ordering::Relaxed);
        Time::from_nanos(if word < Self::OPEN { word } else { 0 })
    }
}

impl Default for Stream {
    fn default() -> Self {
        Stream {
            offered: Cursor::default(),
            progress: Cursor::default(),
            items: std::array::from_fn(|_| Item::default()),
        }
    }
}

impl Load {
    /// The load of a message that may go at `ready`.
    pub fn of(message: &Message, ready: Time) -> Self {
        Load {
            bytes: message.carried(),
            ready,
            delay: Duration::ZERO,
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
        let loads = self.next_number();
        let progress = Progress { loads, part: 0 };
        self.offered.0.store(loads, Ordering::Relaxed);
        // The next load does not stay behind those that are discarded.
        let last = self.item(loads.wrapping_sub(1));
        overwrite(&last.arrives.0, 0);
        self.progress.0.store(progress.to_word(), Ordering::Release);
    }

    /// The number of the first load after a [reset](Self::reset).
    pub(super) fn next_number(&self) -> u64 {
        let loads = self.offered();
        // No stream gets that far, so another process wrote it.
        if loads > 1 << 38 { 0 } else { loads }
    }

    /// How many loads were offered.
    pub fn offered(&self) -> u64 {
        self.offered.0.load(Ordering::Acquire)
    }

    /// How many loads have their times.
    pub fn placed(&self) -> u64 {
        Progress::from_word(self.progress.0.load(Ordering::Acquire)).loads
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
        item.departs.open(number);
        item.arrives.open(number);
        self.offered
            .0
            .store(number.wrapping_add(1), Ordering::Release);
        number
    }

    /// When a load leaves and arrives, once that is settled. For a load that is no longer
    /// remembered these are the times of a later load or the origin of time.
    pub fn transit(&self, number: u64) -> Option<Transit> {
        (number < self.placed()).then(|| {
            let item = self.item(number);
            Transit {
                departs: item.departs.get(),
                arrives: item.arrives.get(),
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
        let found = self.progress.0.load(Ordering::Acquire);
        let Progress { loads, part } = Progress::from_word(found);
        let item = self.item(loads);
        // The owner's process is not trusted.
        let bytes = item.bytes.load(Ordering::Relaxed).min(MESSAGE_BYTES);
        let part = part.min(bytes);
        let frame = (bytes - part).min(FRAME_BYTES);
        // Rounded for the load as a whole, not for every frame.
        let duration = serialisation(link, part + frame) - serialisation(link, part);
        let mut departs = start + duration;
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
            departs = self.time(loads, departs, link.latency);
        }
        let placed = Frame {
            departs,
            bytes: frame,
            is_last,
        };
        placing(&placed);
        let moved = self.progress.0.compare_exchange(
            found,
            next.to_word(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        moved.ok().map(|_| placed)
    }

    /// Sets when a load leaves and arrives, unless another process has done so, and
    /// returns when it leaves.
    fn time(&self, load: u64, departs: Time, latency: Duration) -> Time {
        let item = self.item(load);
        let departs = item.departs.set(load, departs);
        let delay = Duration::from_nanos(item.delay.load(Ordering::Relaxed));
        // Later loads stay behind a delayed one.
        let before = self.item(load.wrapping_sub(1)).arrives.get();
        let arrives = (departs + latency + delay).max(before);
        item.arrives.set(load, arrives);
        departs
    }

    fn item(&self, number: u64) -> &Item {
        &self.items[(number % DEPTH as u64) as usize]
    }
}
