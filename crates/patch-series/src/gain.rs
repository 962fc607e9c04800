//! `X-Gain`: which measurement of `cargo xtask collectives` shows what a performance patch
//! gains.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::proof::for_shell;

/// The field that holds the gains of a performance patch.
pub(crate) const FIELD: &str = "X-Gain";

/// What a gain looks like.
pub(crate) const FORM: &str = "`time BEFORE -> AFTER: FLAGS`, for example `time 1 -> 0.30: --op all_sum --backend ring \
     --ranks 2 --cables 3 --bytes 8192`";

/// Says what is wrong with a gain, for the reader of its flags: this crate knows their form
/// and nothing of what `cargo xtask collectives` understands.
pub type CheckGain<'a> = &'a dyn Fn(&Gain) -> Result<(), String>;

/// A measurement that takes less time with a patch than without it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gain {
    /// The median time without the patch, in any unit.
    pub before: f64,
    /// The median time with it, in the same unit.
    pub after: f64,
    /// The flags of `cargo xtask collectives` that select what is measured.
    pub flags: Vec<String>,
}

/// A line that is no gain.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GainError {
    /// It does not have the form.
    #[error("{line:?} is no gain; expected {FORM}")]
    Form {
        /// The line.
        line: String,
    },
    /// A time is none.
    #[error("{time:?} is no time; it is a decimal number above 0")]
    Time {
        /// What stands in its place.
        time: String,
    },
    /// It gains nothing.
    #[error("{after} is not less than {before}, so nothing is gained")]
    NoGain {
        /// The time without the patch.
        before: f64,
        /// The time with it.
        after: f64,
    },
}

impl FromStr for Gain {
    type Err = GainError;

    fn from_str(line: &str) -> Result<Self, GainError> {
        let malformed = || GainError::Form { line: line.into() };
        let (times, flags) = line.split_once(": ").ok_or_else(malformed)?;
        let times = times.strip_prefix("time ").ok_or_else(malformed)?;
        let (before, after) = times.split_once(" -> ").ok_or_else(malformed)?;
        let (before, after) = (time(before)?, time(after)?);
        let flags = shlex::split(flags).ok_or_else(malformed)?;
        if flags.first().is_none_or(|first| !first.starts_with("--")) {
            return Err(malformed());
        }
        match after < before {
            true => Ok(Gain {
                before,
                after,
                flags,
            }),
            false => Err(GainError::NoGain { before, after }),
        }
    }
}

/// Reads `1391` or `0.30`: neither an exponent nor a word that `f64` knows.
fn time(text: &str) -> Result<f64, GainError> {
    let is_decimal = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let parsed = is_decimal.then(|| text.parse().ok()).flatten();
    let positive = parsed.filter(|time: &f64| *time > 0.0 && time.is_finite());
    positive.ok_or_else(|| GainError::Time { time: text.into() })
}

impl Gain {
    /// The time with the patch as a share of the time without it: between 0 and 1.
    pub fn ratio(&self) -> f64 {
        self.after / self.before
    }

    /// Reads a line of the field, and has it checked.
    pub(crate) fn checked(line: &str, check: CheckGain<'_>) -> Result<Self, String> {
        let gain: Gain = line.parse().map_err(|error: GainError| error.to_string())?;
        check(&gain)?;
        Ok(gain)
    }
}

/// As it stands in the field.
impl fmt::Display for Gain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gain {
            before,
            after,
            flags,
        } = self;
        write!(f, "time {before} -> {after}: {}", for_shell(flags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Gain, GainError> {
        line.parse()
    }

    #[test]
    fn a_gain_is_two_times_and_flags() {
        let flags = "--op all_sum --cables 3 --frames small,big";
        let gain = read(&format!("time 1391 -> 470: {flags}")).unwrap();
        assert_eq!((gain.before, gain.after), (1391.0, 470.0));
        assert!((gain.ratio() - 0.3379).abs() < 1e-4);
        assert_eq!(gain.flags.join(" "), flags);
        assert_eq!(read(&gain.to_string()), Ok(gain));
        let line = "time 1 -> 0.3: --op all_sum --cables 3";
        assert_eq!(read(line).unwrap().to_string(), line);
    }

    #[test]
    fn what_is_no_gain_is_refused_with_the_reason() {
        for line in [
            "",
            "time 1 -> 0.3",
            "1 -> 0.3: --op all_sum",
            "busbw 1 -> 3: --op all_sum",
            "time 1: --op all_sum",
            "time 1 -> 0.3: all_sum",
            "time 1 -> 0.3: --op 'all_sum",
        ] {
            let error = GainError::Form { line: line.into() };
            assert_eq!(read(line), Err(error));
        }
        for time in ["x", "-1", "0", "0.0", "inf", "NaN", "1e3", "1.2.3", ".", ""] {
            let error = GainError::Time { time: time.into() };
            let line = format!("time 1 -> {time}: --op all_sum");
            assert_eq!(read(&line), Err(error), "{line}");
        }
        for (before, after) in [(1.0, 1.0), (1.0, 2.5)] {
            let line = format!("time {before} -> {after}: --op all_sum");
            assert_eq!(read(&line), Err(GainError::NoGain { before, after }));
        }
    }
}
