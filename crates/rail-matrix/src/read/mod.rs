//! From the descriptions of other programs to a [`Topology`].
//!
//! | [`Input`] | description |
//! |---|---|
//! | `rig` | a `rig.toml`, as [`Rig::parse`] reads it |
//! | `exo` | the JSON of exo's `/state` or `/state/topology` |
//! | `hostfile` | the JSON that `mlx.launch` reads |
//! | `reports` | what each node's own tools say; several files, so for [`reports()`] |
//!
//! Unknown fields are ignored in formats that other projects define, since those formats
//! grow. A duplicate key is an error, and so is a value of an unexpected type. Text of
//! any size up to [`MAX_BYTES`] and of any depth is read in time and memory proportional
//! to its size: a string that a [`Problem`](crate::Problem) may repeat has at most
//! [`MAX_NAME_BYTES`].

pub(crate) mod cell;
mod detect;
mod error;
mod exo;
pub(crate) mod hostfile;
pub(crate) mod json;
mod reports;
mod speed;
mod text;
mod words;

use std::{fmt, str::FromStr};

use rig::Rig;

pub use error::{JsonError, ReadError};

use crate::{MAX_NODES, Topology};
pub use detect::detect;
pub use reports::{HostReport, ReportKind, System, reports};

/// The most bytes of a description. A full `/state` of a large cluster has a few hundred
/// thousand.
pub const MAX_BYTES: usize = 64 << 20;

/// The most bytes of a `rig.toml`: that of 64 nodes, each joined to every other by 4
/// cables, has less than one MiB. It is less than [`MAX_BYTES`] because a TOML parser takes
/// up to seventy times the size of its text.
pub const MAX_RIG_BYTES: usize = 8 << 20;

/// The most bytes of a name, or of any other string that is read from a description other
/// than a `rig.toml`, and of a line of a report.
pub const MAX_NAME_BYTES: usize = 512;

/// The kinds of description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Input {
    /// `rig.toml`.
    Rig,
    /// exo's `/state` or `/state/topology`.
    Exo,
    /// MLX's hostfile.
    Hostfile,
    /// The output of each node's own tools, which takes several files.
    Reports,
}

impl Input {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::Rig, Self::Exo, Self::Hostfile, Self::Reports];

    /// The kind's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rig => "rig",
            Self::Exo => "exo",
            Self::Hostfile => "hostfile",
            Self::Reports => "reports",
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a name that is not a kind of description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no kind of description; the kinds are rig, exo, hostfile and reports")]
pub struct UnknownInput(String);

impl FromStr for Input {
    type Err = UnknownInput;

    fn from_str(name: &str) -> Result<Self, UnknownInput> {
        let named = |input: &Self| input.name() == name;
        let known = Self::ALL.into_iter().find(named);
        known.ok_or_else(|| UnknownInput(name.to_owned()))
    }
}

/// Reads a description of the given kind, or of the kind that its content indicates.
///
/// ```
/// use rail_matrix::{Options, plan, read};
///
/// let topology = read::read(br#"{
///     "nodes": ["A", "B"],
///     "connections": {
///         "A": {"B": [{"sourceRdmaIface": "rdma_en6", "sinkRdmaIface": "rdma_en7"}]},
///         "B": {"A": [{"sourceRdmaIface": "rdma_en7", "sinkRdmaIface": "rdma_en6"}]}
///     }
/// }"#, None)?;
/// let plan = plan(&topology, &Options::default())?;
/// assert_eq!(plan.matrix.cell(0, 1), ["rdma_en6"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the bytes are not such a description. The error gives the position within it and
/// what was expected there; the caller adds the file's name.
pub fn read(bytes: &[u8], input: Option<Input>) -> Result<Topology, ReadError> {
    let input = input.map_or_else(|| detect(bytes), Ok)?;
    match input {
        Input::Rig => rig(bytes),
        Input::Exo => exo::read(bytes),
        Input::Hostfile => hostfile::read(bytes),
        Input::Reports => Err(ReadError::OneReport),
    }
}

fn rig(bytes: &[u8]) -> Result<Topology, ReadError> {
    text::at_most(MAX_RIG_BYTES, bytes)?;
    let text = text::utf8(bytes)?;
    if text.trim_ascii().is_empty() {
        return Err(ReadError::Empty);
    }
    let rig = Rig::parse(text)?;
    few_enough(rig.nodes.len())?;
    Ok(Topology::from_rig(&rig)?)
}

pub(crate) fn few_enough(nodes: usize) -> Result<(), ReadError> {
    match nodes {
        has if has > MAX_NODES => Err(ReadError::TooManyNodes { has }),
        _ => Ok(()),
    }
}
