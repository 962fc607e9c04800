//! The rules that a matrix can break.

use serde::Serialize;

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
