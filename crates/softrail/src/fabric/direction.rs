use std::time::Duration;

use rig::Link;

use super::{Outlet, Stream, Time, stream::Cursor};
use crate::sync::{AtomicU64, Ordering};

/// The time that `bytes` occupy a link, rounded up to a nanosecond. A link of 0 bytes a
/// second carries one byte a second: slow, but no division by zero.
pub fn serialisation(link: &Link, bytes: u64) -> Duration {
    const SECOND: u64 = 1_000_000_000;
    let rate = link.bytes_per_second.max(1);
    let nanos = match bytes.checked_mul(SECOND) {
        Some(nanos) => nanos.div_ceil(rate),
        None => {
            let nanos = (u128::from(bytes) * u128::from(SECOND)).div_ceil(u128::from(rate));
            u64::try_from(nanos).unwrap_or(u64::MAX)
        }
    };
    Duration::from_nanos(nanos)
}

/// The bytes of a frame over Thunderbolt, and the largest MTU of verbs.
pub const FRAME_BYTES: u64 = 4096;

/// The frames of a message: an empty one has one, too.
pub const fn frames(bytes: u64) -> u64 {
    if bytes == 0 {
        1
    } else {
        bytes.div_ceil(FRAME_BYTES)
    }
}

/// The number of queue pairs that can share a direction.
pub const OUTLETS: usize = u64::BITS as usize;

/// The most messages that are placed at one look, so that no look takes long.
const LOOK: usize = 1 << 12;

/// One direction of a cable, which decides when each queue pair may use it. All zeros is
/// a direction that never carried anything.
///
/// Messages leave one at a time. When the cable is free, the next is the one that became
/// ready first.
///
/// Only one process should [advance](Self::advance) it at a time. Two processes place no
/// message twice, but may give two messages the same time. Any process may read everything
/// else at any time.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Direction {
    /// The queue pairs that have something to send, one bit each. It is on another cache
    /// line than the state that changes with every message, because the other end polls it.
    backlog: Cursor,
    line: Line,
}

#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Line {
    next_free: AtomicU64,
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl Direction {
    /// Marks `pair` as having something to send. The next process that advances the
    /// direction places it.
    pub fn announce(&self, pair: usize) {
        self.backlog.0.fetch_or(bit(pair), Ordering::AcqRel);
    }

    /// Whether something that was announced has no time yet.
    pub fn has_backlog(&self) -> bool {
        self.backlog.0.load(Ordering::Acquire) != 0
    }

    /// Whether advancing at `now` would place something.
    pub fn is_due(&self, now: Time) -> bool {
        self.has_backlog() && self.next_free() <= now
    }

    /// When all messages that have their times have left.
    pub fn next_free(&self) -> Time {
        Time::from_nanos(self.line.next_free.load(Ordering::Relaxed))
    }

    /// When the next announced message starts, if there is one.
    pub fn next_start<'a>(&self, outlet: impl Fn(usize) -> &'a Outlet) -> Option<Time> {
        let announced = bits(self.backlog.0.load(Ordering::Acquire));
        let ready = announced.filter_map(|pair| Some(outlet(pair).next()?.0));
        Some(ready.min()?.max(self.next_free()))
    }

    /// Places every message that starts by `now`, from the announced queue pairs and from
    /// `pair`.
    ///
    /// A message starts when the cable is free and the message is ready, however late a
    /// process finds out. A message that has started is not interrupted.
    pub fn advance<'a>(
        &self,
        link: &Link,
        now: Time,
        pair: Option<usize>,
        outlet: impl Fn(usize) -> &'a Outlet,
    ) {
        let known = self.backlog.0.load(Ordering::Acquire);
        let mut waiting = known | pair.map_or(0, bit);
        let mut empty = 0;
        for _ in 0..LOOK {
            let Some(next) = self.next(&mut waiting, &mut empty, &outlet) else {
                break;
            };
            if next.start > now || !self.place(link, &next) {
                break;
            }
        }
        let unknown = waiting & !known;
        if unknown != 0 {
            self.backlog.0.fetch_or(unknown, Ordering::AcqRel);
        }
        let done = empty & known;
        if done != 0 {
            self.backlog.0.fetch_and(!done, Ordering::AcqRel);
            // A queue pair that has offered and announced meanwhile must keep its bit.
            for pair in bits(done).filter(|pair| outlet(*pair).next().is_some()) {
                self.announce(pair);
            }
        }
    }

    /// The next message. Queue pairs without one move from `waiting` to `empty`.
    fn next<'a>(
        &self,
        waiting: &mut u64,
        empty: &mut u64,
        outlet: &impl Fn(usize) -> &'a Outlet,
    ) -> Option<Turn<'a>> {
        let free = self.next_free();
        let mut first: Option<(Time, &Stream)> = None;
        for pair in bits(*waiting) {
            match outlet(pair).next() {
                None => {
                    *waiting &= !bit(pair);
                    *empty |= bit(pair);
                }
                Some(next) if first.is_none_or(|first| next.0 < first.0) => first = Some(next),
                Some(_) => {}
            }
        }
        first.map(|(ready, stream)| Turn {
            start: ready.max(free),
            stream,
        })
    }

    /// `false` if another process has placed something meanwhile.
    fn place(&self, link: &Link, turn: &Turn<'_>) -> bool {
        let line = &self.line;
        let free = line.next_free.load(Ordering::Relaxed);
        if Time::from_nanos(free) > turn.start {
            return false;
        }
        let counted = |bytes| {
            count(&line.bytes, bytes);
            count(&line.messages, 1);
        };
        let Some(departs) = turn.stream.place(link, turn.start, counted) else {
            return false;
        };
        let order = Ordering::Relaxed;
        let next_free = &line.next_free;
        let moved = next_free.compare_exchange(free, departs.as_nanos(), order, order);
        moved.is_ok()
    }

    /// Bytes this direction was given so far.
    pub fn bytes(&self) -> u64 {
        self.line.bytes.load(Ordering::Relaxed)
    }

    /// Messages this direction was given so far.
    pub fn messages(&self) -> u64 {
        self.line.messages.load(Ordering::Relaxed)
    }
}

/// The next message, and when it starts.
struct Turn<'a> {
    start: Time,
    stream: &'a Stream,
}

/// Adds to a counter that no other process writes at the same time.
fn count(counter: &AtomicU64, more: u64) {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before.wrapping_add(more), Ordering::Relaxed);
}

fn bit(pair: usize) -> u64 {
    1 << (pair % OUTLETS)
}

fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros())?;
        set &= set - 1;
        Some(lowest as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::{Load, Transit};

    const LINK: Link = Link {
        bytes_per_second: 50_000_000,
        latency: Duration::from_micros(20),
    };

    fn micros(micros: u64) -> Time {
        Time::ZERO + Duration::from_micros(micros)
    }

    /// Some queue pairs and the direction that they share.
    struct Rail {
        direction: Direction,
        outlets: Vec<Outlet>,
    }

    impl Rail {
        fn new(pairs: usize) -> Self {
            Rail {
                direction: Direction::default(),
                outlets: (0..pairs).map(|_| Outlet::default()).collect(),
            }
        }

        /// Offers bytes that may start at this microsecond.
        fn offer(&self, pair: usize, ready: u64, bytes: u64) {
            self.delayed(pair, ready, bytes, Duration::ZERO);
        }

        fn delayed(&self, pair: usize, ready: u64, bytes: u64, delay: Duration) {
            self.outlets[pair].lost.offer(Load {
                bytes,
                ready: micros(ready),
                delay,
            });
            self.direction.announce(pair);
        }

        fn look(&self, now: u64) {
            let outlet = |pair: usize| &self.outlets[pair];
            self.direction.advance(&LINK, micros(now), None, outlet);
        }

        fn transit(&self, pair: usize, number: u64) -> Option<Transit> {
            self.outlets[pair].lost.transit(number)
        }

        fn departs(&self, pair: usize, number: u64) -> Option<Time> {
            self.transit(pair, number).map(|transit| transit.departs)
        }
    }

    #[test]
    fn a_load_pays_its_bytes_and_then_the_latency() {
        let rail = Rail::new(1);
        rail.offer(0, 100, 50_000);
        rail.look(5000);
        let transit = Transit {
            departs: micros(1100),
            arrives: micros(1120),
        };
        assert_eq!(rail.transit(0, 0), Some(transit));
    }

    #[test]
    fn nothing_is_known_before_it_starts() {
        let rail = Rail::new(1);
        rail.offer(0, 0, FRAME_BYTES);
        rail.offer(0, 0, FRAME_BYTES);
        rail.look(0);
        let second = rail.direction.next_free();
        assert_eq!(rail.departs(0, 0), Some(second));
        assert_eq!(rail.transit(0, 1), None);
        assert!(!rail.direction.is_due(micros(0)));
        assert!(rail.direction.is_due(second));
        rail.look(82);
        assert!(rail.departs(0, 1).is_some());
        assert!(!rail.direction.has_backlog());
    }

    #[test]
    fn loads_queue_behind_each_other_and_idle_time_is_not_saved_up() {
        let rail = Rail::new(1);
        for ready in [0, 0, 5000] {
            rail.offer(0, ready, 50_000);
        }
        rail.look(10_000);
        let departures = [0, 1, 2].map(|number| rail.departs(0, number));
        assert_eq!(departures, [1000, 2000, 6000].map(|at| Some(micros(at))));
        let direction = &rail.direction;
        assert_eq!((direction.bytes(), direction.messages()), (150_000, 3));
    }

    #[test]
    fn who_is_ready_first_goes_first_and_is_not_interrupted() {
        let rail = Rail::new(2);
        rail.offer(0, 2, 10 * FRAME_BYTES);
        rail.offer(1, 1, 10);
        rail.offer(1, 3, 20);
        rail.look(100_000);
        let first = micros(1) + serialisation(&LINK, 10);
        assert_eq!(rail.departs(1, 0), Some(first));
        let long = first.max(micros(2)) + serialisation(&LINK, 10 * FRAME_BYTES);
        assert_eq!(rail.departs(0, 0), Some(long));
        assert_eq!(rail.departs(1, 1), Some(long + serialisation(&LINK, 20)));
    }

    #[test]
    fn a_delayed_message_holds_up_those_behind_it_and_no_others() {
        let rail = Rail::new(2);
        rail.delayed(0, 0, 100, Duration::from_millis(1));
        rail.offer(0, 0, 100);
        rail.offer(1, 0, 100);
        rail.look(100);
        let arrives = |pair, number| rail.transit(pair, number).map(|it| it.arrives);
        assert_eq!(arrives(0, 0), Some(micros(1022)));
        assert_eq!(arrives(0, 1), arrives(0, 0));
        assert!(arrives(1, 0) < Some(micros(30)));
    }

    /// A process that was stopped while placing goes on with the state that it had read.
    #[test]
    fn who_is_late_places_nothing_again() {
        let rail = Rail::new(1);
        rail.offer(0, 0, FRAME_BYTES);
        rail.offer(0, 0, FRAME_BYTES);
        let outlet = |pair: usize| &rail.outlets[pair];
        let found = |waiting: u64| {
            let (mut waiting, mut empty) = (waiting, 0);
            rail.direction.next(&mut waiting, &mut empty, &outlet)
        };
        let late = found(1).expect("there is a message");
        rail.look(1_000_000);
        let (bytes, free) = (rail.direction.bytes(), rail.direction.next_free());
        assert!(!rail.direction.place(&LINK, &late));
        let now = (rail.direction.bytes(), rail.direction.next_free());
        assert_eq!(now, (bytes, free));
        assert_eq!(rail.outlets[0].lost.placed(), 2);
    }

    #[test]
    fn what_another_process_wrote_there_neither_panics_nor_stops_it() {
        let rail = Rail::new(1);
        rail.offer(0, 0, u64::MAX);
        rail.outlets[0].answers.offer(Load {
            bytes: 1,
            ready: Time::from_nanos(u64::MAX),
            delay: Duration::MAX,
        });
        rail.look(1_000_000_000);
        assert!(rail.departs(0, 0).is_some());
        assert!(rail.direction.has_backlog());
    }

    #[test]
    fn serialisation_never_rounds_to_more_than_the_line_rate() {
        let link = Link {
            bytes_per_second: 3,
            latency: Duration::ZERO,
        };
        assert_eq!(serialisation(&link, 1), Duration::from_nanos(333_333_334));
        assert_eq!(serialisation(&link, 0), Duration::ZERO);
        let slow = Link {
            bytes_per_second: 1,
            ..link
        };
        assert_eq!(
            serialisation(&slow, 1 << 40),
            Duration::from_nanos(u64::MAX)
        );
    }

    /// Of a message that was placed every process may act, and end.
    #[test]
    fn a_message_is_counted_before_others_see_it() {
        let stream = Stream::default();
        stream.offer(Load {
            bytes: 1,
            ready: Time::ZERO,
            delay: Duration::ZERO,
        });
        let mut seen = None;
        let placed = stream.place(&LINK, Time::ZERO, |_| seen = Some(stream.placed()));
        assert!(placed.is_some());
        assert_eq!((seen, stream.placed()), (Some(0), 1));
    }
}
