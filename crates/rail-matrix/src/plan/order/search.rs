//! Searches a wide ring of many nodes, with an upper bound for its width.
//!
//! The question whether a graph has a ring through all its nodes is NP-complete, so
//! beyond a few nodes this search may miss one. It is guaranteed to find a ring of links
//! of a given width if any two nodes not joined by such a link have, between them, at
//! least as many neighbours over such links as there are nodes (Ore's condition; E. M.
//! Palmer, "The hidden algorithm of Ore's theorem on Hamiltonian cycles", 1997). Sparse
//! cablings, the usual ones because a node has few ports, are searched with backtracking
//! for up to [`STEPS`]; if that finishes without a ring, there is none.
//!
//! Cost: O(log(widths) x (nodes² + links + [`STEPS`] x ports of a node²)).

use std::cmp::Reverse;

use super::{Ring, obstacle, of};
use crate::plan::{
    refusal::Obstacle,
    width::{Graph, Widths},
};

/// Steps of backtracking before a width is given up.
const STEPS: usize = 100_000;
/// Rounds of searching for wider links that keep the narrowest.
const ROUNDS: usize = 16;

/// The result of searching a ring.
enum Outcome {
    Found(Vec<usize>),
    /// No ring exists.
    Impossible,
    /// The search was given up.
    Unknown,
}

/// The widest ring found, over every number of rails.
///
/// # Errors
/// If no ring was found. The error distinguishes whether none exists or the search was
/// inconclusive.
pub fn widest(widths: &Widths) -> Result<Ring, Obstacle<usize>> {
    let mut by_rails: Vec<_> = (1..=widths.max_rails())
        .map(|rails| (rails, widths.distinct(rails)))
        .filter(|(_, distinct)| !distinct.is_empty())
        .collect();
    by_rails.sort_by_key(|(rails, distinct)| (Reverse(distinct.last().copied()), *rails));

    let mut best: Option<Ring> = None;
    let mut bound = 0;
    for (rails, mut distinct) in by_rails {
        let wide_enough = best.as_ref().map_or(0, |ring| ring.narrowest);
        distinct.retain(|width| *width >= wide_enough);
        let (ring, bound_of_rails) = widest_with(widths, rails, &distinct);
        bound = bound.max(bound_of_rails);
        let rank = |ring: &Ring| (ring.narrowest, ring.total, Reverse(ring.rails));
        if ring.as_ref().map(rank) > best.as_ref().map(rank) {
            best = ring;
        }
    }
    match best {
        Some(ring) => Ok(Ring {
            bound: bound.max(ring.narrowest),
            ..ring
        }),
        None if bound == 0 => Err(obstacle::of(widths, Obstacle::NoOrder)),
        None => Err(obstacle::of(widths, Obstacle::NotFound)),
    }
}

/// The widest ring with this many rails, and the upper bound for any.
fn widest_with(widths: &Widths, rails: usize, distinct: &[u64]) -> (Option<Ring>, u64) {
    let mut found = None;
    let (mut low, mut high) = (0, distinct.len());
    let mut impossible_from = distinct.len();
    // The widest first, because equal cables everywhere are the usual case.
    let mut middle = high.saturating_sub(1);
    while low < high {
        let graph = widths.at_least(distinct[middle], rails);
        match find(&graph) {
            Outcome::Found(nodes) => {
                found = Some(widen(nodes, distinct[middle], rails, widths));
                low = middle + 1;
            }
            Outcome::Impossible => {
                impossible_from = impossible_from.min(middle);
                high = middle;
            }
            Outcome::Unknown => high = middle,
        }
        middle = low.midpoint(high);
    }
    let bound = distinct[..impossible_from].last().copied().unwrap_or(0);
    (found.map(|nodes| of(&nodes, rails, widths)), bound)
}

/// A ring through every node of a graph.
fn find(graph: &Graph) -> Outcome {
    match mend((0..graph.near.len()).collect(), graph) {
        Some(nodes) => Outcome::Found(from_first(nodes)),
        None if obstacle::necessary(graph).is_some() => Outcome::Impossible,
        None => backtrack(graph),
    }
}

/// Palmer's algorithm: while two neighbours of the ring are not joined, reverses a part
/// of the ring so that there is one such gap less. O(n²).
fn mend(mut nodes: Vec<usize>, graph: &Graph) -> Option<Vec<usize>> {
    let count = nodes.len();
    let at = |nodes: &[usize], i: usize| nodes[i % count];
    while let Some(gap) = (0..count).find(|&i| !graph.joined(at(&nodes, i), at(&nodes, i + 1))) {
        // Rotates the ring so that the gap is between the last node and the first.
        nodes.rotate_left((gap + 1) % count);
        let (first, last) = (nodes[0], nodes[count - 1]);
        let turn = (1..count - 1)
            .find(|&i| graph.joined(first, nodes[i + 1]) && graph.joined(last, nodes[i]))?;
        nodes[..=turn].reverse();
    }
    Some(nodes)
}

/// Tries the neighbour with the fewest further neighbours first, as Warnsdorff did for a
/// knight's tour, and backtracks from dead ends.
fn backtrack(graph: &Graph) -> Outcome {
    let count = graph.near.len();
    let mut visited = vec![false; count];
    visited[0] = true;
    let mut path = vec![0];
    let mut choices = vec![ways_on(graph, &visited, 0)];
    for _ in 0..STEPS {
        let Some(open) = choices.last_mut() else {
            return Outcome::Impossible;
        };
        if let Some(next) = open.pop() {
            visited[next] = true;
            path.push(next);
            if path.len() == count && graph.joined(next, 0) {
                return Outcome::Found(from_first(path));
            }
            choices.push(ways_on(graph, &visited, next));
        } else {
            choices.pop();
            let last = path.pop().expect("as many nodes as choices");
            visited[last] = false;
        }
    }
    Outcome::Unknown
}

/// The unvisited neighbours of a node; the one to try first is last.
fn ways_on(graph: &Graph, visited: &[bool], node: usize) -> Vec<usize> {
    let open = |node: usize| {
        graph.near[node]
            .iter()
            .copied()
            .filter(|near| !visited[*near])
    };
    let mut ways: Vec<_> = open(node).map(|next| (open(next).count(), next)).collect();
    ways.sort_unstable_by_key(|way| Reverse(*way));
    ways.into_iter().map(|(_, next)| next).collect()
}

/// Reverses parts of a ring while that widens its links in total and makes none narrower
/// than `narrowest`.
fn widen(mut nodes: Vec<usize>, narrowest: u64, rails: usize, widths: &Widths) -> Vec<usize> {
    let count = nodes.len();
    for _ in 0..ROUNDS {
        let mut wider = false;
        for i in 0..count - 2 {
            for j in i + 2..count {
                let width = |a: usize, b: usize| widths.of(nodes[a], nodes[b % count], rails);
                let (now, then) = (
                    [width(i, i + 1), width(j, j + 1)],
                    [width(i, j), width(i + 1, j + 1)],
                );
                let sum = |links: [u64; 2]| links.map(u128::from).iter().sum::<u128>();
                if then.iter().all(|width| *width >= narrowest) && sum(then) > sum(now) {
                    nodes[i + 1..=j].reverse();
                    wider = true;
                }
            }
        }
        if !wider {
            break;
        }
    }
    from_first(nodes)
}

/// The same ring starting from node 0, in the direction of its lower neighbour.
fn from_first(mut nodes: Vec<usize>) -> Vec<usize> {
    let first = nodes
        .iter()
        .position(|node| *node == 0)
        .expect("a ring has every node");
    nodes.rotate_left(first);
    if nodes[1] > nodes[nodes.len() - 1] {
        nodes[1..].reverse();
    }
    nodes
}
