//! Problems of a description of a cabling.

use std::{fmt, mem::discriminant};

use rig::End;
use serde::Serialize;

use crate::words::{joined, listed, plural};

/// A part of a description that is invalid, or that RDMA cannot use. In strict mode it
/// refuses the plan; in lenient mode the part is left out, with a note.
///
/// A [warning](Self::is_warning) refuses nothing and leaves nothing out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// A node has no name.
    #[error("node {position} has an empty name; give every node a name of its own")]
    EmptyNode {
        /// Its position among the nodes, from 1.
        position: usize,
    },
    /// A node is listed twice.
    #[error("node '{node}' is listed twice; list it once, or rename one of the two")]
    DuplicateNode {
        /// Its name.
        node: String,
    },
    /// A device has no name.
    #[error("a cable of node '{node}' is on a device without a name; say which device it is in")]
    EmptyDevice {
        /// The node.
        node: String,
    },
    /// A cable leads to a node that the description does not contain.
    #[error(
        "{from} is said to lead to node '{node}', which is not among the nodes; add that node, or \
         unplug the cable"
    )]
    UnknownNode {
        /// The end that is known.
        from: End,
        /// The missing node.
        node: String,
    },
    /// A cable whose other end is on no node: a display, a disk, a node that did not
    /// report.
    #[error(
        "{from} leads to something that no node here says it is ({peer}); if it is a node, let \
         it report too"
    )]
    UnknownPeer {
        /// The end that is known.
        from: End,
        /// What is known of the other end.
        peer: String,
    },
    /// More than two devices share a subnet. On Linux a subnet identifies a cable.
    #[error(
        "{} devices are in the subnet {subnet}: {}; two alone in a subnet are taken for the ends \
         of a cable, so give every cable a subnet of its own", devices.len(), listed(devices)
    )]
    SharedSubnet {
        /// The subnet, as `address/prefix`.
        subnet: String,
        /// The devices.
        devices: Vec<End>,
    },
    /// Devices share an IPv4 address. On Linux addresses identify a cable.
    #[error(
        "{} all have the address {address}, so they are one device or cannot reach each other; \
         give each node once, and every device an address of its own",
        listed(devices)
    )]
    SharedAddress {
        /// The address.
        address: String,
        /// The devices.
        devices: Vec<End>,
    },
    /// Devices of one node share an interface, such as a bond, and so its address.
    #[error(
        "{} share the interface '{interface}' and its address, and jaccl cannot choose between \
         them; give each an interface of its own, or take all but one out of the bond",
        listed(devices)
    )]
    SharedInterface {
        /// The interface.
        interface: String,
        /// The devices.
        devices: Vec<End>,
    },
    /// The interfaces at the two ends of a cable have one and the same address.
    #[error(
        "both ends of a cable, {} and {}, have the address {address}, so neither reaches the \
         other; give each an address of its own", ends[0], ends[1]
    )]
    EqualAddresses {
        /// The address.
        address: String,
        /// The two ends.
        ends: [End; 2],
    },
    /// The interfaces at the two ends of a cable are in different subnets.
    #[error(
        "the two ends of a cable are in different subnets, {} in {} and {} in {}, so neither \
         reaches the other (errno 60); give both an address in one subnet",
        ends[0], subnets[0], ends[1], subnets[1]
    )]
    DifferentSubnets {
        /// The two ends.
        ends: [End; 2],
        /// The subnets of each, as `address/prefix`, with commas between several.
        subnets: [String; 2],
    },
    /// A cable leads from a node to itself.
    #[error(
        "the cable between {first} and {second} has both ends on one node; a cable joins two nodes"
    )]
    BothEndsOnOneNode {
        /// One end.
        first: End,
        /// The other.
        second: End,
    },
    /// A direction of a cable is stated twice.
    #[error("that {from} leads to {to} is said twice; one of the two can go")]
    Repeated {
        /// The end that states it.
        from: End,
        /// The end that it is stated to lead to.
        to: End,
    },
    /// Only one end of a cable states it.
    #[error(
        "{from} is said to lead to {to}, and {to} says nothing of it; the cable was unplugged, or \
         the node of {to} has not reported yet: plug it in again, or ask again. A Mac behind the \
         upstream port of a display says nothing of a cable that carries: if you know that it is \
         plugged in, accept it (`--accept-one-sided`)"
    )]
    OneSided {
        /// The end that states it.
        from: End,
        /// The end that does not state it.
        to: End,
    },
    /// A node lists more devices towards another node than that node lists back.
    #[error(
        "{from} is device {place} of those towards node '{node}', which lists {back} back; list as \
         many there, or take out {from} and what follows it"
    )]
    NoOtherEnd {
        /// The first device without another end.
        from: End,
        /// The other node.
        node: String,
        /// Its position among those towards that node, from 1.
        place: usize,
        /// The number that the other node lists.
        back: usize,
    },
    /// One end states a cable, but another cable is in one of the devices.
    #[error(
        "{from} is said to lead to {to}, but {to} is the end of {cable}; the first is left from \
         before the cables were moved: ask the node of {from} again"
    )]
    Stale {
        /// The end that states it.
        from: End,
        /// The end that it is stated to lead to, which the other cable is in.
        to: End,
        /// The other cable.
        cable: String,
    },
    /// Two cables are in one device.
    #[error(
        "{device} is the end of {} cables: {}; a device carries one cable. Check which of them is \
         plugged in, and take the others out of the description",
        cables.len(), cables.join(" and ")
    )]
    DeviceOnTwoCables {
        /// The device.
        device: End,
        /// The cables, by name.
        cables: Vec<String>,
    },
    /// A device cannot carry RDMA.
    #[error("{device} {why}")]
    UnfitDevice {
        /// The device.
        device: End,
        /// The reason, with the remedy.
        why: Unfit,
    },
    /// A node does no RDMA.
    #[error("{}", why.of(node))]
    RdmaDisabled {
        /// The node.
        node: String,
        /// What shows it.
        why: RdmaOff,
    },
    /// A Thunderbolt bridge is active on a node, and nothing tells whether its members
    /// have addresses of their own.
    #[error(
        "a Thunderbolt bridge is active on node '{node}', and a member without an IPv4 address of \
         its own has no queue pair that can be connected (errno 22); give every cabled interface \
         one, or remove the bridge there"
    )]
    Bridged {
        /// The node.
        node: String,
    },
    /// A Thunderbolt bridge is active on a node whose cabled interfaces all have an
    /// address of their own.
    #[error(
        "a Thunderbolt bridge is active on node '{node}'; its cabled interfaces have IPv4 \
         addresses of their own, so RDMA works beside it, but macOS may put them under the \
         bridge's address again: remove the bridge there if it does"
    )]
    BridgedBeside {
        /// The node.
        node: String,
    },
    /// Nothing tells whether nodes do RDMA.
    #[error(
        "nothing tells whether RDMA is switched on on {} {}; see what `rdma_ctl status` and \
         `ibv_devices` say there", plural(nodes.len(), "node"), listed(nodes)
    )]
    RdmaUnknown {
        /// The nodes.
        nodes: Vec<String>,
    },
    /// A device that often carries no RDMA although its node has it.
    #[error(
        "{device} is the port beside Ethernet of a {model}, over which RDMA often cannot be used; \
         move its cable to another port"
    )]
    DoubtfulPort {
        /// The device.
        device: End,
        /// The model of its node.
        model: String,
    },
    /// Cabled devices of different cables share an IPv4 address.
    #[error(
        "{} all have the address {address}; a peer may reach the wrong one: give every device an \
         address of its own",
        listed(devices)
    )]
    RepeatedAddress {
        /// The address.
        address: String,
        /// The devices.
        devices: Vec<End>,
    },
}

impl Problem {
    /// Whether it is a warning: a part that may well work, and that a plan keeps even in
    /// strict mode.
    pub const fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::Bridged { .. }
                | Self::BridgedBeside { .. }
                | Self::RdmaUnknown { .. }
                | Self::DoubtfulPort { .. }
                | Self::RepeatedAddress { .. }
        )
    }

    /// The ends that it names.
    pub fn ends(&self) -> Vec<&End> {
        match self {
            Self::EmptyNode { .. }
            | Self::DuplicateNode { .. }
            | Self::EmptyDevice { .. }
            | Self::RdmaDisabled {
                why: RdmaOff::Disabled | RdmaOff::NoDevices,
                ..
            }
            | Self::Bridged { .. }
            | Self::BridgedBeside { .. }
            | Self::RdmaUnknown { .. } => vec![],
            Self::RdmaDisabled {
                why: RdmaOff::NoService { seen_by },
                ..
            } => vec![seen_by],
            Self::NoOtherEnd { from, .. }
            | Self::UnknownNode { from, .. }
            | Self::UnknownPeer { from, .. } => vec![from],
            Self::SharedSubnet { devices, .. }
            | Self::SharedAddress { devices, .. }
            | Self::SharedInterface { devices, .. }
            | Self::RepeatedAddress { devices, .. } => devices.iter().collect(),
            Self::DeviceOnTwoCables { device, .. }
            | Self::UnfitDevice { device, .. }
            | Self::DoubtfulPort { device, .. } => vec![device],
            Self::EqualAddresses { ends, .. } | Self::DifferentSubnets { ends, .. } => {
                ends.iter().collect()
            }
            Self::BothEndsOnOneNode { first, second } => vec![first, second],
            Self::Repeated { from, to }
            | Self::OneSided { from, to }
            | Self::Stale { from, to, .. } => {
                vec![from, to]
            }
        }
    }

    /// Its sentence in two: what is wrong, and what to do.
    pub fn parts(&self) -> (String, String) {
        let sentence = self.to_string();
        let (what, remedy) = sentence.split_once("; ").unwrap_or((&sentence, ""));
        (what.to_owned(), remedy.to_owned())
    }

    /// Whether another problem has the same cause and remedy, at another place.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::UnfitDevice { why: a, .. }, Self::UnfitDevice { why: b, .. }) => a == b,
            (Self::RdmaDisabled { why: a, .. }, Self::RdmaDisabled { why: b, .. }) => {
                discriminant(a) == discriminant(b)
            }
            _ => discriminant(self) == discriminant(other),
        }
    }

    /// Whether a plan leaves something out for it.
    pub(crate) const fn leaves_out(&self) -> bool {
        let kept = matches!(self, Self::Repeated { .. } | Self::DuplicateNode { .. });
        !kept && !self.is_warning()
    }

    /// The end, or else the node, that it is about in the first place.
    pub(crate) fn subject(&self) -> String {
        match (self.ends().first(), self.nodes().first()) {
            _ if matches!(self, Self::RdmaDisabled { .. }) => self.nodes()[0].to_owned(),
            (Some(end), _) => end.to_string(),
            (None, Some(node)) => (*node).to_owned(),
            (None, None) => self.to_string(),
        }
    }

    /// The nodes that it is about.
    pub fn nodes(&self) -> Vec<&str> {
        let of_ends = self.ends().into_iter().map(|end| &*end.node);
        match self {
            Self::DuplicateNode { node }
            | Self::EmptyDevice { node }
            | Self::RdmaDisabled { node, .. }
            | Self::Bridged { node }
            | Self::BridgedBeside { node } => vec![node],
            Self::RdmaUnknown { nodes } => nodes.iter().map(|node| &**node).collect(),
            Self::NoOtherEnd { node, .. } => of_ends.chain([&**node]).collect(),
            _ => of_ends.collect(),
        }
    }
}

/// What shows that a node does no RDMA.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RdmaOff {
    /// It is switched off (macOS: `rdma_ctl`).
    Disabled,
    /// The node lists no RDMA device.
    NoDevices,
    /// A peer does not see the node's RDMA service (protocol 64087) over the cable
    /// between them.
    NoService {
        /// The peer's end of the cable.
        seen_by: End,
    },
}

impl RdmaOff {
    fn of(&self, node: &str) -> String {
        const ENABLE: &str = "switch it on (macOS: `rdma_ctl enable` in recovery)";
        match self {
            Self::Disabled => {
                format!("RDMA is switched off on node '{node}'; {ENABLE}, or leave the node out")
            }
            Self::NoDevices => format!(
                "node '{node}' has no RDMA device, whatever else says that RDMA is on \
                 (`ibv_devices` lists none); RDMA needs Thunderbolt 5 and macOS 26.2: check both, \
                 {ENABLE}, or leave the node out"
            ),
            Self::NoService { seen_by } => format!(
                "RDMA is switched off on node '{node}': {seen_by} does not see its RDMA service \
                 (protocol 64087); {ENABLE}, or ask the node of {seen_by} again"
            ),
        }
    }
}

/// Why a device cannot carry RDMA, the strictest reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unfit {
    /// The device is not among the node's RDMA devices.
    NotListed,
    /// The link is Thunderbolt 4 or older; RDMA needs Thunderbolt 5.
    Thunderbolt4 {
        /// Its speed.
        gigabits_per_second: u32,
    },
    /// The port is down.
    PortDown,
    /// The device has no network interface, so it has no GID that jaccl accepts.
    NoInterface,
    /// The interface has no IPv4 address that another node can reach, so the device has
    /// no GID that jaccl can use.
    NoIpv4 {
        /// Whether a bridge holds the interface, which is then the one with the address.
        bridged: bool,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thunderbolt4 {
                gigabits_per_second,
            } => write!(
                f,
                "runs at {gigabits_per_second} Gb/s, and RDMA needs Thunderbolt 5 (80 Gb/s) on \
                 both ends; check the cable and the ports, or leave it out"
            ),
            Self::PortDown => write!(
                f,
                "has its port down; check that both ends are plugged in and both nodes are awake"
            ),
            Self::NotListed => write!(
                f,
                "is not among its node's RDMA devices; check that RDMA is switched on there and \
                 that the port has it"
            ),
            Self::NoIpv4 { bridged: false } => write!(
                f,
                "has no IPv4 address that another node reaches, so no GID that jaccl can use \
                 (errno 22); give its interface one"
            ),
            Self::NoIpv4 { bridged: true } => write!(
                f,
                "has no IPv4 address of its own, so no GID that jaccl can use (errno 22): a bridge \
                 holds its interface; take it out of the bridge and give it one"
            ),
            Self::NoInterface => write!(
                f,
                "has no network interface, so no GID that jaccl can use; bring its interface up, or \
                 leave it out"
            ),
        }
    }
}

/// Problems as sentences, one a line.
pub(crate) fn sentences(problems: &[Problem]) -> String {
    joined(problems.iter().map(Problem::to_string), "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_problem() -> Vec<Problem> {
        let end = |device: &str| End {
            node: "a".to_owned(),
            device: device.to_owned(),
        };
        let (here, there) = (|| end("rdma_en5"), || end("rdma_en6"));
        let both = || vec![here(), there()];
        let name = || "a".to_owned();
        let unfit = [
            Unfit::NotListed,
            Unfit::Thunderbolt4 {
                gigabits_per_second: 40,
            },
            Unfit::PortDown,
            Unfit::NoInterface,
            Unfit::NoIpv4 { bridged: false },
            Unfit::NoIpv4 { bridged: true },
        ];
        let off = [
            RdmaOff::Disabled,
            RdmaOff::NoDevices,
            RdmaOff::NoService { seen_by: here() },
        ];
        let unfit = unfit.map(|why| Problem::UnfitDevice {
            device: here(),
            why,
        });
        let off = off.map(|why| Problem::RdmaDisabled { node: name(), why });
        let others = vec![
            Problem::EmptyNode { position: 1 },
            Problem::DuplicateNode { node: name() },
            Problem::EmptyDevice { node: name() },
            Problem::UnknownNode {
                from: here(),
                node: name(),
            },
            Problem::UnknownPeer {
                from: here(),
                peer: name(),
            },
            Problem::SharedSubnet {
                subnet: name(),
                devices: both(),
            },
            Problem::SharedAddress {
                address: name(),
                devices: both(),
            },
            Problem::SharedInterface {
                interface: name(),
                devices: both(),
            },
            Problem::EqualAddresses {
                address: name(),
                ends: [here(), there()],
            },
            Problem::DifferentSubnets {
                ends: [here(), there()],
                subnets: [name(), name()],
            },
            Problem::BothEndsOnOneNode {
                first: here(),
                second: there(),
            },
            Problem::Repeated {
                from: here(),
                to: there(),
            },
            Problem::OneSided {
                from: here(),
                to: there(),
            },
            Problem::NoOtherEnd {
                from: here(),
                node: name(),
                place: 1,
                back: 0,
            },
            Problem::Stale {
                from: here(),
                to: there(),
                cable: name(),
            },
            Problem::DeviceOnTwoCables {
                device: here(),
                cables: vec![name(), name()],
            },
            Problem::Bridged { node: name() },
            Problem::BridgedBeside { node: name() },
            Problem::RdmaUnknown {
                nodes: vec![name()],
            },
            Problem::DoubtfulPort {
                device: here(),
                model: name(),
            },
            Problem::RepeatedAddress {
                address: name(),
                devices: both(),
            },
        ];
        unfit.into_iter().chain(off).chain(others).collect()
    }

    #[test]
    fn every_problem_says_what_is_wrong_and_what_to_do() {
        for problem in every_problem() {
            let (what, remedy) = problem.parts();
            assert!(!what.is_empty() && !remedy.is_empty(), "{problem}");
        }
    }
}
