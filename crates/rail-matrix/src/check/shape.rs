//! The group that jaccl makes of a matrix by its shape alone.

use super::{Cell, Existing, Finding, Findings, Outcome, Rule};
use crate::{Backend, MAX_MESH, MAX_RAILS, counts::Counts};

/// The finding for the assumption made.
pub fn assumed(ring_variable: bool) -> Finding {
    let sentence = if ring_variable {
        "judged with MLX_JACCL_RING set, because a cell has several devices; ask for a mesh to \
         judge it without"
    } else {
        "judged without MLX_JACCL_RING, because no cell has several devices; ask for a ring to \
         judge it with it"
    };
    finding(Outcome::Note, Rule::Told, None, sentence.to_owned())
}

/// Whether there is a cell for every two ranks, as `parse_devices_json` in `jaccl.cpp`
/// requires. Adds findings if there is not.
pub fn is_square(existing: &Existing, findings: &mut Findings) -> bool {
    let rows = existing.cells.len();
    if rows < 2 {
        let sentence = format!(
            "the matrix has {rows} {}, and jaccl joins two ranks or more; with none to join, \
             MLX without `strict` goes on alone",
            if rows == 1 { "row" } else { "rows" }
        );
        findings.push(finding(Outcome::Fails, Rule::Ranks, None, sentence));
    }
    let uneven = existing.cells.iter().enumerate();
    let uneven = uneven.filter(|(_, row)| row.len() != rows);
    findings.extend(uneven.map(|(rank, row)| {
        let sentence = format!(
            "row {rank} has {} cells, and there are {rows} ranks; jaccl refuses the file",
            row.len()
        );
        finding(Outcome::Fails, Rule::Square, None, sentence)
    }));
    !findings.come_to(Outcome::Fails)
}

/// Checks that jaccl makes the requested group of the matrix, and can run it.
pub fn judge(
    counts: &Counts,
    ring_variable: bool,
    wanted: Option<Backend>,
    findings: &mut Findings,
) {
    match (counts.backend(ring_variable), ring_variable) {
        (Some(Backend::Ring), true) => rail_count(counts, findings),
        (Some(Backend::Ring), false) => {
            rail_count(counts, findings);
            let outcome = match wanted {
                Some(_) => Outcome::FallsBack,
                None => Outcome::Note,
            };
            let end = "so jaccl makes a ring, and nothing says so";
            findings.extend(no_mesh(counts, outcome, end));
        }
        (Some(Backend::Mesh), true) => {
            mesh_ranks(counts, findings);
            let end = "so jaccl makes a mesh, and nothing says so";
            findings.extend(no_ring(counts, Outcome::FallsBack, end));
        }
        (Some(Backend::Mesh), false) => mesh_ranks(counts, findings),
        (None, _) => {
            let end = "and there is no other group to make; jaccl refuses, and MLX without \
                       `strict` goes on with every rank alone";
            findings.extend(no_ring(counts, Outcome::Fails, end));
            findings.extend(no_mesh(counts, Outcome::Fails, end));
        }
    }
}

fn rail_count(counts: &Counts, findings: &mut Findings) {
    let rails = counts.at(0, 1);
    let sentence = match rails {
        0 => "a ring without any device: jaccl takes it for valid and then reads connections \
              that are not there"
            .to_owned(),
        1..=MAX_RAILS => return,
        many => format!(
            "a ring of {many} rails; jaccl opens at most {MAX_RAILS} and refuses, so take {} out \
             of every cell of neighbours",
            many - MAX_RAILS
        ),
    };
    let cell = Some((0, 1).into());
    findings.push(finding(Outcome::Fails, Rule::RailCount, cell, sentence));
}

fn mesh_ranks(counts: &Counts, findings: &mut Findings) {
    let ranks = counts.ranks();
    if ranks > MAX_MESH {
        let sentence =
            format!("a mesh of {ranks} ranks; jaccl joins at most {MAX_MESH} so and refuses");
        findings.push(finding(Outcome::Fails, Rule::Ranks, None, sentence));
    }
}

/// Findings for the cells that make this an invalid ring.
fn no_ring(counts: &Counts, outcome: Outcome, end: &str) -> impl Iterator<Item = Finding> {
    let first = counts.at(0, 1);
    let cells = (0..counts.ranks()).flat_map(|rank| {
        let [left, right] = counts.neighbours(rank);
        let mut peers = vec![left, right];
        peers.sort_unstable();
        peers.dedup();
        peers.into_iter().map(move |peer| (rank, peer))
    });
    cells
        .map(|(i, j)| ((i, j), counts.at(i, j)))
        .filter(move |(_, count)| *count != first)
        .map(move |(cell, count)| {
            let sentence = format!(
                "{} here and {} in (0, 1): a ring has as many in every cell of neighbours, {end}",
                devices(count),
                first
            );
            finding(outcome, Rule::RingCounts, Some(cell.into()), sentence)
        })
}

/// Findings for the cells that make this an invalid mesh.
fn no_mesh(counts: &Counts, outcome: Outcome, end: &str) -> impl Iterator<Item = Finding> {
    let ranks = 0..counts.ranks();
    let cells = ranks
        .clone()
        .flat_map(move |i| ranks.clone().map(move |j| (i, j)));
    let wrong = cells.filter(|&(i, j)| (i == j) != (counts.at(i, j) == 0));
    wrong.map(move |(i, j)| {
        let what = if i == j {
            format!(
                "{} from a rank to itself, where a mesh has none",
                devices(counts.at(i, j))
            )
        } else {
            "no device, and a mesh has one towards every rank".to_owned()
        };
        let sentence = format!("{what}, {end}");
        finding(outcome, Rule::MeshCells, Some((i, j).into()), sentence)
    })
}

fn devices(count: usize) -> String {
    match count {
        0 => "no device".to_owned(),
        1 => "1 device".to_owned(),
        many => format!("{many} devices"),
    }
}

fn finding(outcome: Outcome, rule: Rule, cell: Option<Cell>, sentence: String) -> Finding {
    Finding {
        outcome,
        rule,
        cell,
        sentence,
    }
}
