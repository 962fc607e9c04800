//! What is known of every end and every node once the two directions of cables are
//! joined.

use std::cmp::Ordering;

use rig::natural;

use super::{NodeId, PortId, Problem, RdmaOff, Topology, Unfit};

/// One account of a [`Topology`]: its cables, and the state of every end and node.
///
/// Plans, checks and lists of problems all read it.
#[derive(Debug, Clone)]
pub struct Account {
    pub(crate) cables: Vec<Join>,
    /// By device.
    pub(super) ends: Vec<EndState>,
    /// By node.
    pub(super) nodes: Vec<NodeState>,
    /// Sorted, so that they do not depend on the order of the input.
    pub(super) problems: Vec<Problem>,
}

/// A cable that both of its ends agree on, or that one states and the caller accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Join {
    /// In the order of their nodes' names, so that it does not depend on the order in
    /// which they were listed.
    pub ends: [PortId; 2],
    /// Index into the topology's names of cables.
    pub name: Option<usize>,
    /// Whether one end alone states it.
    pub one_sided: bool,
    /// Whether both its nodes can have a rank.
    pub in_use: bool,
}

/// What is known of a device's cable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndState {
    /// A cable is in it that leads to another device.
    Cabled {
        /// The cable's number.
        cable: usize,
        /// The device at its other end.
        other: PortId,
    },
    /// One of the two devices alone states that a cable joins them.
    Stated {
        /// The device that states it.
        from: PortId,
        /// The other.
        to: PortId,
    },
    /// It states nothing, and several devices state a cable to it.
    Contested {
        /// The devices that state one.
        by: Vec<PortId>,
    },
    /// It states a cable to a device in which another cable is.
    Stale {
        /// The device that it states.
        to: PortId,
        /// The name of the other cable.
        cable: String,
    },
    /// It states cables to several devices.
    Several {
        /// The names of the cables.
        cables: Vec<String>,
        /// The devices.
        places: Vec<PortId>,
    },
    /// It states a cable to a device of its own node.
    Loop {
        /// That device.
        other: PortId,
    },
    /// It states a cable to another device, and the two do not reach each other.
    Unreachable {
        /// The other device.
        other: PortId,
        /// Why not.
        problem: Box<Problem>,
    },
    /// It cannot carry RDMA.
    Unfit {
        /// Why not.
        why: Unfit,
    },
    /// A cable is said to be in it, and the other end of that is unknown.
    Unknown {
        /// Why it is unknown.
        problem: Box<Problem>,
    },
    /// Nothing is said of a cable in it.
    Silent,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// It can have a rank.
    Fit,
    /// It has no name.
    Nameless,
    /// It does no RDMA.
    Off(RdmaOff),
}

impl Account {
    /// The state of a device.
    ///
    /// # Panics
    /// If the device is of another topology.
    pub fn end(&self, port: PortId) -> &EndState {
        &self.ends[port.0]
    }

    /// The state of a node.
    ///
    /// # Panics
    /// If the node is of another topology.
    pub fn node(&self, node: NodeId) -> &NodeState {
        &self.nodes[node.0]
    }

    /// The two devices of every cable.
    pub fn cables(&self) -> impl ExactSizeIterator<Item = [PortId; 2]> {
        self.cables.iter().map(|join| join.ends)
    }

    /// The cables whose two nodes can have a rank.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = &Join> + Clone {
        self.cables.iter().filter(|join| join.in_use)
    }

    /// Everything that is invalid in the description, including what shows only when its
    /// directions are joined. A plan leaves these parts out, except for
    /// [warnings](Problem::is_warning), and they are often the reason why there is none.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The device at the other end of a cable.
    pub(crate) fn other(&self, port: PortId) -> Option<PortId> {
        match self.end(port) {
            EndState::Cabled { other, .. } => Some(*other),
            _ => None,
        }
    }
}

impl EndState {
    /// The state's name, for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cabled { .. } => "cabled",
            Self::Stated { .. } => "stated-by-one-end",
            Self::Contested { .. } => "contested",
            Self::Stale { .. } => "stale",
            Self::Several { .. } => "several",
            Self::Loop { .. } => "loop",
            Self::Unreachable { .. } => "unreachable",
            Self::Unfit { .. } => "unfit",
            Self::Unknown { .. } => "unknown",
            Self::Silent => "silent",
        }
    }

    /// The problem that keeps a cable from being in the device, if there is one. Of a
    /// problem that both ends of a cable have, each gives the same.
    pub fn problem(&self, topology: &Topology, port: PortId) -> Option<Problem> {
        let end = |port| topology.end(port);
        Some(match self {
            Self::Cabled { .. } | Self::Silent => return None,
            Self::Stated { from, to } => Problem::OneSided {
                from: end(*from),
                to: end(*to),
            },
            Self::Contested { by } => Problem::OneSided {
                from: end(*by.first()?),
                to: end(port),
            },
            Self::Stale { to, cable } => Problem::Stale {
                from: end(port),
                to: end(*to),
                cable: cable.clone(),
            },
            Self::Several { cables, .. } => Problem::DeviceOnTwoCables {
                device: end(port),
                cables: cables.clone(),
            },
            Self::Loop { other } => {
                let mut ends = [end(port), end(*other)];
                ends.sort_by(|a, b| natural::compare(&a.device, &b.device));
                let [first, second] = ends;
                Problem::BothEndsOnOneNode { first, second }
            }
            Self::Unreachable { problem, .. } | Self::Unknown { problem } => {
                return Some(Problem::clone(problem));
            }
            Self::Unfit { why } => Problem::UnfitDevice {
                device: end(port),
                why: *why,
            },
        })
    }
}

impl Topology {
    /// The given name of a cable, or its two ends.
    pub(crate) fn cable_name(&self, join: &Join) -> String {
        if let Some(name) = join.name {
            return self.cables[name].clone();
        }
        let [a, b] = join
            .ends
            .map(|port| (&self[self[port].node].name, &self[port].device));
        let mut name = String::with_capacity(a.0.len() + a.1.len() + b.0.len() + b.1.len() + 5);
        for part in [a.0, ":", a.1, " = ", b.0, ":", b.1] {
            name.push_str(part);
        }
        name
    }

    /// Bytes per second of the slower of a cable's two devices, as far as known.
    pub(crate) fn rate(&self, join: &Join) -> Option<u64> {
        let rates = join.ends.map(|end| self[end].bytes_per_second);
        rates.into_iter().flatten().min()
    }

    /// The order of the rails of a pair: cables with names first, by name with digits
    /// compared by value; then by device, on the node with the smaller name.
    pub(crate) fn compare_cables(&self, x: &Join, y: &Join) -> Ordering {
        let by_name = match (x.name, y.name) {
            (Some(x), Some(y)) => natural::compare(&self.cables[x], &self.cables[y]),
            (x, y) => y.is_some().cmp(&x.is_some()),
        };
        by_name.then_with(|| {
            let devices = x.ends.iter().zip(&y.ends);
            devices.fold(Ordering::Equal, |order, (x, y)| {
                order.then_with(|| natural::compare(&self[*x].device, &self[*y].device))
            })
        })
    }
}
