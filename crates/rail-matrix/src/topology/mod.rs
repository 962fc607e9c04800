//! A cabling as described by any source.

mod account;
mod join;
mod problem;
mod select;

use std::{collections::HashMap, fmt, net::Ipv4Addr, ops::Index};

use rig::{Cable, End, Rig, RigError};

pub(crate) use account::Join;
pub use account::{Account, EndState, NodeState};
pub(crate) use problem::sentences;
pub use problem::{Problem, RdmaOff, Unfit};
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
    /// Devices of which the reader knows that their cable cannot be told, and why, as an
    /// index into the problems.
    strays: Vec<(PortId, usize)>,
    accepts_one_sided: bool,
    environment: Vec<String>,
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
#[non_exhaustive]
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
    /// Its model, such as `Mac Studio`.
    pub model: Option<String>,
    /// Whether it does RDMA.
    pub rdma: Rdma,
    /// Whether a Thunderbolt bridge holds its interfaces (macOS: `bridge0`).
    pub bridged: Option<bool>,
}

/// Whether a node does RDMA, as far as its description says.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rdma {
    /// The description is of a kind that does not say so, such as a rig or a hostfile.
    #[default]
    Undescribed,
    /// The description says so of other nodes, or could, but not of this one.
    Unknown,
    /// It does.
    On,
    /// It does not.
    Off(RdmaOff),
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
#[non_exhaustive]
pub struct Address {
    /// The kind of network it is on.
    pub network: Network,
    /// Without a port.
    pub ip: String,
}

/// Kinds of networks over which a coordinator can be reached, best first: the order of
/// exo's `find_ip_prioritised` for RDMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
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

/// An IPv4 address of the interface of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct PortAddress {
    /// The address.
    pub ip: Ipv4Addr,
    /// The bits of its subnet, if they are known.
    pub prefix: Option<u8>,
}

impl PortAddress {
    /// The first address of the subnet, if that is known.
    pub(crate) fn network(self) -> Option<(Ipv4Addr, u8)> {
        let prefix = self.prefix?.min(32);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Some((Ipv4Addr::from_bits(self.ip.to_bits() & mask), prefix))
    }

    /// Whether the interfaces of the two addresses reach each other directly. Unknown
    /// subnets count as one.
    fn reaches(self, other: Self) -> bool {
        let holds = |net: Self, address: Self| match net.network() {
            Some(network) => {
                let prefix = net.prefix;
                Self { prefix, ..address }.network() == Some(network)
            }
            None => true,
        };
        self.ip != other.ip && holds(self, other) && holds(other, self)
    }
}

impl fmt::Display for PortAddress {
    /// As `address/prefix`, or the address alone if its subnet is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        self.prefix.map_or(Ok(()), |prefix| write!(f, "/{prefix}"))
    }
}

/// Information about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortInfo {
    /// Its node.
    pub node: NodeId,
    /// The RDMA device's name, such as `rdma_en5`.
    pub device: String,
    /// What the cable in it carries, in each direction: a rig's own figure, the line rate,
    /// or less than that where people measure less.
    pub bytes_per_second: Option<u64>,
    /// The line rate of the cable in it, if it is another.
    pub line_bytes_per_second: Option<u64>,
    /// The IPv4 addresses of its interface, if they are known.
    pub addresses: Option<Vec<PortAddress>>,
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

    /// Sets a node's [label](NodeInfo::label).
    pub fn set_label(&mut self, node: NodeId, label: &str) {
        self.nodes[node.0].label = Some(label.to_owned());
    }

    /// Sets a node's [model](NodeInfo::model).
    pub fn set_model(&mut self, node: NodeId, model: &str) {
        self.nodes[node.0].model = Some(model.to_owned());
    }

    /// Sets the [destination](NodeInfo::ssh) by which `ssh` reaches a node.
    pub fn set_ssh(&mut self, node: NodeId, destination: &str) {
        self.nodes[node.0].ssh = Some(destination.to_owned());
    }

    /// Adds an address at which other nodes reach a node.
    pub fn add_address(&mut self, node: NodeId, network: Network, ip: &str) {
        let ip = ip.to_owned();
        self.nodes[node.0].addresses.push(Address { network, ip });
    }

    /// Adds a statement about a node's RDMA. Of several the strictest counts: a node does
    /// none if any says so.
    pub fn set_rdma(&mut self, node: NodeId, rdma: Rdma) {
        let known = &mut self.nodes[node.0].rdma;
        let before = std::mem::take(known);
        *known = match (&before, &rdma) {
            (Rdma::Off(_), Rdma::Off(_)) => before.min(rdma),
            _ => before.max(rdma),
        };
    }

    /// Sets whether a Thunderbolt bridge [holds](NodeInfo::bridged) a node's interfaces.
    pub fn set_bridged(&mut self, node: NodeId, bridged: bool) {
        self.nodes[node.0].bridged = Some(bridged);
    }

    /// The same with cables that only one of their ends states taken for cables, unless
    /// the other end states another. A Mac behind the upstream port of a display states
    /// none.
    #[must_use]
    pub fn accept_one_sided(mut self, accept: bool) -> Self {
        self.accepts_one_sided = accept;
        self
    }

    /// Adds a variable of the job's environment that the description brings, as
    /// `NAME=VALUE`. Returns whether it is one: a name that a shell accepts, and a value.
    pub fn add_variable(&mut self, variable: &str) -> bool {
        let name = variable.split_once('=').map_or("", |(name, _)| name);
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_one = name.chars().all(word) && name.starts_with(|c: char| !c.is_ascii_digit());
        if is_one {
            self.environment.push(variable.to_owned());
        }
        is_one
    }

    /// The variables of the job's environment that the description brings, as
    /// `NAME=VALUE`.
    pub fn environment(&self) -> &[String] {
        &self.environment
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
            line_bytes_per_second: None,
            addresses: None,
            unfit: None,
        });
        self.devices[node.0].insert(device.to_owned(), id);
        id
    }

    /// The device of this name on a node, if it exists.
    pub fn find_port(&self, node: NodeId, device: &str) -> Option<PortId> {
        self.devices[node.0].get(device).copied()
    }

    /// Sets what the cable in a device carries, in bytes per second. Zero means unknown.
    pub fn set_rate(&mut self, port: PortId, bytes_per_second: u64) {
        let port = &mut self.ports[port.0];
        port.bytes_per_second = Some(bytes_per_second).filter(|rate| *rate > 0);
        port.line_bytes_per_second = None;
    }

    /// Sets the line rate of a Thunderbolt cable, in bytes per second. The cable counts as
    /// carrying at most [`THUNDERBOLT_5`](crate::THUNDERBOLT_5), which is less than the
    /// line rate of Thunderbolt 5.
    pub fn set_thunderbolt(&mut self, port: PortId, line: u64) {
        self.set_rate(port, line.min(crate::THUNDERBOLT_5));
        if line > crate::THUNDERBOLT_5 {
            self.ports[port.0].line_bytes_per_second = Some(line);
        }
    }

    /// Sets the IPv4 addresses of the interface of a device.
    pub fn set_addresses(&mut self, port: PortId, mut addresses: Vec<PortAddress>) {
        addresses.sort_unstable();
        addresses.dedup();
        self.ports[port.0].addresses = Some(addresses);
    }

    /// Adds a reason why a device cannot carry RDMA. Of several the strictest counts.
    pub fn set_unfit(&mut self, port: PortId, why: Unfit) {
        let known = &mut self.ports[port.0].unfit;
        *known = Some(known.map_or(why, |known| known.min(why)));
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

    /// Records the problem that keeps the other ends of some devices' cables unknown.
    pub fn report_at(&mut self, ports: &[PortId], problem: Problem) {
        let problem_at = self.problems.len();
        self.strays
            .extend(ports.iter().map(|port| (*port, problem_at)));
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

    /// A device with the name of its node.
    pub fn end(&self, port: PortId) -> End {
        let PortInfo { node, device, .. } = &self[port];
        End {
            node: self[*node].name.clone(),
            device: device.clone(),
        }
    }

    /// Devices with the names of their nodes.
    pub(crate) fn ends(&self, ports: &[PortId]) -> Vec<End> {
        ports.iter().map(|port| self.end(*port)).collect()
    }

    /// A node's name for people: its label, with its name if others have the same label.
    pub fn title(&self, node: NodeId) -> String {
        let NodeInfo { name, label, .. } = &self[node];
        let Some(label) = label else {
            return name.clone();
        };
        let same = |other: &&NodeInfo| other.label.as_ref() == Some(label);
        match self.nodes.iter().filter(same).count() {
            1 => label.clone(),
            _ => format!("{label} ({name})"),
        }
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
        for Cable {
            name, ends, link, ..
        } in &rig.cables
        {
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
