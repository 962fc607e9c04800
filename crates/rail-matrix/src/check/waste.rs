//! Devices and cables that a job does not use.

use std::collections::{BTreeMap, HashSet};

use super::{
    cell::Cell,
    finding::{Finding, Outcome},
    findings::Findings,
    subject::Subject,
    wrong::{NotOpened, Wrong},
};
use crate::{Backend, PortInfo};

pub fn judge(subject: &Subject<'_>, findings: &mut Findings) {
    not_opened(subject, findings);
    not_named(subject, findings);
}

/// Devices in the matrix that jaccl does not open.
fn not_opened(subject: &Subject<'_>, findings: &mut Findings) {
    let diagonal = (0..subject.ranks()).map(|rank| (rank, rank));
    for (i, j) in subject.pairs().chain(diagonal) {
        let has = subject.counts.at(i, j).max(subject.counts.at(j, i));
        let opened = if i == j { 0 } else { subject.opened((i, j)) };
        if has <= opened {
            continue;
        }
        let why = match subject.backend {
            Backend::Ring => NotOpened::NoNeighbours,
            Backend::Mesh if subject.jaccl.mesh_opens_several => NotOpened::NarrowestCell,
            Backend::Mesh => NotOpened::OneWire {
                mlx: subject.jaccl.version(),
            },
        };
        let wrong = Wrong::NotOpened { opened, has, why };
        let cell: Cell = (i, j).into();
        findings.push(Finding::new(Outcome::Wasted, cell, wrong));
    }
}

/// Cables between two ranks that are not in the matrix.
fn not_named(subject: &Subject<'_>, findings: &mut Findings) {
    let Some((topology, account)) = &subject.cabling else {
        return;
    };
    let rows = subject.cells.iter().enumerate();
    let devices = rows.flat_map(|(rank, row)| row.iter().flatten().map(move |d| (rank, &**d)));
    let named: HashSet<(usize, &str)> = devices.collect();
    let mut left: BTreeMap<Cell, Vec<String>> = BTreeMap::new();
    for join in account.in_use() {
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
        let wrong = Wrong::NotNamed {
            cables,
            nodes: [cell.from, cell.to].map(|rank| subject.names.titles[rank].clone()),
            apart: subject.opened((cell.from, cell.to)) == 0,
        };
        Finding::new(Outcome::Wasted, cell, wrong)
    }));
}
