//! The assignment of nodes to ranks: the ring whose narrowest link is widest.
//!
//! A ring uses the same number of rails on all its links, and jaccl splits a message
//! evenly over them, so a link of `k` rails is as wide as `k` times its `k`-th fastest
//! cable. The best ring is a Hamiltonian cycle, so it is searched for:
//!
//! - up to [`EXACT`] nodes exactly, by dynamic programming over sets of nodes;
//! - beyond that by a heuristic ([`search`]), with an upper bound for any ring.

mod exact;
mod obstacle;
mod search;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use super::{refusal::Obstacle, width::Widths};

use super::refusal::EXACT_ORDER as EXACT;

/// An order of the nodes, as a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// Nodes by rank.
    pub nodes: Vec<usize>,
    /// Rails on every link.
    pub rails: usize,
    /// Bytes per second of its narrowest link.
    pub narrowest: u64,
    /// Bytes per second of all its links together.
    pub total: u128,
    /// An upper bound for the narrowest link of any ring of these nodes.
    pub bound: u64,
}

/// The rank of each node, from the nodes by rank.
pub fn ranks(nodes: &[usize]) -> Vec<usize> {
    let mut ranks = vec![0; nodes.len()];
    for (rank, &node) in nodes.iter().enumerate() {
        ranks[node] = rank;
    }
    ranks
}

/// The ring of the nodes in the given order, with the best number of rails.
///
/// # Errors
/// If two neighbours are not joined.
pub fn pinned(widths: &Widths) -> Result<Ring, Obstacle<usize>> {
    let nodes: Vec<_> = (0..widths.nodes()).collect();
    let best = (1..=widths.max_rails())
        .map(|rails| of(&nodes, rails, widths))
        .max_by_key(|ring| (ring.narrowest, ring.total, Reverse(ring.rails)))
        .filter(|ring| ring.narrowest > 0);
    best.ok_or_else(|| obstacle::in_order(&nodes, widths))
}

/// The widest ring.
///
/// # Errors
/// If no ring exists, or none was found.
pub fn widest(widths: &Widths) -> Result<Ring, Obstacle<usize>> {
    if widths.nodes() <= 3 {
        // Two nodes have one link, and any order of three nodes is the same ring.
        return pinned(widths).map_err(|_| obstacle::of(widths, Obstacle::NoOrder));
    }
    if widths.nodes() <= EXACT {
        exact::widest(widths).ok_or_else(|| obstacle::of(widths, Obstacle::NoOrder))
    } else {
        search::widest(widths)
    }
}

/// These nodes in this order, with this many rails.
fn of(nodes: &[usize], rails: usize, widths: &Widths) -> Ring {
    let links = links(nodes).map(|(a, b)| widths.of(a, b, rails));
    let narrowest = links.clone().min().unwrap_or(0);
    Ring {
        nodes: nodes.to_vec(),
        rails,
        narrowest,
        total: links.map(u128::from).sum(),
        bound: narrowest,
    }
}

/// Neighbours on a ring. Two nodes have one link rather than two.
fn links(nodes: &[usize]) -> impl Iterator<Item = (usize, usize)> + Clone {
    let closing = nodes.len() > 2;
    let next = nodes
        .iter()
        .skip(1)
        .chain(nodes.first().filter(|_| closing));
    nodes.iter().copied().zip(next.copied())
}
