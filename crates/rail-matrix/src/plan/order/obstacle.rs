//! Why a ring cannot be closed.

use crate::plan::width::{Graph, Widths};

/// What stands in the way of a ring, in names of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle<Node = String> {
    /// Two neighbours of a pinned order that no cable joins.
    NotJoined(Node, Node),
    /// Groups of nodes without a cable between them.
    Apart(Vec<Vec<Node>>),
    /// Nodes with fewer than two neighbours: a ring would have to pass them twice.
    DeadEnds(Vec<Node>),
    /// A node that every way between these groups passes.
    Bottleneck {
        /// The node.
        node: Node,
        /// The groups that only it joins.
        groups: Vec<Vec<Node>>,
    },
    /// Every order was tried.
    NoOrder,
    /// The search gave up; there may be a ring.
    NotFound,
}

impl<Node> Obstacle<Node> {
    /// The same obstacle, its nodes named otherwise.
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

/// Of the nodes in this order.
pub fn in_order(nodes: &[usize], widths: &Widths) -> Obstacle<usize> {
    let gap = super::links(nodes).find(|&(a, b)| !widths.joined(a, b));
    let (a, b) = gap.expect("an order of joined neighbours is a ring");
    Obstacle::NotJoined(a, b)
}

/// Of the nodes in any order.
pub fn of(widths: &Widths) -> Obstacle<usize> {
    let graph = widths.at_least(1, 1);
    necessary(&graph).unwrap_or(if widths.nodes() <= super::EXACT {
        Obstacle::NoOrder
    } else {
        Obstacle::NotFound
    })
}

/// A plain reason why no ring can visit every node of a graph, if there is one.
/// O(nodes x links).
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
    nodes.into_iter().find_map(|node| {
        let groups = groups_without(graph, Some(node));
        (groups.len() > 1).then_some(Obstacle::Bottleneck { node, groups })
    })
}

/// The nodes that can reach each other, group by group, as if one node were not there.
fn groups_without(graph: &Graph, gone: Option<usize>) -> Vec<Vec<usize>> {
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
