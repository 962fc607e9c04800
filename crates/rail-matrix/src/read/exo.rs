//! exo's `/state` and `/state/topology`.
//!
//! exo keeps one edge for each direction: what a node states about its own devices. The
//! two directions of a cable are reported at different times, so one of them can be
//! missing or out of date.

mod document;

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use rig::End;

use super::{
    ReadError,
    detect::{Keys, Shape, shape},
    few_enough,
    json::{self, Object},
    speed,
};
use crate::{Network, NodeId, PortAddress, Problem, Rdma, RdmaOff, Topology, Unfit};
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
    let told = topology
        .nodes()
        .any(|(_, node)| node.rdma != Rdma::Undescribed);
    let nodes: Vec<_> = topology.nodes().map(|(id, _)| id).collect();
    for node in nodes.into_iter().filter(|_| told) {
        topology.set_rdma(node, Rdma::Unknown);
    }
    addresses(state, &mut topology, &reached);
    port_addresses(state, &mut topology);
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
    let unknown = |(node, device): (&str, &str), missing: &str| Problem::UnknownNode {
        from: End {
            node: node.to_owned(),
            device: device.to_owned(),
        },
        node: missing.to_owned(),
    };
    match (topology.node(source), topology.node(sink)) {
        (Some(source), Some(sink)) => {
            let (from, to) = (topology.port(source, from), topology.port(sink, to));
            topology.sight(from, to);
        }
        (None, Some(node)) => {
            let port = topology.port(node, to);
            topology.report_at(&[port], unknown((sink, to), source));
        }
        (None, None) => topology.report(unknown((source, from), sink)),
        (Some(node), None) => {
            let port = topology.port(node, from);
            topology.report_at(&[port], unknown((source, from), sink));
        }
    }
}

fn facts(state: &State, topology: &mut Topology) {
    for (id, identity) in &state.node_identities.0 {
        let Some(node) = topology.node(id) else {
            continue;
        };
        if let Some(name) = &identity.friendly_name {
            topology.set_label(node, name);
        }
        if let Some(model) = &identity.model_id {
            topology.set_model(node, model);
        }
    }
    for (id, ctl) in &state.node_rdma_ctl.0 {
        if let (Some(node), Some(enabled)) = (topology.node(id), ctl.enabled) {
            topology.set_rdma(
                node,
                match enabled {
                    true => Rdma::On,
                    false => Rdma::Off(RdmaOff::Disabled),
                },
            );
        }
    }
    for (id, bridge) in &state.node_thunderbolt_bridge.0 {
        if let (Some(node), Some(enabled)) = (topology.node(id), bridge.enabled) {
            topology.set_bridged(node, enabled);
        }
    }
    for (id, thunderbolt) in &state.node_thunderbolt.0 {
        let Some(node) = topology.node(id) else {
            continue;
        };
        // Only a Mac has these, and exo asks every Mac.
        topology.set_rdma(node, Rdma::Unknown);
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
                topology.add_address(node, kind, &interface.ip_address);
            }
        }
    }
    for (node, ips) in reached {
        for ip in ips {
            let network = networks.get(&(*node, ip)).copied().unwrap_or_default();
            topology.add_address(*node, network, ip);
        }
    }
}

/// The addresses of the interfaces of devices. exo lists every address of an interface,
/// without its subnet. An interface that is not listed may have none, or be one that exo
/// did not see, so its addresses stay unknown.
fn port_addresses(state: &State, topology: &mut Topology) {
    let mut listed: HashMap<(NodeId, &str), Vec<PortAddress>> = HashMap::new();
    for (id, network) in &state.node_network.0 {
        let Some(node) = topology.node(id) else {
            continue;
        };
        for interface in &network.interfaces {
            let Some(name) = interface.name.as_deref() else {
                continue;
            };
            let ip = interface.ip_address.parse().ok();
            let reachable = |ip: &Ipv4Addr| !ip.is_loopback() && !ip.is_unspecified();
            let prefix = None;
            let address = ip.filter(reachable).map(|ip| PortAddress { ip, prefix });
            listed.entry((node, name)).or_default().extend(address);
        }
    }
    let own = topology.ports().filter_map(|(port, info)| {
        let interface = info.device.strip_prefix("rdma_")?;
        let addresses = listed.get(&(info.node, interface))?.clone();
        Some((port, topology[info.node].bridged == Some(true), addresses))
    });
    for (port, bridged, addresses) in own.collect::<Vec<_>>() {
        if addresses.is_empty() {
            topology.set_unfit(port, Unfit::NoIpv4 { bridged });
        }
        topology.set_addresses(port, addresses);
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
