//! Problems of a description of a cabling.

use std::fmt;

use serde::Serialize;

use crate::plan::listed;

/// A part of a description that is invalid, or that RDMA cannot use. In strict mode it
/// refuses the plan; in lenient mode the part is left out, with a note.
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
        /// The end that is known, as `node:device`, or the node.
        from: String,
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
        /// The end that is known, as `node:device`.
        from: String,
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
        /// The devices, as `node:device`.
        devices: Vec<String>,
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
        /// The devices, as `node:device`.
        devices: Vec<String>,
    },
    /// A cable leads from a node to itself.
    #[error(
        "the cable between {first} and {second} has both ends on one node; a cable joins two nodes"
    )]
    BothEndsOnOneNode {
        /// One end, as `node:device`.
        first: String,
        /// The other.
        second: String,
    },
    /// A direction of a cable is stated twice.
    #[error("that {from} leads to {to} is said twice; one of the two can go")]
    Repeated {
        /// The end that states it, as `node:device`.
        from: String,
        /// The end that it is stated to lead to.
        to: String,
    },
    /// Only one end of a cable states it.
    #[error(
        "{from} is said to lead to {to}, and {to} says nothing of it; the cable was unplugged, or \
         the node of {to} has not reported yet: plug it in again, or ask again"
    )]
    OneSided {
        /// The end that states it, as `node:device`.
        from: String,
        /// The end that does not state it.
        to: String,
    },
    /// A node lists more devices towards another node than that node lists back.
    #[error(
        "{from} is device {place} of those towards node '{node}', which lists {back} back; list as \
         many there, or take out {from} and what follows it"
    )]
    NoOtherEnd {
        /// The first device without another end, as `node:device`.
        from: String,
        /// The other node.
        node: String,
        /// Its position among those towards that node, from 1.
        place: usize,
        /// The number that the other node lists.
        back: usize,
    },
    /// One end states a cable, but another cable is in one of the devices.
    #[error(
        "{from} is said to lead to {to}, but {taken} is the end of {cable}; the first is left \
         from before the cables were moved: ask the node of {from} again"
    )]
    Stale {
        /// The end that states it, as `node:device`.
        from: String,
        /// The end that it is stated to lead to.
        to: String,
        /// The one of the two devices that the other cable is in.
        taken: String,
        /// The other cable.
        cable: String,
    },
    /// Two cables are in one device.
    #[error(
        "{device} is the end of {cables} cables: {list}; a device carries one cable. Check which \
         of them is plugged in, and take the others out of the description",
        cables = cables.len(), list = cables.join(" and ")
    )]
    DeviceOnTwoCables {
        /// The device, as `node:device`.
        device: String,
        /// The cables, by name.
        cables: Vec<String>,
    },
    /// A device cannot carry RDMA.
    #[error("{device} {why}")]
    UnfitDevice {
        /// The device, as `node:device`.
        device: String,
        /// The reason, with the remedy.
        why: Unfit,
    },
    /// A node does not support RDMA.
    #[error(
        "RDMA is switched off on node '{node}'; switch it on (macOS: `rdma_ctl enable` in \
         recovery), or leave the node out"
    )]
    RdmaDisabled {
        /// The node.
        node: String,
    },
    /// The Thunderbolt interfaces of a node are bridged.
    #[error(
        "a Thunderbolt bridge is active on node '{node}', and queue pairs cannot be connected \
         through its interfaces (errno 22); remove bridge0 there"
    )]
    Bridged {
        /// The node.
        node: String,
    },
}

impl Problem {
    /// The nodes that it names, on their own or with a device.
    pub(crate) fn about(&self) -> Vec<&str> {
        // A device name has no colon; a node name may have one.
        let of = |device: &'_ str| device.rfind(':').map_or(device.len(), |colon| colon);
        let on = |device| -> &str { &device[..of(device)] };
        match self {
            Self::EmptyNode { .. } => vec![],
            Self::DuplicateNode { node }
            | Self::EmptyDevice { node }
            | Self::RdmaDisabled { node }
            | Self::Bridged { node } => vec![node],
            Self::NoOtherEnd { from, node, .. } => vec![on(from), node],
            Self::UnknownNode { from, .. } | Self::UnknownPeer { from, .. } => vec![on(from)],
            Self::SharedSubnet { devices, .. } | Self::SharedAddress { devices, .. } => {
                devices.iter().map(|d| on(d)).collect()
            }
            Self::DeviceOnTwoCables { device, .. } | Self::UnfitDevice { device, .. } => {
                vec![on(device)]
            }
            Self::BothEndsOnOneNode { first, second } => vec![on(first), on(second)],
            Self::Repeated { from, to }
            | Self::OneSided { from, to }
            | Self::Stale { from, to, .. } => vec![on(from), on(to)],
        }
    }
}

/// Why a device cannot carry RDMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unfit {
    /// The link is Thunderbolt 4 or older; RDMA needs Thunderbolt 5.
    Thunderbolt4 {
        /// Its speed.
        gigabits_per_second: u32,
    },
    /// The port is down.
    PortDown,
    /// The device is not among the node's RDMA devices.
    NotListed,
    /// The interface has no IPv4 address that another node can reach, so the device has
    /// no GID that jaccl can use.
    NoIpv4,
    /// The device has no network interface, so it has no GID that jaccl accepts.
    NoInterface,
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
            Self::NoIpv4 => write!(
                f,
                "has no IPv4 address that another node reaches, so no GID that jaccl can use; give \
                 its interface one"
            ),
            Self::NoInterface => write!(
                f,
                "has no network interface, so no GID that jaccl can use; bring its interface up, or \
                 leave it out"
            ),
        }
    }
}
