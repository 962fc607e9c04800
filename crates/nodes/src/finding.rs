//! What is wrong with a node.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Ranks cannot run, or their figures would be of something else.
    Failure,
    /// Ranks can run, and their figures may suffer.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failure => "failure",
            Self::Warning => "warning",
        })
    }
}

/// Something that is wrong with nodes, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its name, for programs.
    pub kind: String,
    /// The nodes that it is about.
    pub nodes: Vec<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    pub(crate) fn new<'a>(
        severity: Severity,
        kind: impl Into<String>,
        nodes: impl IntoIterator<Item = &'a str>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let mut nodes: Vec<_> = nodes.into_iter().map(str::to_owned).collect();
        nodes.dedup();
        Self {
            severity,
            kind: kind.into(),
            nodes,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// Whether ranks must not be started.
    pub fn is_failure(&self) -> bool {
        self.severity == Severity::Failure
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}
