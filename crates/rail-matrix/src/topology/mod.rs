//! A cabling as described by any source.

mod join;
mod problem;
mod select;

use std::{collections::HashMap, net::Ipv4Addr, ops::Index};

use rig::{Cable, Rig, RigError};

pub(crate) use join::{Join, Joined};
pub use problem::{Problem, Unfit};
pub use select::SelectError;

/// Nodes, their RDMA devices, and the reported connections between devices.
///
/// Every description of a cabling (a rig, exo's state, reports of the nodes) is first
/// converted to one of these. It keeps every statement, even an invalid one:
/// [`plan`](crate::plan()) joins the two directions into cables and judges
/// contradictions.
///
/// ```
/// use rail_matrix::Topology;
///
/// let mut topology = Topology::new();
/// let (a, b) = (topology.add_node("A"), topology.add_node("B"));
/// let (here, there) = (topology.port(a, "rdma_en6"), topology.port(b, "rdma_en7"));
/// topology.sight(here, there); // what A says
/// topology.sight(there, here); // and what B says: together they are a cable
/// ```
#[derive(Debug, Clone, Default)]
pub struct Topology {
    nodes: Vec<NodeInfo>,
    ports: Vec<PortInfo>,
    sightings: Vec<Sighting>,
    cables: Vec<String>,
    problems: Vec<Problem>,
    ids: HashMap<String, NodeId>,
    devices: Vec<HashMap<String, PortId>>,
}

/// A node of a [`Topology`].
///
/// It is valid only in the topology that returned it. In another one it names another
/// node, or its use panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

/// An RDMA device of a node of a [`Topology`].
///
/// It is valid only in the topology that returned it. In another one it names another
/// port, or its use panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub(crate) usize);

/// Information about a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Unique in the topology: a rig's name, exo's node id, a host name.
    pub name: String,
    /// Its name for people, if that is not the name.
    pub label: Option<String>,
    /// The destination by which `ssh` reaches it.
    pub ssh: Option<String>,
    /// The addresses at which other nodes reach it over IP. The coordinator listens on
    /// rank 0's.
    pub addresses: Vec<Address>,
    /// Whether RDMA is switched on (macOS: `rdma_ctl`).
    pub rdma_enabled: Option<bool>,
    /// Whether a Thunderbolt bridge holds its interfaces (macOS: `bridge0`).
    pub bridged: Option<bool>,
}

impl NodeInfo {
    /// Its IPv4 addresses that other nodes may reach, those on the best network first.
    pub(crate) fn reachable_ipv4(&self) -> Vec<Ipv4Addr> {
        let reachable = |address: &Address| {
            let ip: Ipv4Addr = address.ip.parse().ok()?;
            (!ip.is_loopback() && !ip.is_unspecified()).then_some((address.network, ip))
        };
        let mut reachable: Vec<_> = self.addresses.iter().filter_map(reachable).collect();
        reachable.sort_unstable();
        reachable.dedup();
        reachable.into_iter().map(|(_, ip)| ip).collect()
    }
}

/// An IP address of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The kind of network it is on.
    pub network: Network,
    /// Without a port.
    pub ip: String,
}

/// Kinds of networks over which a coordinator can be reached, best first: the order of
/// exo's `find_ip_prioritised` for RDMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Network {
    /// Wired, and not one of the cables.
    Ethernet,
    /// Wireless.
    Wifi,
    /// Unknown.
    #[default]
    Unknown,
    /// Labelled Ethernet, but possibly a Thunderbolt interface.
    MaybeEthernet,
    /// IP over the cables themselves.
    Thunderbolt,
}

/// Information about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInfo {
    /// Its node.
    pub node: NodeId,
    /// The RDMA device's name, such as `rdma_en5`.
    pub device: String,
    /// Line rate of the cable in it, in each direction.
    pub bytes_per_second: Option<u64>,
    /// Why it cannot carry RDMA, if it cannot.
    pub unfit: Option<Unfit>,
}

/// A device's statement that its cable ends in another device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    pub from: PortId,
    pub to: PortId,
    /// Index into the names of cables.
    pub cable: Option<usize>,
}

impl Topology {
    /// A topology without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node. Its position among the nodes is its rank if ranks are pinned. A name
    /// that exists already is a [`Problem`] and returns that node.
    pub fn add_node(&mut self, name: &str) -> NodeId {
        if let Some(&id) = self.ids.get(name) {
            self.report(Problem::DuplicateNode {
                node: name.to_owned(),
            });
            return id;
        }
        let id = NodeId(self.nodes.len());
        if name.is_empty() {
            self.report(Problem::EmptyNode { position: id.0 + 1 });
        }
        self.nodes.push(NodeInfo {
            name: name.to_owned(),
            ..NodeInfo::default()
        });
        self.devices.push(HashMap::new());
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<NodeId> {
        self.ids.get(name).copied()
    }

    /// The information about a node, to be extended. Its name cannot be changed.
    pub fn node_mut(&mut self, id: NodeId) -> NodeFacts<'_> {
        let NodeInfo {
            label,
            ssh,
            addresses,
            rdma_enabled,
            bridged,
            ..
        } = &mut self.nodes[id.0];
        NodeFacts {
            label,
            ssh,
            addresses,
            rdma_enabled,
            bridged,
        }
    }

    /// The device of this name on a node. It is added if it does not exist.
    pub fn port(&mut self, node: NodeId, device: &str) -> PortId {
        if let Some(&id) = self.devices[node.0].get(device) {
            return id;
        }
        let id = PortId(self.ports.len());
        if device.is_empty() {
            self.report(Problem::EmptyDevice {
                node: self.nodes[node.0].name.clone(),
            });
        }
        self.ports.push(PortInfo {
            node,
            device: device.to_owned(),
            bytes_per_second: None,
            unfit: None,
        });
        self.devices[node.0].insert(device.to_owned(), id);
        id
    }

    /// The device of this name on a node, if it exists.
    pub fn find_port(&self, node: NodeId, device: &str) -> Option<PortId> {
        self.devices[node.0].get(device).copied()
    }

    /// Sets the line rate of a device, in bytes per second. Zero means unknown.
    pub fn set_rate(&mut self, port: PortId, bytes_per_second: u64) {
        self.ports[port.0].bytes_per_second = Some(bytes_per_second).filter(|rate| *rate > 0);
    }

    /// Sets the reason why a device cannot carry RDMA.
    pub fn set_unfit(&mut self, port: PortId, why: Unfit) {
        self.ports[port.0].unfit = Some(why);
    }

    /// Adds the statement of `from`'s node that the cable in `from` ends in `to`. It
    /// becomes a cable only when `to`'s node states the same of `from`.
    pub fn sight(&mut self, from: PortId, to: PortId) {
        self.sightings.push(Sighting {
            from,
            to,
            cable: None,
        });
    }

    /// Adds a cable whose both ends are known. The names of cables determine the order of
    /// the rails of a pair.
    pub fn add_cable(&mut self, name: &str, ends: [PortId; 2]) {
        let cable = Some(self.cables.len());
        self.cables.push(name.to_owned());
        let [a, b] = ends;
        self.sightings.push(Sighting {
            from: a,
            to: b,
            cable,
        });
        self.sightings.push(Sighting {
            from: b,
            to: a,
            cable,
        });
    }

    /// Records a problem of the description.
    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The nodes, in the order in which they were added.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (NodeId, &NodeInfo)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(i, node)| (NodeId(i), node))
    }

    /// The devices, in the order in which they were first named.
    pub fn ports(&self) -> impl ExactSizeIterator<Item = (PortId, &PortInfo)> {
        self.ports
            .iter()
            .enumerate()
            .map(|(i, port)| (PortId(i), port))
    }

    /// The problems found while the description was read.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The devices that a device is stated to lead to, in the order of the statements.
    pub fn sightings(&self) -> impl ExactSizeIterator<Item = (PortId, PortId)> {
        self.sightings
            .iter()
            .map(|sighting| (sighting.from, sighting.to))
    }

    /// A device as people write it: `node:device`.
    pub(crate) fn written(&self, port: PortId) -> String {
        let PortInfo { node, device, .. } = &self[port];
        format!("{}:{device}", self[*node].name)
    }

    /// The topology of a rig: the ends of its cables are known, and its order of nodes is
    /// that of the ranks.
    ///
    /// # Errors
    /// If the rig fails [`Rig::check`].
    pub fn from_rig(rig: &Rig) -> Result<Self, RigError> {
        rig.check()?;
        let mut topology = Self::new();
        for node in &rig.nodes {
            topology.add_node(&node.name);
        }
        for Cable { name, ends, link } in &rig.cables {
            let ends = ends.each_ref().map(|end| {
                let node = topology.ids[&end.node];
                let port = topology.port(node, &end.device);
                topology.set_rate(port, link.bytes_per_second);
                port
            });
            topology.add_cable(name, ends);
        }
        Ok(topology)
    }
}

/// Information about a node, without its name.
#[derive(Debug)]
pub struct NodeFacts<'a> {
    /// As [`NodeInfo::label`].
    pub label: &'a mut Option<String>,
    /// As [`NodeInfo::ssh`].
    pub ssh: &'a mut Option<String>,
    /// As [`NodeInfo::addresses`].
    pub addresses: &'a mut Vec<Address>,
    /// As [`NodeInfo::rdma_enabled`].
    pub rdma_enabled: &'a mut Option<bool>,
    /// As [`NodeInfo::bridged`].
    pub bridged: &'a mut Option<bool>,
}

impl Index<NodeId> for Topology {
    type Output = NodeInfo;

    fn index(&self, id: NodeId) -> &NodeInfo {
        &self.nodes[id.0]
    }
}

impl Index<PortId> for Topology {
    type Output = PortInfo;

    fn index(&self, id: PortId) -> &PortInfo {
        &self.ports[id.0]
    }
}
