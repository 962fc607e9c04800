//! The rails to check, determined before anything is built.

use rail_matrix::{Devices, Given, Note, Options, PlanError, Topology, plan};
use rig::{Defect, Fault, Rig};

use super::rails::{Rail, rails};

/// A rig and the rails that a job has over it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The actual cabling.
    pub rig: Rig,
    /// The rails, pair after pair.
    pub rails: Vec<Rail>,
    /// Cables of the rig that the planner does not use, and why: a sentence each.
    pub unused: Vec<String>,
}

impl Plan {
    /// The rails of some matrices over the rig, each with the node of each rank. A rail
    /// that several matrices have is checked once, under the name that it has in the first
    /// of them.
    pub fn of_matrices<'a>(
        rig: Rig,
        matrices: impl IntoIterator<Item = (&'a [String], &'a Devices)>,
    ) -> Self {
        let mut all: Vec<Rail> = Vec::new();
        for (nodes, matrix) in matrices {
            let is_new = |rail: &Rail| !all.iter().any(|other| other.is_over(&rail.ends));
            let new: Vec<_> = rails(nodes, matrix).filter(is_new).collect();
            all.extend(new);
        }
        Plan {
            rig,
            rails: all,
            unused: Vec::new(),
        }
    }

    /// The rails of a given matrix over its rig.
    pub fn of_given(rig: Rig, given: &Given) -> Self {
        Self::of_matrices(rig, [(given.nodes(), given.devices())])
    }

    /// The rails of the planner's matrix for the rig.
    ///
    /// # Errors
    /// If the rig is invalid or has no plan with these options.
    pub fn of_rig(rig: Rig, options: &Options) -> Result<Self, PlanError> {
        let planned = plan(&Topology::from_rig(&rig)?, options)?;
        let nodes: Vec<_> = planned.nodes.into_iter().map(|node| node.name).collect();
        let notes = planned.notes.iter();
        let of_unused =
            notes.filter(|note| matches!(note, Note::Spare { .. } | Note::NotNeighbours { .. }));
        Ok(Plan {
            unused: of_unused.map(ToString::to_string).collect(),
            ..Self::of_matrices(rig, [(&nodes[..], &planned.matrix.devices().to_vec())])
        })
    }

    /// The rig's faults that are not active while rails are checked: those that begin
    /// later, and those of single messages, which are for a job rather than a rail.
    pub fn left_out(&self) -> impl Iterator<Item = &Fault> {
        let faults = self.rig.faults.iter();
        faults.filter(|fault| !fault.span.at.is_zero() || is_of_message(fault))
    }
}

/// Whether the fault drops or delays a single message. A probe's own message would be the
/// first to meet it.
pub(super) fn is_of_message(fault: &Fault) -> bool {
    matches!(fault.defect, Defect::Message { .. })
}
