//! Why a description cannot be read.

use std::fmt;

use super::MAX_BYTES;
use crate::{MAX_NODES, RigError};

/// A description that cannot be read. `Display` names the place within it and what was
/// expected there, without the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// More than [`MAX_BYTES`].
    #[error(
        "{bytes} bytes are more than the {} MiB that a description may have; check that this is \
         one", MAX_BYTES >> 20
    )]
    TooLarge {
        /// How many there are.
        bytes: usize,
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
    /// More nodes than a plan can have.
    #[error("it has {has} nodes, more than the {MAX_NODES} that a plan can have")]
    TooManyNodes {
        /// How many.
        has: usize,
    },
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
        if self.path != "." {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        match self.place {
            Some((line, column)) => write!(f, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}
