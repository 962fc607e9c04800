//! The levels, and the selection of cases.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use jaccl::Dtype;

use crate::case::{Backend, Case, Direction, Frames, MAX_RANKS, Op};

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// A few minutes a variant at most: every operation and setting, few lengths.
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

/// The cases of a level to run. An empty field selects every value of the level.
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
    /// The ranks that take part.
    pub direction: Vec<Direction>,
    /// Whether the output is in the place of the input.
    pub in_place: Vec<bool>,
    /// Sequences by number instead of the level's; for a soak, the first number.
    pub seed: Vec<u64>,
    /// Only cases whose line contains all of these words ([`Selection::keeps`]).
    pub filter: Option<String>,
}

/// Why flags are not a selection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A flag does not accept the value.
    #[error("{flag}: {problem}")]
    Value {
        /// The flag.
        flag: String,
        /// The problem with the value, and what would be right.
        problem: String,
    },
    /// The flag is not one of a selection.
    #[error("{0:?} is not a flag that selects cases; these are {flags}", flags = Selection::FLAGS.join(", "))]
    Flag(String),
    /// A soak does not support the flag.
    #[error("a soak cannot obey {flag}: {why}")]
    Soak {
        /// The flag.
        flag: &'static str,
        /// The reason, and the remedy.
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

    /// Reads flags as written in a patch or in a report: `--op recv,send --wires=3`.
    ///
    /// # Errors
    /// If a flag is unknown, or does not accept the value.
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

    /// Whether a case's line contains all words of the filter. A word stands for a whole
    /// field or for its value: `f16` and `dtype=f16` keep a case of f16, but not one of
    /// bf16.
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

    /// A requested value that none of the cases has, as `--ranks 7`. Operations and the
    /// filter are not examined.
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

    /// Checks that a soak supports the selection. A soak runs sequences, which draw their
    /// operations, dtypes and directions themselves.
    ///
    /// # Errors
    /// Names the first flag that it does not support.
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

/// The number of wires of the condition of that name; jaccl accepts four.
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
/// A sentence, if it is not such a number.
pub fn ranks(text: &str) -> Result<usize, String> {
    within(text, "ranks", 2..=MAX_RANKS)
}

/// Reads a number of wires, 1 to 4, or 5 for the condition of that name.
///
/// # Errors
/// A sentence, if it is not such a number.
pub fn wires(text: &str) -> Result<usize, String> {
    within(text, "wires", 1..=MOST_WIRES)
}
