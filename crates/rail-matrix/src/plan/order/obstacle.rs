//! Why no ring exists.

use crate::plan::width::{Graph, Widths};

/// The obstacle to a ring, in names of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle<Node = String> {
    /// No cable joins two neighbours of a pinned order.
    NotJoined(Node, Node),
    /// No cable joins these groups of nodes.
    Apart(Vec<Vec<Node>>),
    /// These nodes have fewer than two neighbours: a ring would have to pass the
    /// neighbour twice.
    DeadEnds(Vec<Node>),
    /// Every path between these groups passes this node.
    Bottleneck {
        /// The node.
        node: Node,
        /// The groups that only this node joins.
        groups: Vec<Vec<Node>>,
    },
    /// No order of the nodes forms a ring.
    NoOrder,
    /// The search was inconclusive; a ring may exist.
    NotFound,
}

impl<Node> Obstacle<Node> {
    /// The same obstacle, with its nodes renamed.
    pub(crate) fn map<Other>(self, name: impl Fn(Node) -> Other) -> Obstacle<Other> {
        let all = |nodes: Vec<Node>| nodes.into_iter().map(&name).collect();
        match self {
            Self::NotJoined(a, b) => Obstacle::NotJoined(name(a), name(b)),
            Self::Apart(groups) => Obstacle::Apart(groups.into_iter().map(all).collect()),
            Self::DeadEnds(nodes) => Obstacle::DeadEnds(all(nodes)),
            Self::Bottleneck { node, groups } => Obstacle::Bottleneck {
                node: name(node),
                groups: groups.into_iter().map(all).collect(),
            },
            Self::NoOrder => Obstacle::NoOrder,
            Self::NotFound => Obstacle::NotFound,
        }
    }
}

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
