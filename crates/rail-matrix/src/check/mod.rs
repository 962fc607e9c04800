//! Matrices that somebody else made: what would hang, fall back, fail or be wasted.
//!
//! The rules are jaccl's, and what they come to is said with the cell it is about. A cell
//! is `(i, j)`: the devices on rank `i` towards rank `j`.

mod document;
mod finding;
mod rails;
mod report;
mod shape;
mod waste;

use crate::{Backend, Jaccl, NodeInfo, SelectError, Topology, counts::Counts, topology::Joined};

pub use document::{Document, Existing, read};
pub use finding::{Cell, Finding, Outcome, Rule};
pub use report::{Format, SCHEMA, render};

/// What was found of a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it was judged with `MLX_JACCL_RING` set.
    pub ring_variable: bool,
    /// What jaccl makes of it, or nothing where it forms no group.
    pub backend: Option<Backend>,
    /// The worst first, then by cell.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether a job with it runs, as the backend that is wanted.
    pub fn is_safe(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.outcome.is_safe())
    }
}

/// A matrix and nodes that do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A name of a node that the topology does not have.
    #[error(transparent)]
    Node(#[from] SelectError),
    /// Not a node a row.
    #[error(
        "the matrix has {rows} rows, and there are {nodes} nodes; name a node for each row, in \
         the order of the rows"
    )]
    Nodes {
        /// Rows of the matrix.
        rows: usize,
        /// Nodes that are named, or that the topology has.
        nodes: usize,
    },
}

/// Judges a matrix.
///
/// Without a topology its alignment cannot be judged, and a finding says so. The rank of a
/// node is its place in [`Existing::nodes`], or in the topology where that says nothing.
/// `wanted` is the backend that the job is started for: a ring sets `MLX_JACCL_RING`, a mesh
/// leaves it unset. With nothing it is as [`Existing::ring_variable`] says, and where that
/// says nothing either, set if a cell has several devices.
///
/// # Errors
/// When matrix, nodes and topology do not belong together.
pub fn check(
    existing: &Existing,
    topology: Option<&Topology>,
    wanted: Option<Backend>,
    jaccl: &Jaccl,
) -> Result<Verdict, CheckError> {
    let topology = topology
        .map(|topology| by_rank(existing, topology))
        .transpose()?;
    let told = wanted.map(|backend| backend == Backend::Ring);
    let told = told.or(existing.ring_variable);
    let ring_variable = told.unwrap_or_else(|| existing.has_several());
    let mut findings = Vec::new();
    if told.is_none() {
        findings.push(shape::assumed(ring_variable));
    }
    if !shape::is_square(existing, &mut findings) {
        return Ok(verdict(ring_variable, None, findings));
    }
    let counts = Counts::of(&existing.cells);
    let backend = counts.backend(ring_variable);
    shape::judge(&counts, ring_variable, wanted, &mut findings);
    // Where jaccl refuses the whole, it opens no device.
    let fails = |finding: &Finding| finding.outcome == Outcome::Fails;
    let refused = findings.iter().any(fails);
    let Some(made) = backend.filter(|_| !refused) else {
        return Ok(verdict(ring_variable, backend, findings));
    };
    let subject = Subject {
        cells: &existing.cells,
        counts: &counts,
        backend: made,
        jaccl,
        names: names(existing, topology.as_ref()),
        cabling: topology
            .as_ref()
            .map(|topology| (topology, topology.join())),
    };
    rails::judge(&subject, &mut findings);
    waste::judge(&subject, &mut findings);
    Ok(verdict(ring_variable, backend, findings))
}

fn verdict(ring_variable: bool, backend: Option<Backend>, mut findings: Vec<Finding>) -> Verdict {
    findings.sort_by_key(|finding| (finding.outcome, finding.cell));
    Verdict {
        ring_variable,
        backend,
        findings,
    }
}

/// The nodes of the matrix in the order of its rows, and then the others: a cable may lead
/// to one of them.
fn by_rank(existing: &Existing, topology: &Topology) -> Result<Topology, CheckError> {
    let rows = existing.cells.len();
    let Some(nodes) = &existing.nodes else {
        return match topology.nodes().len() {
            nodes if nodes == rows => Ok(topology.clone()),
            nodes => Err(CheckError::Nodes { rows, nodes }),
        };
    };
    if nodes.len() != rows {
        let nodes = nodes.len();
        return Err(CheckError::Nodes { rows, nodes });
    }
    let ranks = topology.select(nodes)?;
    let name = |(_, node): (_, &NodeInfo)| node.name.clone();
    let mut all: Vec<_> = ranks.nodes().map(name).collect();
    let others = topology.nodes().map(name);
    all.extend(others.filter(|node| ranks.node(node).is_none()));
    Ok(topology.select(&all)?)
}

/// What people call the nodes.
fn names(existing: &Existing, topology: Option<&Topology>) -> Vec<String> {
    let shown = |(_, node): (_, &NodeInfo)| node.label.as_ref().unwrap_or(&node.name).clone();
    let rows = existing.cells.len();
    match (topology, &existing.nodes) {
        (Some(topology), _) => topology.nodes().map(shown).collect(),
        (None, Some(names)) if names.len() == rows => names.clone(),
        (None, _) => (0..rows).map(|rank| format!("rank {rank}")).collect(),
    }
}

/// A matrix of which jaccl makes a group.
struct Subject<'a> {
    cells: &'a [Vec<Vec<String>>],
    counts: &'a Counts,
    backend: Backend,
    jaccl: &'a Jaccl,
    /// By node, the ranks' first.
    names: Vec<String>,
    /// The ranks' nodes come first, in their order.
    cabling: Option<(&'a Topology, Joined)>,
}

impl Subject<'_> {
    fn ranks(&self) -> usize {
        self.cells.len()
    }

    /// Every two ranks, lower first.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        (0..self.ranks()).flat_map(|j| (0..j).map(move |i| (i, j)))
    }

    /// Rails or wires that jaccl opens between two ranks.
    fn opened(&self, (i, j): (usize, usize)) -> usize {
        match self.backend {
            Backend::Ring if self.counts.neighbours(i).contains(&j) => self.counts.at(i, j),
            Backend::Ring => 0,
            Backend::Mesh => self.wires(),
        }
    }

    /// Wires of a mesh (`Config::get_mesh_connectivity` in `jaccl.cpp`).
    fn wires(&self) -> usize {
        if !self.jaccl.mesh_opens_several {
            return 1;
        }
        let counts = self.pairs().flat_map(|(i, j)| [(i, j), (j, i)]);
        counts.map(|(i, j)| self.counts.at(i, j)).min().unwrap_or(0)
    }
}
