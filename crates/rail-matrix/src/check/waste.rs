//! Devices and cables that a job does not use.

use std::collections::{BTreeMap, HashSet};

use super::{Cell, Finding, Findings, Outcome, Rule, Subject};
use crate::{Backend, PortInfo, plan::listed};

pub fn judge(subject: &Subject<'_>, findings: &mut Findings) {
    not_opened(subject, findings);
    not_named(subject, findings);
}

/// Devices in the matrix that jaccl does not open.
fn not_opened(subject: &Subject<'_>, findings: &mut Findings) {
    let diagonal = (0..subject.ranks()).map(|rank| (rank, rank));
    for (i, j) in subject.pairs().chain(diagonal) {
        let most = subject.counts.at(i, j).max(subject.counts.at(j, i));
        let opened = if i == j { 0 } else { subject.opened((i, j)) };
        if most <= opened {
            continue;
        }
        let why = match subject.backend {
            Backend::Ring => "the two are no neighbours on the ring".to_owned(),
            Backend::Mesh if subject.jaccl.mesh_opens_several => {
                "the mesh opens as many wires to every rank, and some cell has no more".to_owned()
            }
            Backend::Mesh => {
                let version = subject.jaccl.version();
                format!("the mesh of MLX {version} opens the first device of a cell alone")
            }
        };
        findings.push(Finding {
            outcome: Outcome::Wasted,
            rule: Rule::Opened,
            cell: Some((i, j).into()),
            sentence: format!("{opened} of {most} devices opened: {why}"),
        });
    }
}

/// Cables between two ranks that are not in the matrix.
fn not_named(subject: &Subject<'_>, findings: &mut Findings) {
    let Some((topology, joined)) = &subject.cabling else {
        return;
    };
    let rows = subject.cells.iter().enumerate();
    let devices = rows.flat_map(|(rank, row)| row.iter().flatten().map(move |d| (rank, &**d)));
    let named: HashSet<(usize, &str)> = devices.collect();
    let mut left: BTreeMap<Cell, Vec<String>> = BTreeMap::new();
    for join in &joined.cables {
        let ends = join.ends.map(|end| &topology[end]);
        let concerned = |port: &&PortInfo| {
            let node = port.node.0;
            node >= subject.ranks() || named.contains(&(node, &*port.device))
        };
        if ends.iter().any(concerned) {
            continue;
        }
        let [a, b] = ends.map(|port| port.node.0);
        let cables = left.entry((a.min(b), a.max(b)).into()).or_default();
        cables.push(topology.cable_name(join));
    }
    findings.extend(left.into_iter().map(|(cell, mut cables)| {
        cables.sort_unstable();
        let [a, b] = [cell.from, cell.to].map(|rank| &subject.names[rank]);
        let apart = subject.opened((cell.from, cell.to)) == 0;
        Finding {
            outcome: Outcome::Wasted,
            rule: Rule::Used,
            cell: Some(cell),
            sentence: format!(
                "no cell has {} between '{a}' and '{b}'{}",
                listed(&cables),
                if apart {
                    ", who are no neighbours on the ring"
                } else {
                    ""
                }
            ),
        }
    }));
}
