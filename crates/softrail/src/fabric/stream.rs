use std::time::Duration;

use rig::Link;

use super::{DEPTH, MESSAGE_BYTES, Message, Time, direction::serialisation};
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
    /// How many loads have their times. It is advanced by compare-and-swap, so a process
    /// that was stopped in the middle of placing cannot advance it twice.
    placed: Cursor,
    items: [Item; DEPTH],
}

/// A counter on a cache line of its own, because one side writes it while the other polls
/// it.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Cursor(pub(super) AtomicU64);

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
            placed: Cursor::default(),
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
        self.offered.0.store(loads, Ordering::Relaxed);
        // The next load does not stay behind those that are discarded.
        let last = self.item(loads.wrapping_sub(1));
        overwrite(&last.arrives.0, 0);
        self.placed.0.store(loads, Ordering::Release);
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
        self.placed.0.load(Ordering::Acquire)
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

    /// Places the next load, which there must be, on a cable that is free from `start` on,
    /// and returns when it has left. `None` if another process has placed it meanwhile.
    /// `placing` is called with its bytes before any process can see that it was placed.
    pub(super) fn place(
        &self,
        link: &Link,
        start: Time,
        placing: impl FnOnce(u64),
    ) -> Option<Time> {
        let number = self.placed();
        let bytes = self.item(number).bytes.load(Ordering::Relaxed);
        let bytes = bytes.min(MESSAGE_BYTES);
        let departs = self.time(number, start + serialisation(link, bytes), link.latency);
        placing(bytes);
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        let next = number.wrapping_add(1);
        let placed = &self.placed.0;
        let moved = placed.compare_exchange(number, next, success, failure);
        moved.ok().map(|_| departs)
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
