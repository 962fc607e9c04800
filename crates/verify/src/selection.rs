//! How much is tried, and which cases of it.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use jaccl::Dtype;

use crate::case::{Backend, Case, Direction, Frames, MAX_RANKS, Op};

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Two to three minutes a variant: every operation and setting, few lengths.
    #[default]
    Quick,
    /// Half an hour a variant at most: every boundary, every dtype.
    Full,
    /// Random sequences until the caller asks to stop or the time is over.
    Soak,
}

impl Level {
    /// `quick`, `full` or `soak`.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Quick => "quick",
            Level::Full => "full",
            Level::Soak => "soak",
        }
    }
}

/// Which cases of a level are run. A field that is empty takes every value of the level.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Operations and conditions.
    pub op: Vec<Op>,
    /// Backends.
    pub backend: Vec<Backend>,
    /// Numbers of ranks, each read by [`ranks`].
    pub ranks: Vec<usize>,
    /// Numbers of cables between each two ranks, each read by [`wires`].
    pub wires: Vec<usize>,
    /// Lengths instead of the level's; for [`Op::Sequence`] the longest of a step.
    pub bytes: Vec<usize>,
    /// Dtypes.
    pub dtype: Vec<Dtype>,
    /// Frame modes.
    pub frames: Vec<Frames>,
    /// Who sends to whom.
    pub direction: Vec<Direction>,
    /// Whether the input lies where the output goes.
    pub in_place: Vec<bool>,
    /// Sequences by number instead of the level's; the first one of a soak.
    pub seed: Vec<u64>,
    /// Only cases whose line has all of these words ([`Selection::keeps`]).
    pub filter: Option<String>,
}

/// Flags that select nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A value that its flag does not take.
    #[error("{flag}: {problem}")]
    Value {
        /// The flag.
        flag: String,
        /// What is wrong with the value, and what would be right.
        problem: String,
    },
    /// Something that is no flag of a selection.
    #[error("{0:?} is not a flag that selects cases; these are {flags}", flags = Selection::FLAGS.join(", "))]
    Flag(String),
    /// A flag that a soak cannot obey.
    #[error("a soak cannot obey {flag}: {why}")]
    Soak {
        /// The flag.
        flag: &'static str,
        /// Why, and what to do.
        why: &'static str,
    },
}

impl Selection {
    /// Every flag of a selection, as [`Selection::parse`] reads them.
    pub const FLAGS: [&str; 11] = [
        "--op",
        "--backend",
        "--ranks",
        "--wires",
        "--bytes",
        "--dtype",
        "--frames",
        "--direction",
        "--in-place",
        "--seed",
        "--filter",
    ];

    /// Reads flags as they stand in a patch or in a report: `--op recv,send --wires=3`.
    ///
    /// # Errors
    /// When a flag is unknown, or does not take the value.
    pub fn parse(flags: &[String]) -> Result<Self, SelectionError> {
        let mut selection = Selection::default();
        let mut flags = flags.iter();
        while let Some(word) = flags.next() {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (word.as_str(), None),
            };
            if !Self::FLAGS.contains(&flag) {
                return Err(SelectionError::Flag(flag.to_owned()));
            }
            let value = value.or_else(|| flags.next().map(String::as_str));
            value
                .ok_or_else(|| "a value must follow".to_owned())
                .and_then(|value| selection.set(flag, value))
                .map_err(|problem| SelectionError::Value {
                    flag: flag.to_owned(),
                    problem,
                })?;
        }
        Ok(selection)
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), String> {
        match flag {
            "--op" => extend(&mut self.op, value, str::parse),
            "--backend" => extend(&mut self.backend, value, str::parse),
            "--ranks" => extend(&mut self.ranks, value, ranks),
            "--wires" => extend(&mut self.wires, value, wires),
            "--bytes" => extend(&mut self.bytes, value, number),
            "--dtype" => extend(&mut self.dtype, value, str::parse),
            "--frames" => extend(&mut self.frames, value, str::parse),
            "--direction" => extend(&mut self.direction, value, str::parse),
            "--in-place" => extend(&mut self.in_place, value, |text| {
                text.parse()
                    .map_err(|_| format!("{text:?} is neither true nor false"))
            }),
            "--seed" => extend(&mut self.seed, value, number),
            _ => {
                self.filter = Some(value.to_owned());
                Ok(())
            }
        }
    }

    /// Whether a case's line has all words of the filter. A word stands for a whole field
    /// or for its value: `f16` and `dtype=f16` keep a case of f16, and none of bf16.
    pub fn keeps(&self, case: &Case) -> bool {
        self.filter.as_ref().is_none_or(|filter| {
            let line = case.to_string();
            let has = |word: &str| {
                let mut fields = line.split_whitespace();
                fields.any(|field| {
                    let value = field.split_once('=').map(|(_, value)| value);
                    field == word || value == Some(word)
                })
            };
            filter.split_whitespace().all(has)
        })
    }

    /// A value that was asked for and that none of the cases has, as `--ranks 7`. Ops and
    /// the filter are not looked at.
    pub fn unused(&self, cases: &[Case]) -> Option<String> {
        fn missing<T: PartialEq + fmt::Display>(
            flag: &str,
            wanted: &[T],
            cases: &[Case],
            of: impl Fn(&Case) -> T,
        ) -> Option<String> {
            let unused = wanted
                .iter()
                .find(|value| !cases.iter().any(|case| of(case) == **value))?;
            Some(format!("{flag} {unused}"))
        }
        let Selection {
            op: _,
            backend,
            ranks,
            wires,
            bytes,
            dtype,
            frames,
            direction,
            in_place,
            seed,
            filter: _,
        } = self;
        None.or_else(|| missing("--backend", backend, cases, |case| case.setting.backend))
            .or_else(|| missing("--ranks", ranks, cases, |case| case.setting.ranks))
            .or_else(|| missing("--wires", wires, cases, |case| case.setting.wires))
            .or_else(|| missing("--bytes", bytes, cases, |case| case.bytes))
            .or_else(|| missing("--dtype", dtype, cases, |case| case.dtype))
            .or_else(|| missing("--frames", frames, cases, |case| case.setting.frames))
            .or_else(|| missing("--direction", direction, cases, |case| case.direction))
            .or_else(|| missing("--in-place", in_place, cases, |case| case.in_place))
            .or_else(|| missing("--seed", seed, cases, |case| case.seed))
    }

    /// Refuses what a soak cannot obey. It runs sequences, which draw their operations,
    /// dtypes and directions themselves.
    ///
    /// # Errors
    /// Names the first such flag.
    pub fn check_soak(&self) -> Result<(), SelectionError> {
        const DRAWN: &str = "a sequence draws it for each step; leave it out";
        let refused = [
            (
                self.op.iter().any(|op| *op != Op::Sequence),
                "--op",
                "a soak runs sequences; leave it out, or choose another --level",
            ),
            (!self.dtype.is_empty(), "--dtype", DRAWN),
            (!self.direction.is_empty(), "--direction", DRAWN),
            (!self.in_place.is_empty(), "--in-place", DRAWN),
            (
                self.wires.contains(&MOST_WIRES),
                "--wires",
                "a sequence runs over 1 to 4; five-wires is a condition",
            ),
            (
                self.seed.len() > 1,
                "--seed",
                "it counts up from one number; give one",
            ),
            (
                self.filter.is_some(),
                "--filter",
                "its cases are drawn; use --backend, --ranks, --wires and --frames",
            ),
        ];
        match refused.into_iter().find(|(refuse, ..)| *refuse) {
            Some((_, flag, why)) => Err(SelectionError::Soak { flag, why }),
            None => Ok(()),
        }
    }
}

fn extend<T, E: fmt::Display>(
    values: &mut Vec<T>,
    text: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<(), String> {
    for word in text.split(',') {
        values.push(read(word).map_err(|error| error.to_string())?);
    }
    Ok(())
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number from 0"))
}

/// The wires of the condition of that name, of which jaccl takes four.
const MOST_WIRES: usize = 5;

fn within(text: &str, what: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    let (least, most) = (*range.start(), *range.end());
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected {least} to {most} {what}, not {text:?}")),
    }
}

/// Reads a number of ranks, 2 to [`MAX_RANKS`].
///
/// # Errors
/// When it is none, in words.
pub fn ranks(text: &str) -> Result<usize, String> {
    within(text, "ranks", 2..=MAX_RANKS)
}

/// Reads a number of wires, 1 to 4, or 5 for the condition of that name.
///
/// # Errors
/// When it is none, in words.
pub fn wires(text: &str) -> Result<usize, String> {
    within(text, "wires", 1..=MOST_WIRES)
}
