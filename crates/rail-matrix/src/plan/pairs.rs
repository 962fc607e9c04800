//! The cables of a plan by pair of nodes, and the matrix that they make.

use super::{Backend, Choice, Note, Options, Spare, Widths};
use crate::{Matrix, NodeId, PortId, Topology, topology::Join};

/// The nodes that take part, and their cables pair by pair in the order of their rails.
pub struct Pairs<'a> {
    topology: &'a Topology,
    /// Of the topology, by position here.
    pub nodes: Vec<NodeId>,
    pairs: Vec<Pair>,
    /// Whether any cable's rate is known.
    pub rates_known: bool,
}

struct Pair {
    /// Positions, lower first.
    nodes: (usize, usize),
    /// In the order of their rails.
    cables: Vec<Join>,
    /// Indices into `cables`, fastest first.
    fastest: Vec<usize>,
    /// Their rates in bytes per second, fastest first.
    rates: Vec<u64>,
}

impl<'a> Pairs<'a> {
    pub fn of(topology: &'a Topology, cables: &[Join], usable: &[bool]) -> Self {
        let mut position = vec![usize::MAX; usable.len()];
        let mut nodes = Vec::new();
        for (id, _) in topology.nodes().filter(|(id, _)| usable[id.0]) {
            position[id.0] = nodes.len();
            nodes.push(id);
        }
        let pair_of = |join: &Join| {
            let [a, b] = join.ends.map(|end| position[topology[end].node.0]);
            (a.min(b), a.max(b))
        };
        let known = || cables.iter().filter_map(|join| rate(topology, join));
        // A cable of unknown rate is taken for as slow as any.
        let slowest = known().min().unwrap_or(1);

        let rates_known = known().next().is_some();

        let mut cables = cables.to_vec();
        cables.sort_unstable_by_key(pair_of);
        let pairs = cables
            .chunk_by(|x, y| pair_of(x) == pair_of(y))
            .map(|cables| {
                let mut cables = cables.to_vec();
                cables.sort_by(|x, y| topology.compare_cables(x, y));
                let rate = |c: usize| rate(topology, &cables[c]).unwrap_or(slowest);
                let mut fastest: Vec<_> = (0..cables.len()).collect();
                fastest.sort_by_key(|&c| std::cmp::Reverse(rate(c)));
                Pair {
                    nodes: pair_of(&cables[0]),
                    rates: fastest.iter().map(|&c| rate(c)).collect(),
                    fastest,
                    cables,
                }
            });
        let pairs = pairs.collect();
        Self {
            topology,
            nodes,
            pairs,
            rates_known,
        }
    }

    pub fn widths(&self, max_rails: usize) -> Widths {
        let rates = self.pairs.iter().map(|pair| (pair.nodes, &pair.rates[..]));
        Widths::new(self.nodes.len(), max_rails, rates)
    }

    pub fn name(&self, node: usize) -> &str {
        &self.topology[self.nodes[node]].name
    }

    /// The cables that a choice uses, as rails: the same order at both ends.
    pub fn matrix(&self, choice: &Choice) -> Matrix {
        let mut matrix = Matrix::empty(self.nodes.len());
        for pair in self
            .pairs
            .iter()
            .filter(|pair| choice.neighbours(pair.nodes))
        {
            let (i, j) = (choice.ranks[pair.nodes.0], choice.ranks[pair.nodes.1]);
            for join in pair.used(choice.rails) {
                let [a, b] = join.ends.map(|end| self.device(end));
                let first_is_i = self.topology[join.ends[0]].node == self.nodes[pair.nodes.0];
                let devices = if first_is_i { [a, b] } else { [b, a] };
                matrix.push((i, j), devices, self.topology.cable_name(join));
            }
        }
        matrix
    }

    fn device(&self, port: PortId) -> &str {
        &self.topology[port].device
    }

    /// A note for every pair with cables that a choice leaves unused.
    pub fn spare<'c>(
        &'c self,
        choice: &'c Choice,
        options: &'c Options,
    ) -> impl Iterator<Item = Note> + 'c {
        self.pairs.iter().filter_map(move |pair| {
            let linked = choice.neighbours(pair.nodes);
            let mut unused = pair
                .unused(if linked { choice.rails } else { 0 })
                .peekable();
            unused.peek()?;
            let (a, b) = pair.nodes;
            Some(Note::Spare {
                pair: [a, b].map(|node| self.name(node).to_owned()),
                cables: unused.map(|join| self.topology.cable_name(join)).collect(),
                why: self.why_spare(linked, choice, options),
            })
        })
    }

    fn why_spare(&self, linked: bool, choice: &Choice, options: &Options) -> Spare {
        let (rails, max_rails) = (choice.rails, options.max_rails);
        if !linked {
            return Spare::NotNeighbours;
        }
        if choice.backend == Backend::Mesh && !options.jaccl.mesh_opens_several {
            return Spare::MeshWires { wires: 1 };
        }
        if rails == max_rails {
            return Spare::Cap { max_rails };
        }
        let fewest = |pair: &&Pair| pair.cables.len();
        let linked = self
            .pairs
            .iter()
            .filter(|pair| choice.neighbours(pair.nodes));
        match linked.min_by_key(fewest) {
            Some(fewest) if fewest.cables.len() > rails => Spare::Slower { rails },
            _ => Spare::EqualCounts { rails },
        }
    }
}

impl Pair {
    /// The fastest so many, in the order of their rails.
    fn used(&self, rails: usize) -> impl Iterator<Item = &Join> {
        let mut used = self.fastest[..rails.min(self.fastest.len())].to_vec();
        used.sort_unstable();
        used.into_iter().map(|c| &self.cables[c])
    }

    /// The others, in the order of their rails.
    fn unused(&self, rails: usize) -> impl Iterator<Item = &Join> {
        let mut unused = self.fastest[rails.min(self.fastest.len())..].to_vec();
        unused.sort_unstable();
        unused.into_iter().map(|c| &self.cables[c])
    }
}

/// Of the slower of a cable's two devices, as far as known.
fn rate(topology: &Topology, join: &Join) -> Option<u64> {
    join.ends
        .iter()
        .filter_map(|&end| topology[end].bytes_per_second)
        .min()
}
