//! The contents of a drawing or a list of a plan: every node, and every cable, used or
//! not.

use std::collections::HashMap;

use crate::{Plan, PortId, Topology};

pub struct Cabling<'a> {
    /// The ranks in order, then the nodes without a rank.
    pub nodes: Vec<Shown<'a>>,
    /// By pair of nodes, then in the order of the rails.
    pub cables: Vec<Laid<'a>>,
}

pub struct Shown<'a> {
    pub name: &'a str,
    /// Its name for people, if that is not the name.
    pub label: Option<&'a str>,
    /// Whether other nodes have the same label.
    shares_label: bool,
    pub rank: Option<usize>,
}

pub struct Laid<'a> {
    pub name: String,
    /// A node, by its place in [`Cabling::nodes`], lower first, and a device on it.
    pub ends: [(usize, &'a str); 2],
    /// Bytes per second of its slower end, where known.
    pub rate: Option<u64>,
    /// Its rail, or `None` if the plan does not use it.
    pub rail: Option<usize>,
}

impl Cabling<'_> {
    pub fn of<'a>(topology: &'a Topology, plan: &'a Plan) -> Cabling<'a> {
        let nodes = nodes(topology, plan);
        let place: HashMap<_, _> = nodes.iter().enumerate().map(|(n, s)| (s.name, n)).collect();
        let rails = rails(plan);
        let account = topology.account();
        let mut joins: Vec<_> = account.in_use().collect();
        let end = |port: PortId| {
            let port = &topology[port];
            (place[&*topology[port.node].name], &*port.device)
        };
        let ends = |ports: [PortId; 2]| {
            let mut ends = ports.map(end);
            ends.sort_unstable();
            ends
        };
        joins.sort_by(|x, y| {
            let nodes = |ports| ends(ports).map(|(node, _)| node);
            let by_pair = nodes(x.ends).cmp(&nodes(y.ends));
            by_pair.then_with(|| topology.compare_cables(x, y))
        });
        let cables = joins.iter().map(|join| {
            let ends = ends(join.ends);
            Laid {
                name: topology.cable_name(join),
                ends,
                rate: topology.rate(join),
                rail: rails.get(&ends[0]).copied(),
            }
        });
        Cabling {
            cables: cables.collect(),
            nodes,
        }
    }

    /// The cables by pair of nodes.
    pub fn links(&self) -> impl Iterator<Item = &[Laid<'_>]> {
        let pair = |cable: &Laid<'_>| cable.ends.map(|(node, _)| node);
        self.cables.chunk_by(move |x, y| pair(x) == pair(y))
    }
}

impl Shown<'_> {
    /// Its label and name, for people.
    pub fn title(&self) -> String {
        match self.label {
            Some(label) => format!("{label} ({})", self.name),
            None => self.name.to_owned(),
        }
    }

    /// The shorter of its two names for people that no other node has.
    pub fn label_or_name(&self) -> &str {
        self.label
            .filter(|_| !self.shares_label)
            .unwrap_or(self.name)
    }
}

fn nodes<'a>(topology: &'a Topology, plan: &'a Plan) -> Vec<Shown<'a>> {
    let ranks = plan.nodes.iter().enumerate();
    let ranks: HashMap<_, _> = ranks.map(|(rank, node)| (&*node.name, rank)).collect();
    let mut same: HashMap<&str, usize> = HashMap::new();
    for label in topology
        .nodes()
        .filter_map(|(_, node)| node.label.as_deref())
    {
        *same.entry(label).or_default() += 1;
    }
    let shared = |label: &str| same[label] > 1;
    let mut nodes: Vec<_> = topology
        .nodes()
        .map(|(_, node)| Shown {
            shares_label: node.label.as_deref().is_some_and(shared),
            name: &node.name,
            label: node.label.as_deref().filter(|label| *label != node.name),
            rank: ranks.get(&*node.name).copied(),
        })
        .collect();
    nodes.sort_by_key(|node| (node.rank.is_none(), node.rank));
    nodes
}

/// The rail of every device that the plan uses. A rank's place among the nodes is its
/// number.
fn rails(plan: &Plan) -> HashMap<(usize, &str), usize> {
    let matrix = &plan.matrix;
    let ranks = 0..matrix.ranks();
    let cells = ranks
        .clone()
        .flat_map(|i| ranks.clone().map(move |j| (i, j)));
    let devices = cells.flat_map(|(i, j)| {
        let cell = matrix.cell(i, j).iter().enumerate();
        cell.map(move |(k, device)| ((i, &**device), k))
    });
    devices.collect()
}
