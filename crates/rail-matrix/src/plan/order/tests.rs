//! Compares the search with the exact solution.

use proptest::prelude::*;

use super::{Ring, exact, links, obstacle, of, search};
use crate::{
    MAX_RAILS, PortId,
    plan::{pairs::Placed, refusal::Obstacle, width::Widths},
    topology::Join,
};

/// Widths of this many nodes; a pair without cables has none.
fn widths(nodes: usize, pairs: &[Vec<u64>]) -> Widths {
    let all = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
    let placed = all.zip(pairs).flat_map(|(pair, rates)| {
        let mut rates = rates.clone();
        rates.sort_unstable_by(|a, b| b.cmp(a));
        let join = Join {
            ends: [PortId(0), PortId(1)],
            name: None,
            one_sided: false,
            in_use: true,
        };
        let place = move |(place, rate)| Placed {
            join,
            pair,
            rate,
            place,
        };
        rates.into_iter().enumerate().map(place)
    });
    Widths::new(nodes, MAX_RAILS, &placed.collect::<Vec<_>>())
}

fn random() -> impl Strategy<Value = Widths> {
    (4..9_usize).prop_flat_map(|nodes| {
        let rates = prop::collection::vec(1..5_u64, 0..=MAX_RAILS);
        prop::collection::vec(rates, nodes * (nodes - 1) / 2)
            .prop_map(move |pairs| widths(nodes, &pairs))
    })
}

proptest! {
    #[test]
    fn a_search_finds_no_more_than_there_is_and_bounds_it(widths in random()) {
        let (found, certain) = (search::widest(&widths).ok(), exact::widest(&widths));
        let narrowest = |ring: &Option<Ring>| ring.as_ref().map_or(0, |ring| ring.narrowest);
        prop_assert!(narrowest(&found) <= narrowest(&certain));
        if let Some(found) = found {
            prop_assert!(narrowest(&certain) <= found.bound);
            let again = of(&found.nodes, found.rails, &widths);
            prop_assert_eq!((again.narrowest, again.total), (found.narrowest, found.total));
            let mut nodes = found.nodes;
            nodes.sort_unstable();
            prop_assert_eq!(nodes, (0..widths.nodes()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_cut_node_is_found_where_there_is_one(widths in random()) {
        let graph = widths.at_least(1, 1);
        let apart = |gone| obstacle::groups_without(&graph, gone).len() > 1;
        let dead_end = graph.near.iter().any(|near| near.len() < 2);
        let cut = (0..widths.nodes()).find(|node| apart(Some(*node)));
        match obstacle::necessary(&graph) {
            Some(Obstacle::Apart(_)) => prop_assert!(apart(None)),
            Some(Obstacle::DeadEnds(_)) => prop_assert!(dead_end && !apart(None)),
            Some(Obstacle::Bottleneck { node, .. }) => prop_assert_eq!(Some(node), cut),
            _ => prop_assert!(cut.is_none() && !dead_end && !apart(None)),
        }
    }

    /// Ore's condition, under which the search is guaranteed to find a ring.
    #[test]
    fn a_dense_cabling_has_its_widest_ring_found(
        nodes in 13..24_usize,
        missing in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
    ) {
        let gone = |a: usize, b: usize| missing.iter().any(|(x, y)| {
            let (x, y) = (x.index(nodes), y.index(nodes));
            (x.min(y), x.max(y)) == (a, b)
        });
        let pairs = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
        // Wide links everywhere except for a few pairs, so every node keeps more than
        // half.
        let rates = pairs.map(|(a, b)| if gone(a, b) { vec![1] } else { vec![8, 8] });
        let widths = widths(nodes, &rates.collect::<Vec<_>>());
        let ring = search::widest(&widths).unwrap();
        prop_assert_eq!((ring.narrowest, ring.bound, ring.rails), (16, 16, 2));
        prop_assert!(links(&ring.nodes).all(|(a, b)| widths.of(a, b, 2) == 16));
    }
}

#[test]
fn of_rings_that_are_equally_narrow_the_wider_in_all_is_taken() {
    // Four nodes. No ring with the link 0-1 is the best one. 0-2-1-3 has more in total.
    let pairs = [vec![2], vec![4], vec![4], vec![4], vec![4], vec![2]];
    let ring = exact::widest(&widths(4, &pairs)).unwrap();
    assert_eq!(
        (ring.nodes, ring.narrowest, ring.total),
        (vec![0, 2, 1, 3], 4, 16)
    );
}
