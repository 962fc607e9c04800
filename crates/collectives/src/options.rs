//! How it is measured.

use std::time::Duration;

use rail_verify::setup::Setup;
use rig::Link;

use crate::{bandwidth, cells::Cell};

/// How much of a cell's time is measured calls, unless the caller chose a number.
const BUDGET: Duration = Duration::from_millis(500);

/// What the calls before the measured ones of a turn may take, unless the caller chose a
/// number.
const WARMUP: Duration = Duration::from_millis(20);

/// A cell whose turns took this long together has no further turn, unless the caller chose
/// a number of calls: jaccl may take many times what its cables need.
const ENOUGH: Duration = Duration::from_secs(10);

/// The most turns that a variant has in a cell.
const TURNS: usize = 10;

/// What this machine's processors keep up with: the rate of a cable of the embedded rig.
const KEPT_UP_WITH: u64 = 50_000_000;

/// How long a call takes at least in virtual time, so that what processors and other
/// programs of this machine take of it nearly vanishes.
const LONG_ENOUGH: Duration = Duration::from_millis(20);

/// How it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The cables that the figures are of.
    pub link: Link,
    /// How much slower the emulated cables are than [`link`](Self::link): their rate is
    /// divided by it and their latency multiplied. Times are divided by it again. The
    /// larger it is, the less of a time is the processors'. At least 1.
    pub dilate: u32,
    /// Calls before the measured ones of each turn. `None` chooses by the expected time.
    pub warmup: Option<usize>,
    /// Measured calls of a cell, over all turns; at least 1. `None` chooses by the
    /// expected time.
    pub iterations: Option<usize>,
}

/// Cables of [`Link::default`] in real time.
impl Default for Options {
    fn default() -> Self {
        Options {
            link: Link::default(),
            dilate: 1,
            warmup: None,
            iterations: None,
        }
    }
}

/// Why options cannot be obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A cable that never delivers.
    #[error("a bandwidth of zero would never deliver")]
    NoBandwidth,
    /// A cable whose dilated bandwidth is not a byte a second.
    #[error("{0} times slower, a cable carries less than a byte per second")]
    TooSlow(u32),
    /// A dilation by zero.
    #[error("cables cannot be dilated by 0; 1 is real time")]
    NoDilation,
    /// Nothing to measure.
    #[error("0 iterations measure nothing")]
    NoIterations,
}

/// A setup over cables of this kind.
pub(crate) fn over(mut setup: Setup, link: Link) -> Setup {
    for cable in &mut setup.rig.cables {
        cable.link = link;
    }
    setup
}

/// The calls of one variant in one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub warmup: usize,
    pub iterations: usize,
}

impl Options {
    /// Checks that the options can be obeyed.
    ///
    /// # Errors
    /// Names the first one that cannot.
    pub fn check(&self) -> Result<(), OptionsError> {
        match self {
            _ if self.link.bytes_per_second == 0 => Err(OptionsError::NoBandwidth),
            _ if self.dilate == 0 => Err(OptionsError::NoDilation),
            _ if self.emulated().bytes_per_second == 0 => Err(OptionsError::TooSlow(self.dilate)),
            _ if self.iterations == Some(0) => Err(OptionsError::NoIterations),
            _ => Ok(()),
        }
    }

    /// The cables as they are emulated.
    pub(crate) fn emulated(&self) -> Link {
        Link {
            bytes_per_second: self.link.bytes_per_second / u64::from(self.dilate),
            latency: self.link.latency * self.dilate,
        }
    }

    /// The dilation at which a cell's cables are as slow as processors need: 1 for cables that
    /// this machine keeps up with, else virtual time, in which short calls are made long.
    pub fn dilation(link: Link, cell: &Cell) -> u32 {
        let kept_up_with = link.bytes_per_second.div_ceil(KEPT_UP_WITH).max(1);
        if kept_up_with == 1 {
            return 1;
        }
        let real = Self {
            link,
            ..Self::default()
        };
        let call = real.expected(cell).as_nanos().max(1);
        let long_enough = LONG_ENOUGH.as_nanos().div_ceil(call);
        u32::try_from(long_enough.max(kept_up_with.into())).unwrap_or(u32::MAX)
    }

    /// What the emulated cables need at least for a cell.
    pub(crate) fn expected(&self, cell: &Cell) -> Duration {
        let link = self.emulated();
        let sent = bandwidth::size(cell.op, cell.ranks, cell.bytes)
            * bandwidth::bus_factor(cell.op, cell.ranks);
        let seconds = sent / bandwidth::line(cell, link.bytes_per_second);
        link.latency + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 2)
    }

    /// The turns of a cell. Short calls come in many, so that the median and the 99th
    /// percentile mean something, and long ones in few, so that a run takes seconds.
    pub(crate) fn turns(&self, cell: &Cell) -> Vec<Turn> {
        let expected = self.expected(cell).max(Duration::from_nanos(1));
        let fits = |time: Duration| (time.as_nanos() / expected.as_nanos()) as usize;
        let iterations = self.iterations.unwrap_or_else(|| {
            let least = if fits(BUDGET) < 5 { 3 } else { 5 };
            fits(BUDGET).clamp(least, 500)
        });
        let turns = iterations.min(TURNS);
        let turn = |number: usize| Turn {
            warmup: self.warmup.unwrap_or_else(|| {
                // Before the first turn connections and caches are new, which is nothing
                // beside a long call.
                let least = number == 0 && fits(BUDGET) >= 5;
                fits(WARMUP).clamp(usize::from(least), 10)
            }),
            iterations: (iterations * (number + 1)) / turns - (iterations * number) / turns,
        };
        (0..turns).map(turn).collect()
    }

    /// Whether turns that took so long together are enough.
    pub(crate) fn is_enough(&self, taken: Duration) -> bool {
        self.iterations.is_none() && taken >= ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cells;

    fn turns(options: &Options, flags: &str) -> Vec<Turn> {
        let line = format!("--backend ring --cables 1 --frames small {flags}");
        let cells = Cells::parse(&line).expect("cells").cells();
        let [cell] = cells.as_slice() else {
            panic!("{flags}: {} cells", cells.len());
        };
        options.turns(cell)
    }

    #[test]
    fn a_cell_takes_about_a_second() {
        for flags in ["--bytes 4", "--bytes 4KiB", "--bytes 1MiB", "--bytes 16MiB"] {
            for (bytes_per_second, dilate) in [(50_000_000, 1), (6_500_000_000, 1000)] {
                let options = Options {
                    link: Link {
                        bytes_per_second,
                        ..Link::default()
                    },
                    dilate,
                    ..Options::default()
                };
                let turns = turns(&options, flags);
                let iterations: usize = turns.iter().map(|turn| turn.iterations).sum();
                assert!((3..=500).contains(&iterations), "{flags}: {turns:?}");
                assert!(turns.iter().all(|turn| turn.iterations > 0));
            }
        }
        let long = turns(&Options::default(), "--bytes 16MiB");
        let warmup: Vec<_> = long.iter().map(|turn| turn.warmup).collect();
        assert_eq!(warmup, [0, 0, 0]);
        let short = turns(&Options::default(), "--bytes 1MiB");
        let warmup: Vec<_> = short.iter().map(|turn| turn.warmup).collect();
        assert_eq!((warmup[0], warmup[1]), (1, 0));
    }

    #[test]
    fn a_cell_that_takes_long_has_no_further_turn() {
        let second = Duration::from_secs(1);
        let usual = Options::default();
        assert!(!usual.is_enough(second) && usual.is_enough(10 * second));
        let chosen = Options {
            iterations: Some(3),
            ..usual
        };
        assert!(!chosen.is_enough(100 * second));
    }

    #[test]
    fn numbers_of_the_caller_are_kept() {
        let options = Options {
            warmup: Some(2),
            iterations: Some(23),
            ..Options::default()
        };
        let turns = turns(&options, "--bytes 4KiB");
        assert_eq!(turns.len(), 10);
        assert!(turns.iter().all(|turn| turn.warmup == 2));
        let iterations: usize = turns.iter().map(|turn| turn.iterations).sum();
        assert_eq!(iterations, 23);
    }

    #[test]
    fn short_calls_over_fast_cables_are_made_long() {
        let dilation = |bytes_per_second, bytes: &str| {
            let line = format!("--backend mesh --cables 1 --frames big --bytes {bytes}");
            let cell = Cells::parse(&line).expect("cells").cells()[0];
            let link = Link {
                bytes_per_second,
                latency: Duration::from_micros(5),
            };
            Options::dilation(link, &cell)
        };
        assert_eq!(dilation(50_000_000, "4KiB"), 1, "real time");
        // 5.5 us become 20 ms; 8.4 ms are long enough, and the cables become slow enough.
        assert_eq!(dilation(8_000_000_000, "4KiB"), 3629);
        assert_eq!(dilation(8_000_000_000, "64MiB"), 160);
    }

    #[test]
    fn dilated_cables_are_slower_by_as_much() {
        let options = Options {
            link: Link {
                bytes_per_second: 6_500_000_000,
                latency: Duration::from_micros(5),
            },
            dilate: 1000,
            ..Options::default()
        };
        let link = options.emulated();
        assert_eq!(link.bytes_per_second, 6_500_000);
        assert_eq!(link.latency, Duration::from_millis(5));
    }

    #[test]
    fn what_measures_nothing_is_refused() {
        let good = Options::default();
        assert_eq!(good.check(), Ok(()));
        let mut still = good;
        still.link.bytes_per_second = 0;
        let slow = Options {
            dilate: u32::MAX,
            ..good
        };
        let none = Options {
            iterations: Some(0),
            ..good
        };
        let fast = Options { dilate: 0, ..good };
        assert_eq!(still.check(), Err(OptionsError::NoBandwidth));
        assert_eq!(slow.check(), Err(OptionsError::TooSlow(u32::MAX)));
        assert_eq!(none.check(), Err(OptionsError::NoIterations));
        assert_eq!(fast.check(), Err(OptionsError::NoDilation));
    }
}
