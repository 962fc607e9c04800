//! Why no ring exists.

use crate::plan::{
    refusal::Obstacle,
    width::{Graph, Widths},
};

/// The obstacle for the nodes in this order.
pub fn in_order(nodes: &[usize], widths: &Widths) -> Obstacle<usize> {
    let gap = super::links(nodes).find(|&(a, b)| !widths.joined(a, b));
    let (a, b) = gap.expect("an order of joined neighbours is a ring");
    Obstacle::NotJoined(a, b)
}

/// The obstacle for the nodes in any order: a simple reason, or the result of the search.
pub fn of(widths: &Widths, otherwise: Obstacle<usize>) -> Obstacle<usize> {
    necessary(&widths.at_least(1, 1)).unwrap_or(otherwise)
}

/// A simple reason why no ring can visit every node of a graph, if there is one. O(nodes +
/// links).
pub fn necessary(graph: &Graph) -> Option<Obstacle<usize>> {
    let groups = groups_without(graph, None);
    if groups.len() > 1 {
        return Some(Obstacle::Apart(groups));
    }
    let nodes = 0..graph.near.len();
    let dead_ends: Vec<_> = nodes.clone().filter(|&n| graph.near[n].len() < 2).collect();
    if !dead_ends.is_empty() {
        return Some(Obstacle::DeadEnds(dead_ends));
    }
    cut_node(graph).map(|node| Obstacle::Bottleneck {
        node,
        groups: groups_without(graph, Some(node)),
    })
}

/// The first node whose removal disconnects a connected graph (Hopcroft and Tarjan,
/// "Efficient algorithms for graph manipulation", 1973).
fn cut_node(graph: &Graph) -> Option<usize> {
    let mut cut = None;
    let mut found = vec![None; graph.near.len()];
    // By node, the earliest node that its subtree of the search reaches without the path
    // that led to it.
    let mut reach = vec![0; graph.near.len()];
    found[0] = Some(0);
    let (mut count, mut from_first) = (1, 0);
    let mut path = vec![(0, graph.near[0].iter())];
    while let Some((node, open)) = path.last_mut() {
        let node = *node;
        match open.next() {
            Some(&near) => match found[near] {
                Some(at) => reach[node] = reach[node].min(at),
                None => {
                    (found[near], reach[near]) = (Some(count), count);
                    count += 1;
                    path.push((near, graph.near[near].iter()));
                }
            },
            None => {
                path.pop();
                let Some(&(parent, _)) = path.last() else {
                    break;
                };
                reach[parent] = reach[parent].min(reach[node]);
                from_first += usize::from(parent == 0);
                let cuts = match parent {
                    0 => from_first > 1,
                    _ => Some(reach[node]) >= found[parent],
                };
                if cuts {
                    cut = Some(cut.map_or(parent, |first: usize| first.min(parent)));
                }
            }
        }
    }
    cut
}

/// The connected groups of the graph without one node.
pub(super) fn groups_without(graph: &Graph, gone: Option<usize>) -> Vec<Vec<usize>> {
    let mut seen: Vec<_> = (0..graph.near.len())
        .map(|node| Some(node) == gone)
        .collect();
    let mut groups = Vec::new();
    for first in 0..graph.near.len() {
        if std::mem::replace(&mut seen[first], true) {
            continue;
        }
        let mut group = vec![first];
        let mut reached = 0;
        while let Some(&node) = group.get(reached) {
            reached += 1;
            for &near in &graph.near[node] {
                if !std::mem::replace(&mut seen[near], true) {
                    group.push(near);
                }
            }
        }
        group.sort_unstable();
        groups.push(group);
    }
    groups
}
