//! The verdict on a case.

use std::fmt;

use serde::{Deserialize, Serialize};
use softrail::counters::Counters;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All ranks completed the request and every byte was right; or jaccl refused what it
    /// must refuse.
    Pass,
    /// A rank did not return, although it had the processor and no byte moved.
    Hang,
    /// A byte was wrong, an input was changed, or a rank reported success although there
    /// was none.
    Wrong,
    /// A byte outside a buffer was written.
    Overrun,
    /// A rank's process died.
    Crash,
    /// jaccl refused an operation that it must perform.
    Error,
}

impl Verdict {
    /// All verdicts, the good one first.
    pub const ALL: [Verdict; 6] = [
        Verdict::Pass,
        Verdict::Hang,
        Verdict::Wrong,
        Verdict::Overrun,
        Verdict::Crash,
        Verdict::Error,
    ];

    /// In lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Hang => "hang",
            Verdict::Wrong => "wrong",
            Verdict::Overrun => "overrun",
            Verdict::Crash => "crash",
            Verdict::Error => "error",
        }
    }
}

impl std::str::FromStr for Verdict {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Verdict::ALL.map(Verdict::name).join(", ");
        Verdict::ALL
            .into_iter()
            .find(|verdict| verdict.name() == name)
            .ok_or_else(|| format!("unknown verdict {name:?}; there are {}", known()))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A case that did not pass, and the details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Never [`Verdict::Pass`].
    pub verdict: Verdict,
    /// One line for people: the rank, its message, and where it waits.
    pub detail: String,
    /// What the used cables carried meanwhile, for each direction separately.
    pub cables: Vec<Counters>,
}

impl Finding {
    /// A finding with its detail, without counters of cables.
    pub fn new(verdict: Verdict, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Finding {
            verdict,
            detail,
            cables: Vec::new(),
        }
    }
}
