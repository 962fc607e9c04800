//! Joins what each node reports into cables that both ends agree on.
//!
//! Cost: linear in the sightings, except for sorting each device's own and the problems.

use std::{collections::BTreeMap, net::Ipv4Addr, ops::Range};

use rig::natural;

use super::{
    Account, EndState, Join, NodeInfo, NodeState, PortAddress, PortId, PortInfo, Problem, Rdma,
    Topology,
};
use crate::words::joined;

/// The devices that often carry no RDMA although their node has it, by model: the port of
/// a Mac Studio that is beside Ethernet.
const DOUBTFUL_PORTS: [(&str, &str); 1] = [("Mac Studio", "rdma_en2")];

/// The most pairs of addresses of two interfaces that are compared. An interface has one
/// or two.
const COMPARED: usize = 4096;

impl Topology {
    /// Joins the two directions of every cable, and gives the state of every end and node.
    pub fn account(&self) -> Account {
        let said = Said::of(self);
        let places = self.places_by_name();
        let joining = Joining {
            topology: self,
            said: &said,
            places: &places,
        };
        let ports = || (0..self.ports.len()).map(PortId);
        let mut ends: Vec<_> = ports().map(|port| joining.state(port)).collect();
        // What others say of an end counts where the end says nothing itself.
        let mut claims: BTreeMap<PortId, Vec<PortId>> = BTreeMap::new();
        for from in ports() {
            match ends[from.0] {
                EndState::Stated { to, .. } => claims.entry(to).or_default().push(from),
                EndState::Loop { other } if ends[other.0] == EndState::Silent => {
                    ends[other.0] = EndState::Loop { other: from };
                }
                _ => {}
            }
        }
        for (to, by) in claims {
            if ends[to.0] == EndState::Silent {
                ends[to.0] = match by[..] {
                    [from] => EndState::Stated { from, to },
                    _ => EndState::Contested { by },
                };
            }
        }
        for &(port, problem) in &self.strays {
            if ends[port.0] == EndState::Silent {
                let problem = Box::new(self.problems[problem].clone());
                ends[port.0] = EndState::Unknown { problem };
            }
        }
        let nodes: Vec<_> = self.nodes.iter().map(NodeState::of).collect();
        let cables = joining.cables(&mut ends, &nodes);

        let mut problems = self.problems.clone();
        problems.extend(said.repeated.iter().map(|&(from, to)| Problem::Repeated {
            from: self.end(from),
            to: self.end(to),
        }));
        joining.of_ends(&ends, &mut problems);
        joining.of_nodes(&nodes, &mut problems);
        of_addresses(self, &ends, &mut problems);
        // The two ends of a cable give the same problem.
        problems.sort_unstable();
        problems.dedup();
        Account {
            cables,
            ends,
            nodes,
            problems,
        }
    }

    /// By node, its position among the sorted names.
    fn places_by_name(&self) -> Vec<usize> {
        let name = |node: &usize| &*self.nodes[*node].name;
        let mut nodes: Vec<_> = (0..self.nodes.len()).collect();
        nodes.sort_by(|a, b| natural::compare(name(a), name(b)));
        let mut places = vec![0; nodes.len()];
        for (place, node) in nodes.into_iter().enumerate() {
            places[node] = place;
        }
        places
    }
}

impl NodeState {
    fn of(node: &NodeInfo) -> Self {
        match &node.rdma {
            Rdma::Off(why) => Self::Off(why.clone()),
            _ if node.name.is_empty() => Self::Nameless,
            _ => Self::Fit,
        }
    }
}

struct Joining<'a> {
    topology: &'a Topology,
    said: &'a Said,
    places: &'a [usize],
}

impl Joining<'_> {
    /// The state of a device by its own statements. A device that states nothing is silent
    /// here, unless the statement of another is accepted.
    fn state(&self, from: PortId) -> EndState {
        let (topology, said) = (self.topology, self.said);
        let info = &topology[from];
        let to = match *said.by(from) {
            _ if info.device.is_empty() => return EndState::Silent,
            [(_, other, _)] if topology[other].node == info.node => {
                return EndState::Loop { other };
            }
            [(_, to, _)] => Some(to),
            _ => None,
        };
        if let Some(why) = info.unfit {
            return EndState::Unfit { why };
        }
        let Some(to) = to else {
            return match said.by(from) {
                [] => match self.accepted(from) {
                    Some(other) => self.cabled([from, other]),
                    None => EndState::Silent,
                },
                several => EndState::Several {
                    cables: self.names(from),
                    places: several.iter().map(|&(_, to, _)| to).collect(),
                },
            };
        };
        let there = &topology[to];
        if there.device.is_empty() {
            let node = topology[there.node].name.clone();
            let problem = Box::new(Problem::EmptyDevice { node });
            return EndState::Unknown { problem };
        }
        if let Some(why) = there.unfit {
            let device = topology.end(to);
            return unreachable(to, Problem::UnfitDevice { device, why });
        }
        match *said.by(to) {
            [(_, back, _)] if back == from => self.cabled([from, to]),
            _ if said.leads(to, from) => {
                let (device, cables) = (topology.end(to), self.names(to));
                unreachable(to, Problem::DeviceOnTwoCables { device, cables })
            }
            [(_, other, name)] if said.only(other) == Some(to) => EndState::Stale {
                to,
                cable: topology.cable_name(&self.join([to, other], name)),
            },
            [] if self.accepted(to) == Some(from) => self.cabled([from, to]),
            _ => EndState::Stated { from, to },
        }
    }

    /// The device whose statement alone makes a cable, where the caller accepts that.
    fn accepted(&self, silent: PortId) -> Option<PortId> {
        let accepts = self.topology.accepts_one_sided && self.topology[silent].unfit.is_none();
        let stated = self.said.claims[silent.0].filter(|_| accepts)?;
        let from = stated.ok()?;
        let alone = self.said.by(from).len() == 1 && self.said.by(silent).is_empty();
        let apart = self.topology[from].node != self.topology[silent].node;
        let fit = |port: &PortInfo| port.unfit.is_none() && !port.device.is_empty();
        (alone && apart && fit(&self.topology[from])).then_some(from)
    }

    /// The state of the first of two devices that a cable joins.
    fn cabled(&self, [from, to]: [PortId; 2]) -> EndState {
        let cabled = EndState::Cabled {
            cable: usize::MAX,
            other: to,
        };
        let ends = self.in_order([from, to]);
        let addresses = ends.map(|port| self.topology[port].addresses.as_deref());
        let [Some(here), Some(there)] = addresses else {
            return cabled;
        };
        let mut pairs = here
            .iter()
            .flat_map(|&a| there.iter().map(move |&b| (a, b)));
        let many = here.len() * there.len() > COMPARED;
        if many || here.is_empty() || there.is_empty() || pairs.clone().any(|(a, b)| a.reaches(b)) {
            return cabled;
        }
        let equal = pairs.find(|(a, b)| a.ip == b.ip);
        let ends = ends.map(|port| self.topology.end(port));
        let problem = match equal {
            Some((address, _)) => Problem::EqualAddresses {
                address: address.ip.to_string(),
                ends,
            },
            None => Problem::DifferentSubnets {
                ends,
                subnets: [here, there].map(subnets),
            },
        };
        unreachable(to, problem)
    }

    /// Numbers the cables.
    fn cables(&self, ends: &mut [EndState], nodes: &[NodeState]) -> Vec<Join> {
        let mut cables = Vec::with_capacity(self.topology.sightings.len() / 2);
        for from in (0..ends.len()).map(PortId) {
            let EndState::Cabled { other: to, .. } = ends[from.0] else {
                continue;
            };
            if to < from {
                continue;
            }
            for port in [from, to] {
                if let EndState::Cabled { cable, .. } = &mut ends[port.0] {
                    *cable = cables.len();
                }
            }
            let [here, there] = [[from, to], [to, from]]
                .map(|[a, b]| self.said.by(a).iter().find(|said| said.1 == b));
            let name = here.or(there).and_then(|said| said.2);
            let fit = |port: &PortId| nodes[self.topology[*port].node.0] == NodeState::Fit;
            cables.push(Join {
                one_sided: here.is_none() || there.is_none(),
                in_use: [from, to].iter().all(fit),
                ..self.join([from, to], name)
            });
        }
        cables
    }

    fn of_ends(&self, ends: &[EndState], problems: &mut Vec<Problem>) {
        for (port, state) in ends.iter().enumerate() {
            let port = PortId(port);
            let stated = self.said.is_stated(port);
            if matches!(state, EndState::Unfit { .. }) && self.said.by(port).len() > 1 {
                problems.push(Problem::DeviceOnTwoCables {
                    device: self.topology.end(port),
                    cables: self.names(port),
                });
            }
            if stated || !matches!(state, EndState::Unfit { .. }) {
                problems.extend(state.problem(self.topology, port));
            }
        }
    }

    fn of_nodes(&self, nodes: &[NodeState], problems: &mut Vec<Problem>) {
        let topology = self.topology;
        for (node, state) in topology.nodes.iter().zip(nodes) {
            if let NodeState::Off(why) = state {
                problems.push(Problem::RdmaDisabled {
                    node: node.name.clone(),
                    why: why.clone(),
                });
            }
        }
        let unknown = topology.nodes.iter().filter(|n| n.rdma == Rdma::Unknown);
        let nodes: Vec<_> = unknown.map(|node| node.name.clone()).collect();
        if !nodes.is_empty() {
            problems.push(Problem::RdmaUnknown { nodes });
        }
        let of_interest = |node: &NodeInfo| node.bridged == Some(true) || node.model.is_some();
        if topology.nodes.iter().any(of_interest) {
            self.of_bridges(problems);
            self.of_doubtful_ports(problems);
        }
    }

    fn of_bridges(&self, problems: &mut Vec<Problem>) {
        let topology = self.topology;
        for (id, node) in topology.nodes() {
            if node.bridged != Some(true) {
                continue;
            }
            let own = topology
                .ports()
                .filter(|(port, info)| info.node == id && self.said.is_stated(*port));
            let addresses: Vec<_> = own.map(|(_, info)| info.addresses.as_deref()).collect();
            let node = node.name.clone();
            if addresses.is_empty() || addresses.contains(&None) {
                problems.push(Problem::Bridged { node });
            } else if addresses.iter().flatten().any(|own| !own.is_empty()) {
                // Those without one have a problem of their own.
                problems.push(Problem::BridgedBeside { node });
            }
        }
    }

    fn of_doubtful_ports(&self, problems: &mut Vec<Problem>) {
        for (port, info) in self.topology.ports() {
            let Some(model) = &self.topology[info.node].model else {
                continue;
            };
            let known = DOUBTFUL_PORTS.contains(&(&**model, &*info.device));
            if known && self.said.is_stated(port) {
                problems.push(Problem::DoubtfulPort {
                    device: self.topology.end(port),
                    model: model.clone(),
                });
            }
        }
    }

    /// The names of the cables that a device states, in their order.
    fn names(&self, port: PortId) -> Vec<String> {
        let name =
            |&(_, to, name): &(_, _, _)| self.topology.cable_name(&self.join([port, to], name));
        let mut names: Vec<_> = self.said.by(port).iter().map(name).collect();
        names.sort_by(|a, b| natural::compare(a, b));
        names
    }

    fn join(&self, ends: [PortId; 2], name: Option<usize>) -> Join {
        Join {
            ends: self.in_order(ends),
            name,
            one_sided: false,
            in_use: true,
        }
    }

    /// The ends of a cable in the order of their nodes' names; of a loop, in that of the
    /// devices'.
    fn in_order(&self, mut ends: [PortId; 2]) -> [PortId; 2] {
        let topology = self.topology;
        ends.sort_unstable_by(|a, b| {
            let place = |port: &PortId| self.places[topology[*port].node.0];
            let by_node = place(a).cmp(&place(b));
            by_node.then_with(|| natural::compare(&topology[*a].device, &topology[*b].device))
        });
        ends
    }
}

fn unreachable(other: PortId, problem: Problem) -> EndState {
    let problem = Box::new(problem);
    EndState::Unreachable { other, problem }
}

/// The subnets of an interface, as `address/prefix`.
fn subnets(addresses: &[PortAddress]) -> String {
    /// The most subnets of a sentence.
    const SHOWN: usize = 4;
    let networks = addresses.iter().map(|address| match address.network() {
        Some((network, prefix)) => format!("{network}/{prefix}"),
        None => address.ip.to_string(),
    });
    let shown = joined(networks.take(SHOWN), ", ");
    match addresses.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Reports addresses that devices of several cables have.
fn of_addresses(topology: &Topology, ends: &[EndState], problems: &mut Vec<Problem>) {
    let mut holders: BTreeMap<Ipv4Addr, Vec<PortId>> = BTreeMap::new();
    for (port, info) in topology.ports() {
        if matches!(ends[port.0], EndState::Cabled { .. }) {
            for address in info.addresses.iter().flatten() {
                holders.entry(address.ip).or_default().push(port);
            }
        }
    }
    holders.retain(|_, ports| ports.len() > 1);
    problems.extend(
        holders
            .iter()
            .map(|(address, ports)| Problem::RepeatedAddress {
                address: address.to_string(),
                devices: topology.ends(ports),
            }),
    );
}

/// A statement of a device: the device, the other end, the cable's name.
type Statement = (PortId, PortId, Option<usize>);

/// The statements of each device, without repetitions.
struct Said {
    /// Sorted by device, then by the other end.
    entries: Vec<Statement>,
    /// By device, its entries.
    of: Vec<Range<usize>>,
    /// The statements that were repeated.
    repeated: Vec<(PortId, PortId)>,
    /// By device, the device that states it as its other end, or that several do.
    claims: Vec<Option<Result<PortId, Contested>>>,
}

/// Several devices state the same other end.
#[derive(Debug, Clone, Copy)]
struct Contested;

impl Said {
    fn of(topology: &Topology) -> Self {
        let said = topology.sightings.iter().map(|s| (s.from, s.to, s.cable));
        let mut entries: Vec<_> = said.collect();
        entries.sort_unstable();
        let mut repeated = Vec::new();
        let first_name = |a: Option<usize>, b: Option<usize>| {
            let by_name =
                |x: &usize, y: &usize| natural::compare(&topology.cables[*x], &topology.cables[*y]);
            a.into_iter().chain(b).min_by(by_name)
        };
        entries.dedup_by(|next, kept| {
            let again = (next.0, next.1) == (kept.0, kept.1);
            if again {
                repeated.push((next.0, next.1));
                kept.2 = first_name(kept.2, next.2);
            }
            again
        });
        let mut of = Vec::with_capacity(topology.ports.len());
        let mut claims = vec![None; topology.ports.len()];
        let mut start = 0;
        for port in 0..topology.ports.len() {
            let own = entries[start..]
                .iter()
                .take_while(|entry| entry.0.0 == port);
            let end = start + own.count();
            of.push(start..end);
            start = end;
        }
        for &(from, to, _) in &entries {
            claims[to.0] = Some(match claims[to.0] {
                None => Ok(from),
                Some(_) => Err(Contested),
            });
        }
        Self {
            entries,
            of,
            repeated,
            claims,
        }
    }

    fn by(&self, port: PortId) -> &[Statement] {
        &self.entries[self.of[port.0].clone()]
    }

    /// Whether any device states a cable in this one.
    fn is_stated(&self, port: PortId) -> bool {
        !self.by(port).is_empty() || self.claims[port.0].is_some()
    }

    /// Whether a device states that it leads to another.
    fn leads(&self, from: PortId, to: PortId) -> bool {
        self.by(from)
            .binary_search_by_key(&to, |said| said.1)
            .is_ok()
    }

    /// The other end that a device states, if it states only one.
    fn only(&self, port: PortId) -> Option<PortId> {
        match self.by(port) {
            [(_, to, _)] => Some(*to),
            _ => None,
        }
    }
}
