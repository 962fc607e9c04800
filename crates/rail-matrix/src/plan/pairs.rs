//! The cables of a topology by pair of nodes.

use std::cmp::Reverse;

use crate::{Account, NodeId, NodeState, Topology, topology::Join};

/// The nodes that take part, and their cables.
pub struct Pairs<'a> {
    pub topology: &'a Topology,
    /// Nodes of the topology, in the order used here.
    pub nodes: Vec<NodeId>,
    /// Pair by pair, each in the order of its rails.
    pub cables: Vec<Placed>,
    /// Whether any cable's rate is known.
    pub rates_known: bool,
}

/// A cable among those of its pair.
pub struct Placed {
    pub join: Join,
    /// Positions of the nodes that it joins, lower first.
    pub pair: (usize, usize),
    /// Bytes per second.
    pub rate: u64,
    /// The number of cables of its pair that are faster, or equally fast and listed
    /// before it.
    pub place: usize,
}

impl<'a> Pairs<'a> {
    pub fn of(topology: &'a Topology, account: &Account) -> Self {
        let mut position = vec![usize::MAX; topology.nodes().len()];
        let mut nodes = Vec::new();
        let fit = |id: NodeId| *account.node(id) == NodeState::Fit;
        for (id, _) in topology.nodes().filter(|(id, _)| fit(*id)) {
            position[id.0] = nodes.len();
            nodes.push(id);
        }
        let rates = || account.in_use().map(|join| topology.rate(join));
        let slowest = rates().flatten().min();
        let placed = account.in_use().zip(rates()).map(|(&join, rate)| {
            let [a, b] = join.ends.map(|end| position[topology[end].node.0]);
            Placed {
                join,
                pair: (a.min(b), a.max(b)),
                // A cable of unknown rate counts as the slowest.
                rate: rate.or(slowest).unwrap_or(1),
                place: 0,
            }
        });
        let mut cables: Vec<_> = placed.collect();
        cables.sort_unstable_by(|x, y| {
            let by_pair = x.pair.cmp(&y.pair);
            by_pair.then_with(|| topology.compare_cables(&x.join, &y.join))
        });
        let mut fastest: Vec<usize> = Vec::new();
        for cables in cables.chunk_by_mut(|x, y| x.pair == y.pair) {
            fastest.clear();
            fastest.extend(0..cables.len());
            fastest.sort_by_key(|&cable| Reverse(cables[cable].rate));
            for (place, &cable) in fastest.iter().enumerate() {
                cables[cable].place = place;
            }
        }
        Self {
            topology,
            nodes,
            cables,
            rates_known: slowest.is_some(),
        }
    }

    pub fn name(&self, node: usize) -> &str {
        &self.topology[self.nodes[node]].name
    }

    /// The cables pair by pair, each pair's in the order of its rails.
    pub fn links(&self) -> impl Iterator<Item = &[Placed]> {
        self.cables.chunk_by(|x, y| x.pair == y.pair)
    }
}
