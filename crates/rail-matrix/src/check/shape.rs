//! The group that jaccl makes of a matrix by its shape alone.

use super::{
    document::{Asks, Existing},
    finding::{Finding, Outcome},
    findings::Findings,
    wrong::Wrong,
};
use crate::{Backend, MAX_MESH, MAX_RAILS, counts::Counts};

/// Whether there is a cell for every two ranks, as `parse_devices_json` in `jaccl.cpp`
/// requires. Adds findings if there is not.
pub fn is_square(existing: &Existing, findings: &mut Findings) -> bool {
    let ranks = existing.cells.len();
    if ranks < 2 {
        let wrong = Wrong::FewRows { rows: ranks };
        findings.push(Finding::new(Outcome::Fails, None, wrong));
    }
    for (row, cells) in existing.cells.iter().enumerate() {
        let cells = cells.len();
        if cells != ranks {
            let wrong = Wrong::RowLength { row, cells, ranks };
            findings.push(Finding::new(Outcome::Fails, None, wrong));
        }
    }
    !findings.come_to(Outcome::Fails)
}

/// Checks that jaccl makes the requested group of the matrix, and can run it.
pub fn judge(
    counts: &Counts,
    ring_variable: bool,
    wanted: Option<Backend>,
    asks: &Asks,
    findings: &mut Findings,
) {
    let makes = counts.backend(ring_variable);
    match (makes, ring_variable) {
        (Some(Backend::Ring), true) => rail_count(counts, findings),
        (Some(Backend::Ring), false) => {
            rail_count(counts, findings);
            let outcome = match wanted {
                Some(_) => Outcome::FallsBack,
                None => Outcome::Note,
            };
            findings.extend(no_mesh(counts, outcome, makes));
        }
        (Some(Backend::Mesh), true) => {
            mesh_ranks(counts, findings);
            let mesh = matches!(asks, Asks::For { backend, .. } if *backend == Backend::Mesh);
            let outcome = match wanted {
                None if mesh => Outcome::Note,
                _ => Outcome::FallsBack,
            };
            findings.extend(no_ring(counts, outcome, makes));
        }
        (Some(Backend::Mesh), false) => mesh_ranks(counts, findings),
        (None, _) => {
            findings.extend(no_ring(counts, Outcome::Fails, None));
            findings.extend(no_mesh(counts, Outcome::Fails, None));
        }
    }
}

/// Checks that the document asks for what jaccl makes of its matrix.
pub fn asks(existing: &Existing, makes: Option<Backend>, findings: &mut Findings) {
    let finding = |outcome, wrong| Some(Finding::new(outcome, None, wrong));
    let fits = |backend| match backend {
        Backend::Mesh => "jaccl",
        Backend::Ring => "jaccl-ring",
    };
    findings.extend(match (&existing.asks, makes) {
        (Asks::Unknown, _) => None,
        (Asks::NoBackend, _) => finding(Outcome::Note, Wrong::NoBackend),
        (Asks::NoRdma(backend), _) => finding(
            Outcome::FallsBack,
            Wrong::NoRdma {
                backend: backend.clone(),
            },
        ),
        (
            Asks::For {
                backend: Backend::Mesh,
                ring_variable: Some(variable),
            },
            made,
        ) if made != Some(Backend::Mesh) => finding(
            Outcome::FallsBack,
            Wrong::RingInEnvironment {
                variable: variable.clone(),
            },
        ),
        (Asks::For { backend, .. }, Some(makes)) if *backend != makes => finding(
            Outcome::FallsBack,
            Wrong::AsksFor {
                backend: fits(*backend).to_owned(),
                makes,
                fits: fits(makes),
            },
        ),
        (Asks::For { .. }, _) => None,
    });
}

fn rail_count(counts: &Counts, findings: &mut Findings) {
    let rails = counts.at(0, 1);
    if !(1..=MAX_RAILS).contains(&rails) {
        let cell = Some((0, 1).into());
        findings.push(Finding::new(
            Outcome::Fails,
            cell,
            Wrong::RailCount { rails },
        ));
    }
}

fn mesh_ranks(counts: &Counts, findings: &mut Findings) {
    let ranks = counts.ranks();
    if ranks > MAX_MESH {
        let wrong = Wrong::MeshRanks { ranks };
        findings.push(Finding::new(Outcome::Fails, None, wrong));
    }
}

/// Findings for the cells that make this an invalid ring.
fn no_ring(
    counts: &Counts,
    outcome: Outcome,
    makes: Option<Backend>,
) -> impl Iterator<Item = Finding> {
    let first = counts.at(0, 1);
    let cells = (0..counts.ranks()).flat_map(|rank| {
        let mut peers = counts.neighbours(rank).to_vec();
        peers.sort_unstable();
        peers.dedup();
        peers.into_iter().map(move |peer| (rank, peer))
    });
    cells
        .map(|(i, j)| ((i, j), counts.at(i, j)))
        .filter(move |(_, has)| *has != first)
        .map(move |(cell, has)| {
            let wrong = Wrong::RingCount { has, first, makes };
            Finding::new(outcome, Some(cell.into()), wrong)
        })
}

/// Findings for the cells that make this an invalid mesh.
fn no_mesh(
    counts: &Counts,
    outcome: Outcome,
    makes: Option<Backend>,
) -> impl Iterator<Item = Finding> {
    let ranks = 0..counts.ranks();
    let cells = ranks
        .clone()
        .flat_map(move |i| ranks.clone().map(move |j| (i, j)));
    let wrong = cells.filter(|&(i, j)| (i == j) != (counts.at(i, j) == 0));
    wrong.map(move |(i, j)| {
        let wrong = Wrong::MeshCell {
            has: counts.at(i, j),
            diagonal: i == j,
            makes,
        };
        Finding::new(outcome, Some((i, j).into()), wrong)
    })
}
