//! The widest ring, guaranteed, after Held and Karp: "A Dynamic Programming Approach to
//! Sequencing Problems" (1962).

use std::cmp::Reverse;

use super::{Ring, of};
use crate::plan::width::{Graph, Widths};

/// The ring whose narrowest link is widest. Ties go to the ring whose links are widest in
/// all, then to the one with fewest rails, then to the first in order of the nodes.
pub fn widest(widths: &Widths) -> Option<Ring> {
    let reachable = (1..=widths.max_rails()).filter_map(|rails| {
        let narrowest = narrowest(widths, rails)?;
        Some((narrowest, rails))
    });
    let reachable: Vec<_> = reachable.collect();
    let best = reachable.iter().map(|(narrowest, _)| *narrowest).max()?;
    reachable
        .into_iter()
        .filter(|(narrowest, _)| *narrowest == best)
        .map(|(_, rails)| of(&first_of_widest(widths, best, rails), rails, widths))
        .max_by_key(|ring| (ring.total, Reverse(ring.rails)))
}

/// The largest width that the narrowest link of a ring can have, with this many rails.
fn narrowest(widths: &Widths, rails: usize) -> Option<u64> {
    let distinct = widths.distinct(rails);
    // A ring of wider links is also a ring of narrower ones, so the answers are a run of
    // yes followed by a run of no.
    let possible = distinct.partition_point(|&width| closes(&widths.at_least(width, rails)));
    distinct[..possible].last().copied()
}

/// Whether a ring visits every node of the graph.
fn closes(graph: &Graph) -> bool {
    let others = graph.near.len() - 1;
    let near = |node: usize| neighbours_above_zero(graph, node);
    let from_zero = near(0);
    // By set of visited nodes (node 0 is in all): the nodes in which a path through them
    // can end.
    let mut ends = vec![0_u16; 1 << others];
    for last in 0..others {
        if from_zero & (1 << last) != 0 {
            ends[1 << last] = 1 << last;
        }
    }
    let near: Vec<_> = (1..=others).map(near).collect();
    for visited in 1..ends.len() {
        for next in (0..others).filter(|next| visited & (1 << next) == 0) {
            if ends[visited] & near[next] != 0 {
                ends[visited | (1 << next)] |= 1 << next;
            }
        }
    }
    ends.last().is_some_and(|ends| ends & from_zero != 0)
}

/// The neighbours of a node as bits; node 1 is the lowest.
fn neighbours_above_zero(graph: &Graph, node: usize) -> u16 {
    let above = graph.near[node].iter().filter(|near| **near > 0);
    above.fold(0, |bits, near| bits | 1 << (near - 1))
}

/// The nodes of the widest ring in all that has no link narrower than `narrowest`; ties
/// go to the first in order.
fn first_of_widest(widths: &Widths, narrowest: u64, rails: usize) -> Vec<usize> {
    let others = widths.nodes() - 1;
    let width = |a: usize, b: usize| {
        let width = widths.of(a, b, rails);
        (width >= narrowest).then_some(u128::from(width))
    };
    let all = (1 << others) - 1;
    // By set of visited nodes and the last of them: the largest total width of the rest
    // of the ring.
    let mut rest = vec![vec![None; others]; 1 << others];
    let onward = |rest: &[Vec<Option<u128>>], visited: usize, last: usize, next: usize| {
        let unvisited = visited & (1 << next) == 0;
        let after = unvisited
            .then(|| rest[visited | (1 << next)][next])
            .flatten()?;
        Some(width(last, next + 1)? + after)
    };
    for (last, rest) in rest[all].iter_mut().enumerate() {
        *rest = width(last + 1, 0);
    }
    for visited in (1..all).rev() {
        for last in (0..others).filter(|last| visited & (1 << last) != 0) {
            let ways = (0..others).filter_map(|next| onward(&rest, visited, last + 1, next));
            rest[visited][last] = ways.max();
        }
    }

    let (mut nodes, mut visited) = (vec![0], 0);
    while nodes.len() <= others {
        let last = nodes[nodes.len() - 1];
        let ways = (0..others).filter_map(|next| Some((onward(&rest, visited, last, next)?, next)));
        let (_, next) = ways
            .max_by_key(|&(total, next)| (total, Reverse(next)))
            .expect("a ring this wide was found to exist");
        nodes.push(next + 1);
        visited |= 1 << next;
    }
    nodes
}
