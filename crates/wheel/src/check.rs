//! One line of the proof that a library fits.

use serde::{Deserialize, Serialize};

/// What was looked at, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The check's name, for programs: `exports`, `minimum-macos`.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was seen; when it does not hold, what was expected too.
    pub detail: String,
}

impl Check {
    /// A check with its outcome.
    pub fn of(name: &str, ok: bool, detail: impl Into<String>) -> Self {
        Check {
            name: name.to_owned(),
            ok,
            detail: detail.into(),
        }
    }

    /// That two values are equal.
    pub(crate) fn equal<T: PartialEq + std::fmt::Display>(name: &str, ours: &T, base: &T) -> Self {
        if ours == base {
            Check::of(name, true, ours.to_string())
        } else {
            Check::of(name, false, format!("{ours}, where the base has {base}"))
        }
    }

    /// That nothing is missing: `whole` says what is complete, `missing` what is not there.
    pub(crate) fn none_missing(name: &str, missing: &[String], whole: String) -> Self {
        if missing.is_empty() {
            Check::of(name, true, whole)
        } else {
            Check::of(name, false, format!("missing: {}", some_of(missing)))
        }
    }
}

/// The first few of a list.
pub(crate) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}
