//! Why a description cannot be read.

use std::fmt;

use rig::{End, RigError};

use super::{MAX_NAME_BYTES, ReportKind};
use crate::MAX_NODES;

/// Why a description cannot be read. `Display` gives the position within it and what was
/// expected there, without the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is longer than [`MAX_BYTES`](super::MAX_BYTES), or, for a rig, than
    /// [`MAX_RIG_BYTES`](super::MAX_RIG_BYTES).
    #[error(
        "{bytes} bytes are more than the {} MiB that such a description may have; check that \
         this is one", limit >> 20
    )]
    TooLarge {
        /// The number of bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It is not text.
    #[error("byte {offset} is not UTF-8; check that this is the file you mean")]
    NotUtf8 {
        /// The number of bytes before the first invalid one.
        offset: usize,
    },
    /// It is empty.
    #[error("there is nothing in it; check that whatever wrote it succeeded")]
    Empty,
    /// Its kind is unknown.
    #[error(
        "cannot tell what this is: {found}. Known are rig (a rig.toml), exo (the JSON of exo's \
         /state or /state/topology), hostfile (the JSON that mlx.launch reads) and reports (a \
         folder of what each node's tools say); name the kind if it is one of them"
    )]
    UnknownKind {
        /// What it resembles.
        found: &'static str,
    },
    /// It is text of a tool that writes JSON if it is asked to.
    #[error("this is text, and JSON was expected; run `{command}` and give what it prints")]
    NotJson {
        /// The command that prints JSON.
        command: &'static str,
    },
    /// It is a hostfile without RDMA devices.
    #[error(
        "no host here has 'rdma', so this is a hostfile for TCP (mlx.launch's ring or mpi), which \
         says nothing of RDMA devices; name the devices of each host towards each other in \
         'rdma', or describe the cabling otherwise"
    )]
    TcpHostfile,
    /// It is a single report, which describes one node only.
    #[error(
        "this is one report of one node, and cables are told from the reports of every node; \
         give the folder with a folder a node"
    )]
    OneReport,
    /// The JSON is not as expected.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The `rig.toml` is not as expected.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// A line of text is not as expected.
    #[error("line {line}: {what}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What was expected and what was found.
        what: String,
    },
    /// A report of one node is not as expected.
    #[error("{host}/{report}: {error}")]
    Report {
        /// The node.
        host: String,
        /// The report.
        report: ReportKind,
        /// The problem with it.
        error: Box<Self>,
    },
    /// The name of a node has more than [`MAX_NAME_BYTES`].
    #[error(
        "the name of node '{host}' has {bytes} bytes, more than the {MAX_NAME_BYTES} that a name \
         may have; give it a shorter one"
    )]
    LongName {
        /// The beginning of the name.
        host: String,
        /// Its number of bytes.
        bytes: usize,
    },
    /// A node lacks a required report.
    #[error(
        "of node '{host}' there is no {report}; run `{}` there and give what it prints",
        report.command()
    )]
    MissingReport {
        /// The node.
        host: String,
        /// The missing report.
        report: ReportKind,
    },
    /// Nothing is known of a node.
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
    /// A Thunderbolt port belongs to no interface.
    #[error(
        "there is no 'Hardware Port: {port}', into which another node is plugged; let both \
         reports be of the same node and time"
    )]
    NoHardwarePort {
        /// Such as `Thunderbolt 3`.
        port: String,
    },
    /// Two ports have the same domain.
    #[error(
        "{first} and {second} both say that they are Thunderbolt domain {domain}, which is one \
         port; give each node once, with reports of its own"
    )]
    SharedDomain {
        /// The domain.
        domain: String,
        /// One port.
        first: End,
        /// The other.
        second: End,
    },
    /// There are more nodes than a plan can have.
    #[error("it has {has} nodes, more than the {MAX_NODES} that a plan can have")]
    TooManyNodes {
        /// The number of nodes.
        has: usize,
    },
}

impl ReadError {
    pub(super) fn line(line: usize, what: String) -> Self {
        Self::Line { line, what }
    }
}

/// A position in a JSON document, and the problem there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// Such as `topology.connections.A.B[2].sinkRdmaIface`; `.` is the whole document.
    pub path: String,
    /// Line and column, from 1, if the problem is in one place.
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
