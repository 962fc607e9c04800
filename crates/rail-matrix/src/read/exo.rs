//! exo's `/state` and `/state/topology`.
//!
//! exo keeps one edge for each direction: what a node states about its own devices. The
//! two directions of a cable are reported at different times, so one of them can be
//! missing or out of date.

mod document;

use std::collections::{BTreeSet, HashMap};

use super::{
    ReadError,
    detect::{Keys, Shape, shape},
    few_enough,
    json::{self, Object},
    speed,
};
use crate::{Address, Network, NodeId, Problem, Topology};
use document::{Connections, Edge, Snapshot, State};

pub(super) fn read(bytes: &[u8]) -> Result<Topology, ReadError> {
    let whole = matches!(shape(bytes)?, Shape::Object(Keys { topology: true, .. }));
    let Object(state) = if whole {
        json::parse(bytes)?
    } else {
        Object(State::of(json::parse(bytes)?))
    };
    topology(&state)
}

fn topology(state: &State) -> Result<Topology, ReadError> {
    let Snapshot { nodes, connections } = &*state.topology;
    few_enough(nodes.len())?;
    let mut topology = Topology::new();
    for node in nodes {
        topology.add_node(node);
    }
    let mut reached = Reached::default();
    each_edge(connections, |source, sink, edge| {
        match edge {
            Edge::Ip(ip) => {
                if let (Some(sink), Some(ip)) = (topology.node(sink), ip) {
                    reached.entry(sink).or_default().insert(ip.clone());
                }
            }
            Edge::Rdma {
                source: from,
                sink: to,
            } => sight(&mut topology, (source, from), (sink, to)),
            Edge::Other => {}
        };
    });
    facts(state, &mut topology);
    addresses(state, &mut topology, &reached);
    Ok(topology)
}

/// By node, the addresses at which other nodes reached it.
type Reached = HashMap<NodeId, BTreeSet<String>>;

fn each_edge(connections: &Connections, mut edge: impl FnMut(&str, &str, &Edge)) {
    match connections {
        Connections::Maps(sources) => {
            for (source, sinks) in &sources.0 {
                for (sink, edges) in &sinks.0 {
                    edges.iter().for_each(|e| edge(source, sink, e));
                }
            }
        }
        Connections::Triples(triples) => {
            for (source, sink, e) in triples {
                edge(source, sink, e);
            }
        }
    }
}

/// Adds the source's statement about one of its own devices.
fn sight(topology: &mut Topology, (source, from): (&str, &str), (sink, to): (&str, &str)) {
    let unknown = |from: String, node: &str| Problem::UnknownNode {
        from,
        node: node.to_owned(),
    };
    match (topology.node(source), topology.node(sink)) {
        (Some(source), Some(sink)) => {
            let (from, to) = (topology.port(source, from), topology.port(sink, to));
            topology.sight(from, to);
        }
        (None, _) => topology.report(unknown(format!("{sink}:{to}"), source)),
        (Some(_), None) => topology.report(unknown(format!("{source}:{from}"), sink)),
    }
}

fn facts(state: &State, topology: &mut Topology) {
    for (id, identity) in &state.node_identities.0 {
        let Some(node) = topology.node(id) else {
            continue;
        };
        let name = identity.friendly_name.as_deref();
        *topology.node_mut(node).label = name.map(str::to_owned);
    }
    for (id, ctl) in &state.node_rdma_ctl.0 {
        if let Some(node) = topology.node(id) {
            *topology.node_mut(node).rdma_enabled = ctl.enabled;
        }
    }
    for (id, bridge) in &state.node_thunderbolt_bridge.0 {
        if let Some(node) = topology.node(id) {
            *topology.node_mut(node).bridged = bridge.enabled;
        }
    }
    for (id, thunderbolt) in &state.node_thunderbolt.0 {
        let Some(node) = topology.node(id) else {
            continue;
        };
        for interface in &thunderbolt.interfaces {
            let port = topology.port(node, &interface.rdma_interface);
            if let Some(written) = &interface.link_speed {
                speed::set(topology, port, written);
            }
        }
    }
}

/// A node's addresses are those at which other nodes reached it, as in exo's
/// `find_ip_prioritised`, which takes their kind from the node's statement about its own
/// interfaces. If no node reported any, they are all the addresses that the node has.
fn addresses(state: &State, topology: &mut Topology, reached: &Reached) {
    let mut networks = HashMap::new();
    for (id, network) in &state.node_network.0 {
        let Some(node) = topology.node(id) else {
            continue;
        };
        for interface in &network.interfaces {
            let kind = network_of(interface.interface_type.as_deref());
            networks.insert((node, &*interface.ip_address), kind);
            if !reached.contains_key(&node) {
                let ip = interface.ip_address.to_string();
                let address = Address { network: kind, ip };
                topology.node_mut(node).addresses.push(address);
            }
        }
    }
    for (node, ips) in reached {
        let addresses = ips.iter().map(|ip| Address {
            network: networks.get(&(*node, ip)).copied().unwrap_or_default(),
            ip: ip.clone(),
        });
        topology.node_mut(*node).addresses.extend(addresses);
    }
}

/// exo's names for kinds of networks.
fn network_of(name: Option<&str>) -> Network {
    match name {
        Some("ethernet") => Network::Ethernet,
        Some("wifi") => Network::Wifi,
        Some("maybe_ethernet") => Network::MaybeEthernet,
        Some("thunderbolt") => Network::Thunderbolt,
        _ => Network::Unknown,
    }
}
