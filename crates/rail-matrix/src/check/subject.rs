//! A matrix of which jaccl makes a group.

use rig::End;

use super::{
    cell::{Cell, Device},
    wrong::When,
};
use crate::{Account, Backend, Jaccl, NodeId, PortId, Topology, counts::Counts};

pub struct Subject<'a> {
    pub cells: &'a [Vec<Vec<String>>],
    pub counts: &'a Counts,
    pub backend: Backend,
    pub jaccl: &'a Jaccl,
    /// By rank.
    pub names: Names,
    /// The ranks' nodes come first, in their order.
    pub cabling: Option<(&'a Topology, Account)>,
}

/// What nodes are called.
pub struct Names {
    /// Their own names.
    pub names: Vec<String>,
    /// Their names for people.
    pub titles: Vec<String>,
}

impl Names {
    pub fn of_topology(topology: &Topology) -> Self {
        Self {
            names: topology
                .nodes()
                .map(|(_, node)| node.name.clone())
                .collect(),
            titles: topology.nodes().map(|(id, _)| topology.title(id)).collect(),
        }
    }

    pub fn of_rows(names: Vec<String>) -> Self {
        Self {
            titles: names.clone(),
            names,
        }
    }
}

impl Subject<'_> {
    pub fn ranks(&self) -> usize {
        self.cells.len()
    }

    /// Every two ranks, lower first.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        (0..self.ranks()).flat_map(|j| (0..j).map(move |i| (i, j)))
    }

    /// The number of rails or wires that jaccl opens between two ranks.
    pub fn opened(&self, (i, j): (usize, usize)) -> usize {
        match self.backend {
            Backend::Ring if self.counts.neighbours(i).contains(&j) => self.counts.at(i, j),
            Backend::Ring => 0,
            Backend::Mesh => self.wires(),
        }
    }

    /// Every device that jaccl opens, by rank and cell.
    pub fn opened_devices(&self) -> impl Iterator<Item = (Cell, &str)> {
        let cells = self.pairs().flat_map(|(i, j)| [(i, j), (j, i)]);
        cells.flat_map(|(from, to)| {
            let devices = self.cells[from][to].iter().enumerate();
            let devices = devices.take(self.opened((from, to)));
            devices.map(move |(rail, device)| {
                let rail = Some(rail);
                (Cell { from, to, rail }, device.as_str())
            })
        })
    }

    /// The rails of a link, or the wires to each peer.
    pub fn rails(&self) -> usize {
        self.opened((0, 1))
    }

    /// Wires of a mesh (`Config::get_mesh_connectivity` in `jaccl.cpp`).
    fn wires(&self) -> usize {
        if !self.jaccl.mesh_opens_several {
            return 1;
        }
        let counts = self.pairs().flat_map(|(i, j)| [(i, j), (j, i)]);
        counts.map(|(i, j)| self.counts.at(i, j)).min().unwrap_or(0)
    }

    /// The operations that do not return if this rail does not carry.
    pub fn when(&self, rail: usize) -> When {
        When {
            backend: self.backend,
            rail,
            bytes: match self.backend {
                Backend::Ring => self.jaccl.ring_spreads_above,
                Backend::Mesh => self.jaccl.mesh_spreads_from,
            },
        }
    }

    /// A device on a rank, as the matrix names it.
    pub fn device(&self, rank: usize, device: &str) -> Device {
        Device {
            end: End {
                node: self.names.names[rank].clone(),
                device: device.to_owned(),
            },
            title: self.names.titles[rank].clone(),
        }
    }

    /// A device of the topology.
    pub fn device_at(&self, topology: &Topology, port: PortId) -> Device {
        let NodeId(node) = topology[port].node;
        self.device(node, &topology[port].device)
    }
}
