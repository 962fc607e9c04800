//! What a check finds.

use std::fmt;

use serde::Serialize;

/// Something that is wrong with a matrix, or that could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it comes to.
    pub outcome: Outcome,
    /// What is not as it should be.
    pub rule: Rule,
    /// The cell it is about, if it is about one.
    pub cell: Option<Cell>,
    /// What, why, and when.
    pub sentence: String,
}

/// What a finding comes to, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Operations do not return.
    Hangs,
    /// The job does not start: jaccl says so, or crashes.
    Fails,
    /// jaccl makes another group than was asked for, and says nothing.
    FallsBack,
    /// It runs, with less than there is.
    Wasted,
    /// Nothing is wrong, but something is to be known.
    Note,
}

impl Outcome {
    /// Whether a job runs all the same, as the backend that was asked for.
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Wasted | Self::Note)
    }

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hangs => "hangs",
            Self::Fails => "fails",
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
    /// There are two ranks or more, and a mesh has no more than jaccl allows.
    Ranks,
    /// Every cell of neighbours on a ring has as many devices.
    RingCounts,
    /// A mesh has a device in every cell but on the diagonal, and none there.
    MeshCells,
    /// A ring has from 1 to [`MAX_RAILS`](crate::MAX_RAILS) rails.
    RailCount,
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
    /// What the matrix names is opened.
    Opened,
    /// Every cable is in the matrix.
    Used,
    /// The nodes of the matrix are those of the topology, one for each row.
    Nodes,
    /// What the check was not told.
    Told,
}

impl Rule {
    /// What there are many of where it is broken.
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
            Self::Opened => "cells with devices that are not opened",
            Self::Used => "pairs of nodes with cables that no cell has",
            Self::Ranks | Self::RailCount | Self::Nodes | Self::Told => "like these",
        }
    }
}

/// Where in a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Cell {
    /// The row: on this rank.
    pub from: usize,
    /// The column: towards this one.
    pub to: usize,
    /// The place in the cell, from 0, where it is about one device.
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
