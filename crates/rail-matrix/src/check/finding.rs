//! The findings of a check.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{cell::Cell, rule::Rule, wrong::Wrong};

/// A problem of a matrix, or something that could not be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The consequence.
    pub outcome: Outcome,
    /// The cell that it is about, if it is about one.
    pub cell: Option<Cell>,
    /// What is wrong, or not known.
    pub wrong: Wrong,
}

impl Finding {
    pub(super) fn new(outcome: Outcome, cell: impl Into<Option<Cell>>, wrong: Wrong) -> Self {
        Self {
            outcome,
            cell: cell.into(),
            wrong,
        }
    }

    /// The rule that is broken.
    pub fn rule(&self) -> Rule {
        self.wrong.rule()
    }

    /// The problem, its cause, and when it occurs.
    pub fn sentence(&self) -> String {
        self.wrong.to_string()
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut finding = serializer.serialize_struct("Finding", 5)?;
        finding.serialize_field("outcome", &self.outcome)?;
        finding.serialize_field("rule", &self.rule())?;
        finding.serialize_field("cell", &self.cell)?;
        finding.serialize_field("wrong", &self.wrong)?;
        finding.serialize_field("sentence", &self.sentence())?;
        finding.end()
    }
}

/// The consequences of a finding, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// Operations do not return.
    Hangs,
    /// The job does not start: jaccl reports an error, or crashes.
    Fails,
    /// Operations return, some of them with wrong bytes.
    Corrupts,
    /// jaccl silently makes another group than was requested.
    FallsBack,
    /// The job runs, but does not use everything there is.
    Wasted,
    /// Nothing is wrong for certain.
    Note,
}

impl Outcome {
    /// Whether a job still runs, with the backend that was requested.
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Wasted | Self::Note)
    }

    /// The text for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hangs => "hangs",
            Self::Fails => "fails",
            Self::Corrupts => "corrupts",
            Self::FallsBack => "falls back",
            Self::Wasted => "wasted",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
