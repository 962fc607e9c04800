//! Checks of existing matrices: parts that would hang, fall back, fail or be wasted.
//!
//! The rules are jaccl's. A finding gives the outcome and the cell that it is about. A
//! cell is `(i, j)`: the devices on rank `i` towards rank `j`.

mod document;
mod finding;
mod findings;
mod rails;
mod report;
mod shape;
mod unsettled;
mod waste;

use crate::{Backend, Jaccl, NodeInfo, SelectError, Topology, counts::Counts, topology::Joined};
use findings::{Findings, SHOWN};

pub use document::{Document, Existing, read};
pub use finding::{Cell, Finding, Outcome, Rule};
pub use report::{SCHEMA, json, markdown};

/// The result of checking a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it was judged with `MLX_JACCL_RING` set.
    pub ring_variable: bool,
    /// The backend that jaccl makes of it, or `None` if it forms no group.
    pub backend: Option<Backend>,
    /// The worst first, then by cell.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether a job with the matrix runs, with the requested backend.
    pub fn is_safe(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.outcome.is_safe())
    }
}

/// Why a matrix and nodes do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The topology has no node of this name.
    #[error(transparent)]
    Node(#[from] SelectError),
    /// The numbers of rows and nodes differ.
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

/// Checks a matrix.
///
/// Without a topology the alignment cannot be checked, and a finding states this. The
/// rank of a node is its position in [`Existing::nodes`], or, if that is absent, in the
/// topology, which a finding then states. `wanted` is the backend that the job is started
/// for: a ring sets `MLX_JACCL_RING`, a mesh leaves it unset. With `None`,
/// [`Existing::ring_variable`] decides, and if that is absent too, the variable counts as
/// set if a cell has several devices.
///
/// # Errors
/// If matrix, nodes and topology do not belong together.
pub fn check(
    existing: &Existing,
    topology: Option<&Topology>,
    wanted: Option<Backend>,
    jaccl: &Jaccl,
) -> Result<Verdict, CheckError> {
    let topology = topology
        .map(|topology| by_rank(existing, topology))
        .transpose()?;
    let untold = match &topology {
        None => Some(rails::without_topology()),
        Some(topology) => existing
            .nodes
            .is_none()
            .then(|| assumed_order(&names(existing, Some(topology)))),
    };
    let mut findings = Findings::default();
    let judged = judge(existing, topology, wanted, jaccl, &mut findings);
    if judged.opens {
        findings.extend(untold);
    }
    Ok(judged.verdict(findings))
}

/// Checks a matrix that does not belong to the topology by its shape alone. The mismatch
/// is a finding rather than an error, so that the other matrices of the same document are
/// still checked.
pub fn check_apart(
    existing: &Existing,
    error: &CheckError,
    wanted: Option<Backend>,
    jaccl: &Jaccl,
) -> Verdict {
    let mut findings = Findings::default();
    let judged = judge(existing, None, wanted, jaccl, &mut findings);
    findings.push(Finding {
        outcome: Outcome::Fails,
        rule: Rule::Nodes,
        cell: None,
        sentence: error.to_string(),
    });
    judged.verdict(findings)
}

/// The group that jaccl makes of a matrix.
struct Judged {
    ring_variable: bool,
    backend: Option<Backend>,
    /// Whether jaccl gets as far as opening devices.
    opens: bool,
}

impl Judged {
    fn verdict(self, findings: Findings) -> Verdict {
        Verdict {
            ring_variable: self.ring_variable,
            backend: self.backend,
            findings: findings.sorted(),
        }
    }
}

fn judge(
    existing: &Existing,
    topology: Option<Topology>,
    wanted: Option<Backend>,
    jaccl: &Jaccl,
    findings: &mut Findings,
) -> Judged {
    let told = wanted.map(|backend| backend == Backend::Ring);
    let told = told.or(existing.ring_variable);
    let mut judged = Judged {
        ring_variable: told.unwrap_or_else(|| existing.has_several()),
        backend: None,
        opens: false,
    };
    if told.is_none() {
        findings.push(shape::assumed(judged.ring_variable));
    }
    if !shape::is_square(existing, findings) {
        return judged;
    }
    let counts = Counts::of(&existing.cells);
    judged.backend = counts.backend(judged.ring_variable);
    shape::judge(&counts, judged.ring_variable, wanted, findings);
    // If jaccl refuses the matrix, it opens no device.
    let refused = findings.come_to(Outcome::Fails);
    let Some(made) = judged.backend.filter(|_| !refused) else {
        return judged;
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
    rails::judge(&subject, findings);
    waste::judge(&subject, findings);
    judged.opens = true;
    judged
}

/// Adds a finding with the node assumed for each row.
fn assumed_order(names: &[String]) -> Finding {
    let shown: Vec<_> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("'{name}'"))
        .collect();
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    Finding {
        outcome: Outcome::Note,
        rule: Rule::Told,
        cell: None,
        sentence: format!(
            "the matrix does not name its nodes, so its rows are taken for those of the topology \
             in their order: {}{more}; where the ranks are in another, name them (`--nodes`)",
            shown.join(", ")
        ),
    }
}

/// The nodes of the matrix in the order of its rows, and then the others: a cable may
/// lead to one of them.
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

/// The names of the nodes for people.
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

    /// The number of rails or wires that jaccl opens between two ranks.
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
