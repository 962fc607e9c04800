//! The cables of a plan by pair of nodes, and the matrix made from them.

use std::cmp::Reverse;

use super::{Choice, Note, Options, Spare, Widths};
use crate::{Backend, Matrix, NodeId, Topology, topology::Join};

/// The nodes that take part, and their cables.
pub struct Pairs<'a> {
    topology: &'a Topology,
    /// Nodes of the topology, in the order used here.
    pub nodes: Vec<NodeId>,
    /// Pair by pair, each in the order of its rails.
    cables: Vec<Placed>,
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
    pub fn of(topology: &'a Topology, cables: &[Join], usable: &[bool]) -> Self {
        let mut position = vec![usize::MAX; usable.len()];
        let mut nodes = Vec::new();
        for (id, _) in topology.nodes().filter(|(id, _)| usable[id.0]) {
            position[id.0] = nodes.len();
            nodes.push(id);
        }
        let rates = || cables.iter().map(|join| topology.rate(join));
        let slowest = rates().flatten().min();
        let placed = cables.iter().zip(rates()).map(|(&join, rate)| {
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

    pub fn widths(&self, max_rails: usize) -> Widths {
        Widths::new(self.nodes.len(), max_rails, &self.cables)
    }

    pub fn name(&self, node: usize) -> &str {
        &self.topology[self.nodes[node]].name
    }

    /// The cables that a choice uses, as rails: in the same order at both ends.
    pub fn matrix(&self, choice: &Choice) -> Matrix {
        let mut matrix = Matrix::empty(self.nodes.len());
        for cable in self.cables.iter().filter(|cable| choice.uses(cable)) {
            let ranks = cable.join.ends.map(|end| {
                let (a, b) = cable.pair;
                let node = if self.topology[end].node == self.nodes[a] {
                    a
                } else {
                    b
                };
                choice.ranks[node]
            });
            let devices = cable.join.ends.map(|end| &*self.topology[end].device);
            matrix.push(ranks, devices, self.topology.cable_name(&cable.join));
        }
        matrix
    }

    /// The cables that a choice leaves unused: one note for each pair that it joins, one
    /// for the rest.
    pub fn spare(&self, choice: &Choice, options: &Options) -> Vec<Note> {
        let why = self.why_spare(choice, options);
        let unused = self.cables.iter().filter(|cable| !choice.uses(cable));
        let unused: Vec<_> = unused.collect();
        let mut notes = Vec::new();
        let mut apart = Vec::new();
        for cables in unused.chunk_by(|x, y| x.pair == y.pair) {
            let (a, b) = cables[0].pair;
            let pair = [a, b].map(|node| self.name(node).to_owned());
            if choice.neighbours((a, b)) {
                let names = cables
                    .iter()
                    .map(|cable| self.topology.cable_name(&cable.join));
                notes.push(Note::Spare {
                    pair,
                    cables: names.collect(),
                    why,
                });
            } else {
                apart.push(pair);
            }
        }
        if !apart.is_empty() {
            notes.push(Note::NotNeighbours { pairs: apart });
        }
        notes
    }

    /// Why a cable between two nodes that a choice joins is unused.
    fn why_spare(&self, choice: &Choice, options: &Options) -> Spare {
        let (rails, max_rails) = (choice.rails, options.max_rails);
        if choice.backend == Backend::Mesh && !options.jaccl.mesh_opens_several {
            return Spare::MeshWires { wires: 1 };
        }
        if rails == max_rails {
            return Spare::Cap { max_rails };
        }
        let pairs = self.cables.chunk_by(|x, y| x.pair == y.pair);
        let joined = pairs.filter(|cables| choice.neighbours(cables[0].pair));
        match joined.map(<[_]>::len).min() {
            Some(fewest) if fewest > rails => Spare::Slower { rails },
            _ => Spare::EqualCounts { rails },
        }
    }
}
