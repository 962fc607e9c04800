//! An order of the ranks that works where the given one does not.

use super::document::Existing;
use crate::{Backend, NodeInfo, Options, Topology, counts::Counts, plan};

/// The most nodes whose orders are all tried.
const TRIED: usize = 6;

/// The rows in an order in which the cells are those of a ring: the rows as nodes, joined
/// where two cells name devices of each other, in the order of the planner's ring.
pub fn of_rows(existing: &Existing) -> Option<Vec<usize>> {
    let cells = &existing.cells;
    let mut topology = Topology::new();
    let nodes: Vec<_> = (0..cells.len())
        .map(|row| topology.add_node(&row.to_string()))
        .collect();
    let pairs = (0..cells.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    for (i, j) in pairs {
        for rail in 0..cells[i][j].len().min(cells[j][i].len()) {
            // A device may be in several cells, so it is named by its place.
            let device =
                |(from, to): (usize, usize)| topology.port(nodes[from], &format!("{to} {rail}"));
            let ends = [(i, j), (j, i)].map(device);
            topology.add_cable(&format!("{i} {j} {rail}"), ends);
        }
    }
    let plan = plan(&topology, &Options::default().backend(Backend::Ring)).ok()?;
    let row = |node: &NodeInfo| node.name.parse().ok();
    let rows: Vec<usize> = plan.nodes.iter().map(row).collect::<Option<_>>()?;
    let reordered: Vec<Vec<_>> = rows
        .iter()
        .map(|&i| rows.iter().map(|&j| cells[i][j].clone()).collect())
        .collect();
    let counts = Counts::of(&reordered);
    (counts.is_valid_ring() && counts.at(0, 1) > 0).then_some(rows)
}

/// The matrix with its rows and columns in another order.
pub fn reordered(existing: &Existing, rows: &[usize]) -> Existing {
    let cells = &existing.cells;
    let row = |&i: &usize| rows.iter().map(|&j| cells[i][j].clone()).collect();
    let names = existing.nodes.as_ref();
    Existing {
        cells: rows.iter().map(row).collect(),
        nodes: names.map(|names| rows.iter().map(|&i| names[i].clone()).collect()),
        ..existing.clone()
    }
}

/// The nodes of a topology in another order that works.
pub fn of_nodes(topology: &Topology, works: impl Fn(&[String]) -> bool) -> Option<Vec<String>> {
    let mut names: Vec<_> = topology
        .nodes()
        .map(|(_, node)| node.name.clone())
        .collect();
    if names.len() > TRIED {
        return None;
    }
    let mut orders = Vec::new();
    permutations(&mut names, 0, &mut orders);
    orders.into_iter().skip(1).find(|order| works(order))
}

/// Every order of the names from a place on, the given one first.
fn permutations(names: &mut Vec<String>, from: usize, orders: &mut Vec<Vec<String>>) {
    if from + 1 >= names.len() {
        orders.push(names.clone());
        return;
    }
    for other in from..names.len() {
        names.swap(from, other);
        permutations(names, from + 1, orders);
        names.swap(from, other);
    }
}
