//! Why a description cannot be read.

use std::fmt;

use super::{MAX_NAME_BYTES, ReportKind};
use crate::{MAX_NODES, RigError};

/// A description that cannot be read. `Display` names the place within it and what was
/// expected there, without the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// More than [`MAX_BYTES`](super::MAX_BYTES), or of a rig
    /// [`MAX_RIG_BYTES`](super::MAX_RIG_BYTES).
    #[error(
        "{bytes} bytes are more than the {} MiB that such a description may have; check that \
         this is one", limit >> 20
    )]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Not text.
    #[error("byte {offset} is not UTF-8; check that this is the file you mean")]
    NotUtf8 {
        /// Bytes before the first that is not.
        offset: usize,
    },
    /// Nothing to read.
    #[error("there is nothing in it; check that whatever wrote it succeeded")]
    Empty,
    /// No kind that is known.
    #[error(
        "cannot tell what this is: {found}. Known are rig (a rig.toml), exo (the JSON of exo's \
         /state or /state/topology), hostfile (the JSON that mlx.launch reads) and reports (a \
         folder of what each node's tools say); name the kind if it is one of them"
    )]
    UnknownKind {
        /// What it looks like.
        found: &'static str,
    },
    /// A single report, which tells of one node alone.
    #[error(
        "this is one report of one node, and cables are told from the reports of every node; \
         give the folder with a folder a node"
    )]
    OneReport,
    /// JSON that is not as expected.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A `rig.toml` that is not as expected.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// A line of text that is not as expected.
    #[error("line {line}: {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What was expected and what was found.
        what: String,
    },
    /// A report of one node that is not as expected.
    #[error("{host}/{report}: {error}")]
    Report {
        /// The node.
        host: String,
        /// Which of its reports.
        report: ReportKind,
        /// What is wrong with it.
        error: Box<Self>,
    },
    /// A node with a name of more than [`MAX_NAME_BYTES`].
    #[error(
        "the name of node '{host}' has {bytes} bytes, more than the {MAX_NAME_BYTES} that a name \
         may have; give it a shorter one"
    )]
    LongName {
        /// How the name begins.
        host: String,
        /// How many there are.
        bytes: usize,
    },
    /// A node without a report that is needed.
    #[error(
        "of node '{host}' there is no {report}; run `{}` there and give what it prints",
        report.command()
    )]
    MissingReport {
        /// The node.
        host: String,
        /// The report.
        report: ReportKind,
    },
    /// A node of which nothing is known.
    #[error(
        "of node '{host}' there is neither {} (macOS) nor {} (Linux); run `{}` or `{}` there and \
         give what it prints",
        ReportKind::SystemProfiler, ReportKind::RdmaLink,
        ReportKind::SystemProfiler.command(), ReportKind::RdmaLink.command()
    )]
    NoReports {
        /// The node.
        host: String,
    },
    /// A Thunderbolt port that no interface belongs to.
    #[error(
        "there is no 'Hardware Port: {port}', into which another node is plugged; let both \
         reports be of the same node and time"
    )]
    NoHardwarePort {
        /// Such as `Thunderbolt 3`.
        port: String,
    },
    /// Two ports of one domain.
    #[error(
        "{first} and {second} both say that they are Thunderbolt domain {domain}, which is one \
         port; give each node once, with reports of its own"
    )]
    SharedDomain {
        /// The domain.
        domain: String,
        /// One port, as `node:device`.
        first: String,
        /// The other.
        second: String,
    },
    /// More nodes than a plan can have.
    #[error("it has {has} nodes, more than the {MAX_NODES} that a plan can have")]
    TooManyNodes {
        /// How many.
        has: usize,
    },
}

impl ReadError {
    pub(super) fn line(line: usize, what: String) -> Self {
        Self::Line { line, what }
    }
}

/// A place in a JSON document, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// Such as `topology.connections.A.B[2].sinkRdmaIface`; `.` is the whole document.
    pub path: String,
    /// Line and column, from 1, where what is wrong is in one place.
    pub place: Option<(usize, usize)>,
    /// What was expected and what was found.
    pub what: String,
}

impl std::error::Error for JsonError {}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !matches!(&*self.path, "." | "") {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        match self.place {
            Some((line, column)) => write!(f, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}
