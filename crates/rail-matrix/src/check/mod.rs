//! Checks of existing matrices: parts that would hang, fail, corrupt, fall back or be
//! wasted.
//!
//! The rules are jaccl's. A finding gives the outcome and the cell that it is about. A
//! cell is `(i, j)`: the devices on rank `i` towards rank `j`.

mod cell;
mod document;
mod finding;
mod findings;
mod order;
mod rails;
mod report;
mod rule;
mod shape;
mod subject;
mod verdict;
mod waste;
mod wrong;

use crate::{Backend, Jaccl, NodeInfo, SelectError, Topology, counts::Counts, danger::Effect};
use findings::Findings;
use subject::{Names, Subject};

pub use crate::danger::{DANGERS, Danger, Effect as DangerEffect, NOT_OF_A_MATRIX};
pub use cell::{Cell, Device};
pub use document::{Asks, Document, Existing, read};
pub use finding::{Finding, Outcome};
pub use report::{SCHEMA, json, markdown};
pub use rule::Rule;
pub use verdict::Verdict;
pub use wrong::{NotOpened, When, Wrong};

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

/// Checks the matrices of a document, against `topology` or else against the cabling in
/// the document itself.
///
/// Of several matrices one that does not belong to the topology is checked by its shape
/// alone, with a finding for the mismatch, so that the others are still checked.
///
/// # Errors
/// If a document's only matrix does not belong to the topology.
pub fn check_document(
    document: &Document,
    topology: Option<&Topology>,
    wanted: Option<Backend>,
    jaccl: &Jaccl,
) -> Result<Vec<Verdict>, CheckError> {
    let topology = topology.or(document.topology.as_ref());
    let alone = document.matrices.len() == 1;
    let verdicts =
        document
            .matrices
            .iter()
            .map(|existing| match check(existing, topology, wanted, jaccl) {
                Err(error) if !alone => {
                    let mut findings = Findings::default();
                    let judged = judge(existing, None, wanted, jaccl, &mut findings);
                    let why = error.to_string();
                    findings.push(Finding::new(Outcome::Fails, None, Wrong::Nodes { why }));
                    Ok(judged.verdict(findings))
                }
                verdict => verdict,
            });
    verdicts.collect()
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
    let mut verdict = check_as_given(existing, topology, wanted, jaccl)?;
    // No order of the ranks mends a defect of jaccl.
    let misplaced = |it: &Finding| !it.outcome.is_safe() && it.rule() != Rule::Defect;
    if verdict.findings.iter().any(misplaced) {
        let mended = jaccl.patched(true);
        verdict
            .findings
            .extend(other_order(existing, topology, wanted, &mended, &verdict));
    }
    Ok(verdict)
}

fn check_as_given(
    existing: &Existing,
    topology: Option<&Topology>,
    wanted: Option<Backend>,
    jaccl: &Jaccl,
) -> Result<Verdict, CheckError> {
    let topology = topology
        .map(|topology| by_rank(existing, topology))
        .transpose()?;
    let untold = match &topology {
        None => Some(Wrong::NoTopology),
        Some(topology) => existing.nodes.is_none().then(|| {
            let Names { names, titles } = names(existing, Some(topology));
            let nodes = names;
            Wrong::AssumedOrder { nodes, titles }
        }),
    };
    let mut findings = Findings::default();
    let judged = judge(existing, topology, wanted, jaccl, &mut findings);
    if judged.opens {
        findings.extend(untold.map(|wrong| Finding::new(Outcome::Note, None, wrong)));
    }
    Ok(judged.verdict(findings))
}

/// The finding for an order of the ranks that works, if the given one is the problem.
fn other_order(
    existing: &Existing,
    topology: Option<&Topology>,
    wanted: Option<Backend>,
    jaccl: &Jaccl,
    verdict: &Verdict,
) -> Option<Finding> {
    let finding = |wrong| Some(Finding::new(Outcome::Note, None, wrong));
    let safe = |existing: &Existing, topology: Option<&Topology>| {
        let verdict = check_as_given(existing, topology, wanted, jaccl);
        verdict.is_ok_and(|verdict| verdict.is_safe())
    };
    let square = !verdict
        .findings
        .iter()
        .any(|finding| matches!(finding.rule(), Rule::Square | Rule::Ranks));
    let named = existing
        .nodes
        .as_ref()
        .is_none_or(|nodes| nodes.len() == existing.cells.len());
    let no_ring = match verdict.backend {
        None => true,
        Some(made) => verdict.ring_variable && made == Backend::Mesh,
    };
    if square && named && no_ring {
        let rows = order::of_rows(existing)?;
        // Without names the rows are those of the topology, as they were judged.
        let existing = match (&existing.nodes, topology) {
            (None, Some(topology)) => {
                let names = topology.nodes().map(|(_, node)| node.name.clone());
                existing.clone().with_nodes(names.collect())
            }
            _ => existing.clone(),
        };
        let other = order::reordered(&existing, &rows);
        let names = names(&existing, None).titles;
        let nodes = rows.iter().map(|&row| names[row].clone()).collect();
        return match safe(&other, topology) {
            true => finding(Wrong::OtherOrder {
                rows,
                nodes,
                nodes_alone: false,
            }),
            false => None,
        };
    }
    let topology = topology.filter(|_| existing.nodes.is_none())?;
    let nodes = order::of_nodes(topology, |nodes| {
        let existing = Existing {
            nodes: Some(nodes.to_vec()),
            ..existing.clone()
        };
        safe(&existing, Some(topology))
    })?;
    finding(Wrong::OtherOrder {
        rows: (0..existing.cells.len()).collect(),
        nodes,
        nodes_alone: true,
    })
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
        let set = judged.ring_variable;
        let wrong = Wrong::AssumedVariable { set };
        findings.push(Finding::new(Outcome::Note, None, wrong));
    }
    if !shape::is_square(existing, findings) {
        return judged;
    }
    let counts = Counts::of(&existing.cells);
    judged.backend = counts.backend(judged.ring_variable);
    shape::judge(
        &counts,
        judged.ring_variable,
        wanted,
        &existing.asks,
        findings,
    );
    if wanted.is_none() {
        shape::asks(existing, judged.backend, findings);
    }
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
            .map(|topology| (topology, topology.account())),
    };
    rails::judge(&subject, findings);
    waste::judge(&subject, findings);
    dangers(&subject, findings);
    judged.opens = true;
    judged
}

/// The defects of the jaccl that the group meets in ordinary work.
fn dangers(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.jaccl.patched {
        return;
    }
    let (backend, ranks, rails) = (subject.backend, subject.ranks(), subject.rails());
    let met = DANGERS.iter().copied().filter(|danger| {
        let is_in = danger.is_in(subject.jaccl);
        danger.ordinary && is_in && danger.is_met(backend, ranks, rails)
    });
    findings.extend(met.map(|danger| {
        let outcome = match danger.effect {
            Effect::Hang => Outcome::Hangs,
            Effect::Wrong | Effect::Overrun => Outcome::Corrupts,
            Effect::Crash | Effect::Error => Outcome::Fails,
        };
        Finding::new(outcome, None, Wrong::Defect { danger })
    }));
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

/// What the nodes are called.
fn names(existing: &Existing, topology: Option<&Topology>) -> Names {
    let rows = existing.cells.len();
    match (topology, &existing.nodes) {
        (Some(topology), _) => Names::of_topology(topology),
        (None, Some(names)) if names.len() == rows => Names::of_rows(names.clone()),
        (None, _) => Names::of_rows((0..rows).map(|rank| format!("rank {rank}")).collect()),
    }
}
