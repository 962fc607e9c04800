//! The findings of a check.

use std::fmt;

use rig::End;
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::wrong::Wrong;

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

/// The rules that a matrix can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// A row has a cell for every rank.
    Square,
    /// There are at least two ranks, and a mesh has at most as many as jaccl allows.
    Ranks,
    /// Every cell of neighbours on a ring has the same number of devices.
    RingCounts,
    /// A mesh has a device in every cell except on the diagonal, which is empty.
    MeshCells,
    /// A ring has from 1 to [`MAX_RAILS`](crate::MAX_RAILS) rails.
    RailCount,
    /// jaccl makes the group that the document asks for.
    Asked,
    /// A device has a name.
    Named,
    /// A device is on the node of its rank.
    OnNode,
    /// A device can carry RDMA, and so can its node.
    Fit,
    /// A device is opened once.
    Once,
    /// A device has a cable.
    Plugged,
    /// The cable of a device leads to the rank of its cell.
    RightNode,
    /// The k-th devices of a pair are the two ends of one cable.
    OneCable,
    /// A device has as many queue pairs and memory regions as jaccl asks of it.
    Limits,
    /// Every device that the matrix names is opened.
    Opened,
    /// Every cable is in the matrix.
    Used,
    /// The nodes of the matrix are those of the topology, one for each row.
    Nodes,
    /// The jaccl of the MLX version has no defect that the matrix meets.
    Defect,
    /// Information that the check did not have, or that helps.
    Told,
}

impl Rule {
    /// What to call the findings of this rule when there are many.
    pub(super) const fn alike(self) -> &'static str {
        match self {
            Self::Square => "rows of another length",
            Self::RingCounts => "cells of neighbours with another count",
            Self::MeshCells => "cells that a mesh cannot have",
            Self::Named => "devices without a name",
            Self::OnNode => "devices of which nothing is known on their node",
            Self::Fit => "devices or nodes that do no RDMA",
            Self::Once => "devices that are opened several times",
            Self::Plugged => "devices without a cable that is known for certain",
            Self::RightNode => "cables that lead to another node",
            Self::OneCable => "crossed rails",
            Self::Limits => "devices that are asked for more than they have",
            Self::Opened => "cells with devices that are not opened",
            Self::Used => "pairs of nodes with cables that no cell has",
            Self::Ranks
            | Self::RailCount
            | Self::Asked
            | Self::Nodes
            | Self::Defect
            | Self::Told => "like these",
        }
    }
}

/// A position in a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub struct Cell {
    /// The row: the rank that the devices are on.
    pub from: usize,
    /// The column: the rank that they lead to.
    pub to: usize,
    /// The position in the cell, from 0, if the finding is about one device.
    pub rail: Option<usize>,
}

impl From<(usize, usize)> for Cell {
    fn from((from, to): (usize, usize)) -> Self {
        Self {
            from,
            to,
            rail: None,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.from, self.to)?;
        self.rail.map_or(Ok(()), |rail| write!(f, "[{rail}]"))
    }
}

/// A device of a matrix, and what people call its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Device {
    /// The device and the name of its node.
    #[serde(flatten)]
    pub end: End,
    /// The node's name for people.
    pub title: String,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.title, self.end.device)
    }
}
