//! macOS: Thunderbolt ports, their interfaces, and the domain at the other end, joined as
//! MLX's `distributed_config` joins them.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use serde::Deserialize;

use super::{
    HostReport, ReportKind,
    lines::{self, HardwarePorts, Interface},
};
use crate::{
    Network, NodeId, PortAddress, PortId, Problem, Rdma, RdmaOff, Topology, Unfit,
    read::{
        JsonError, ReadError,
        json::{Object, Text},
        speed,
    },
};

/// `system_profiler SPThunderboltDataType -json`.
#[derive(Deserialize)]
struct Profile<'a> {
    #[serde(borrow, rename = "SPThunderboltDataType")]
    buses: Vec<Object<Bus<'a>>>,
}

/// A Thunderbolt controller, which has one port on the Macs that have RDMA.
#[derive(Deserialize)]
struct Bus<'a> {
    #[serde(borrow, rename = "domain_uuid_key")]
    domain: Option<Text<'a>>,
    #[serde(rename = "device_name_key")]
    device_name: Option<Text<'a>>,
    #[serde(rename = "receptacle_1_tag")]
    receptacle: Option<Object<Receptacle<'a>>>,
    #[serde(default, rename = "_items")]
    items: Vec<Object<Item<'a>>>,
}

#[derive(Deserialize)]
struct Receptacle<'a> {
    #[serde(borrow, rename = "receptacle_id_key")]
    id: Option<Text<'a>>,
    #[serde(rename = "current_speed_key")]
    speed: Option<Text<'a>>,
    #[serde(rename = "receptacle_status_key")]
    status: Option<Text<'a>>,
}

/// A connected device. Another computer has a domain of its own; a display, a disk or a
/// hub has none, and other devices may be connected to it.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "domain_uuid_key")]
    domain: Option<Text<'a>>,
    #[serde(rename = "device_name_key")]
    device_name: Option<Text<'a>>,
    /// What the other computer offers over the cable.
    #[serde(rename = "services_title")]
    services: Option<Vec<Object<Service>>>,
    #[serde(default, rename = "_items")]
    items: Vec<Object<Self>>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "protocol_id_key")]
    protocol: Option<u64>,
}

/// The protocol of RDMA over Thunderbolt: `system_profiler` calls its service unknown in
/// JSON, and `rdma` in its text form.
const RDMA_PROTOCOL: u64 = 64087;

/// The ports of all nodes by domain, and the domains that they lead to.
#[derive(Default)]
pub struct Domains {
    ports: HashMap<String, PortId>,
    peers: Vec<Peer>,
}

/// What a port leads to.
struct Peer {
    from: PortId,
    computer: Computer,
}

/// A computer at the other end of a port.
struct Computer {
    domain: String,
    /// Its name for people.
    name: Option<String>,
    /// Whether it offers RDMA, if its services are listed.
    rdma: Option<bool>,
}

pub fn read(
    host: &HostReport,
    node: NodeId,
    topology: &mut Topology,
    domains: &mut Domains,
) -> Result<(), ReadError> {
    let kind = ReportKind::SystemProfiler;
    let profile: Object<Profile> = host.json(kind)?;
    let kind = ReportKind::Networksetup;
    let hardware = host.within(kind, HardwarePorts::read(host.needed(kind)?))?;
    let devices = host.optional(ReportKind::IbvDevices, lines::ibv_devices)?;
    let switched_on = host.optional(ReportKind::RdmaCtl, lines::rdma_ctl)?;
    let interfaces = host.optional(ReportKind::Ifconfig, lines::ifconfig)?;

    topology.set_rdma(node, Rdma::Unknown);
    let rdma = |on: bool, off: RdmaOff| if on { Rdma::On } else { Rdma::Off(off) };
    if let Some(on) = switched_on {
        topology.set_rdma(node, rdma(on, RdmaOff::Disabled));
    }
    if let Some(devices) = &devices {
        topology.set_rdma(node, rdma(!devices.is_empty(), RdmaOff::NoDevices));
    }
    let mut mac = Mac {
        host,
        node,
        hardware,
        devices: devices.filter(|devices| !devices.is_empty()),
        bridged: bridged(&interfaces),
        interfaces: interfaces.iter().map(|i| (i.name, i)).collect(),
        topology,
        domains,
    };
    for (b, bus) in profile.buses.iter().enumerate() {
        mac.bus(b, bus)?;
    }
    mac.network(&interfaces);
    Ok(())
}

/// The interfaces that a bridge holds which is up.
fn bridged<'a>(interfaces: &[Interface<'a>]) -> HashSet<&'a str> {
    let bridges = interfaces.iter().filter(|interface| interface.up);
    bridges
        .flat_map(|bridge| bridge.members.iter().copied())
        .collect()
}

/// The information about the node that is being read.
struct Mac<'a> {
    host: &'a HostReport,
    node: NodeId,
    hardware: HardwarePorts<'a>,
    /// The existing RDMA devices, if known.
    devices: Option<HashSet<&'a str>>,
    /// By name. Empty if they are unknown.
    interfaces: HashMap<&'a str, &'a Interface<'a>>,
    bridged: HashSet<&'a str>,
    topology: &'a mut Topology,
    domains: &'a mut Domains,
}

impl<'a> Mac<'a> {
    fn bus(&mut self, b: usize, bus: &Bus) -> Result<(), ReadError> {
        let Some(domain) = &bus.domain else {
            return Ok(());
        };
        if let Some(name) = &bus.device_name {
            self.topology.set_label(self.node, name);
            self.topology.set_model(self.node, name);
        }
        let mut peers = Vec::new();
        collect_peers(&bus.items, &mut peers);
        let Some(interface) = self.interface(b, bus, !peers.is_empty())? else {
            return Ok(());
        };
        let device = format!("rdma_{interface}");
        let port = self.topology.port(self.node, &device);
        match self.domains.ports.entry(domain.to_ascii_uppercase()) {
            Entry::Vacant(vacant) => _ = vacant.insert(port),
            Entry::Occupied(taken) => {
                return Err(ReadError::SharedDomain {
                    domain: domain.to_string(),
                    first: self.topology.end(*taken.get()),
                    second: self.topology.end(port),
                });
            }
        }
        self.judge(
            port,
            interface,
            bus.receptacle.as_deref(),
            !peers.is_empty(),
        );
        let peers = peers.into_iter().map(|computer| Peer {
            from: port,
            computer,
        });
        self.domains.peers.extend(peers);
        Ok(())
    }

    /// The interface of a bus's port. It must be known only for a port with a connected
    /// device.
    fn interface(
        &self,
        b: usize,
        bus: &Bus,
        has_peers: bool,
    ) -> Result<Option<&'a str>, ReadError> {
        let id = bus.receptacle.as_ref().and_then(|r| r.id.as_deref());
        let Some(id) = id else {
            let path = format!("SPThunderboltDataType[{b}].receptacle_1_tag.receptacle_id_key");
            let what = "expected the number of the port, for a node is plugged in; found nothing";
            let missing = Err(JsonError::at(path, what.to_owned()).into());
            return match has_peers {
                true => self.host.within(ReportKind::SystemProfiler, missing),
                false => Ok(None),
            };
        };
        let port = format!("Thunderbolt {id}");
        let interface = match self.hardware.interface(&port) {
            Ok(None) if has_peers => Err(ReadError::NoHardwarePort { port }),
            interface => interface,
        };
        self.host.within(ReportKind::Networksetup, interface)
    }

    /// Sets whether a port can carry RDMA, its rate and its addresses.
    fn judge(
        &mut self,
        port: PortId,
        interface: &str,
        receptacle: Option<&Receptacle>,
        has_peers: bool,
    ) {
        let device = self.topology[port].device.clone();
        let listed = |devices: &HashSet<&str>| devices.contains(&*device);
        if self
            .devices
            .as_ref()
            .is_some_and(|devices| !listed(devices))
        {
            self.topology.set_unfit(port, Unfit::NotListed);
        }
        match self.interfaces.get(interface) {
            None if self.interfaces.is_empty() => {}
            None => self.topology.set_unfit(port, Unfit::NoInterface),
            Some(known) => {
                if known.ipv4.is_empty() {
                    let bridged = self.bridged.contains(interface);
                    self.topology.set_unfit(port, Unfit::NoIpv4 { bridged });
                }
                if has_peers && known.inactive {
                    self.topology.set_unfit(port, Unfit::PortDown);
                }
                self.topology.set_addresses(port, known.ipv4.clone());
            }
        }
        let Some(receptacle) = receptacle else {
            return;
        };
        if receptacle.status.as_deref() == Some("receptacle_no_devices_connected") {
            self.topology.set_unfit(port, Unfit::PortDown);
        }
        if let Some(speed) = &receptacle.speed {
            speed::set(self.topology, port, speed);
        }
    }

    fn network(&mut self, interfaces: &[Interface]) {
        let hardware = &self.hardware;
        let is_cable = |member: &&str| hardware.network(member) == Network::Thunderbolt;
        let holds_cables = |bridge: &Interface| bridge.up && bridge.members.iter().any(is_cable);
        if !interfaces.is_empty() {
            let bridged = interfaces.iter().any(holds_cables);
            self.topology.set_bridged(self.node, bridged);
        }
        for interface in interfaces {
            let network = hardware.network(interface.name);
            for PortAddress { ip, .. } in &interface.ipv4 {
                self.topology
                    .add_address(self.node, network, &ip.to_string());
            }
        }
    }
}

/// The other computers, behind any number of hubs.
fn collect_peers(items: &[Object<Item>], peers: &mut Vec<Computer>) {
    for item in items {
        if let Some(domain) = &item.domain {
            let offered = |service: &Object<Service>| service.protocol == Some(RDMA_PROTOCOL);
            peers.push(Computer {
                domain: domain.to_ascii_uppercase(),
                name: item.device_name.as_deref().map(str::to_owned),
                rdma: item.services.as_ref().map(|all| all.iter().any(offered)),
            });
        }
        collect_peers(&item.items, peers);
    }
}

impl Domains {
    /// Adds the other end of every port, now that all ports are known.
    pub fn sight(&self, topology: &mut Topology) {
        let too_slow = |topology: &Topology, port: PortId| {
            matches!(topology[port].unfit, Some(Unfit::Thunderbolt4 { .. }))
        };
        // A node does RDMA on all its ports or on none, so one peer that sees it settles
        // the matter; another may have been asked before it was switched on.
        let seen = self
            .peers
            .iter()
            .filter(|peer| peer.computer.rdma == Some(true));
        let seen = seen.filter_map(|peer| self.ports.get(&peer.computer.domain));
        let seen: HashSet<_> = seen.map(|port| topology[*port].node).collect();
        for &Peer { from, ref computer } in &self.peers {
            let Computer { domain, name, rdma } = computer;
            let Some(&to) = self.ports.get(domain) else {
                // A device that is too slow for RDMA need not be a node.
                if !too_slow(topology, from) {
                    let peer = match name {
                        Some(name) => format!("{name}, domain {domain}"),
                        None => format!("domain {domain}"),
                    };
                    let end = topology.end(from);
                    topology.report_at(&[from], Problem::UnknownPeer { from: end, peer });
                }
                continue;
            };
            topology.sight(from, to);
            let node = topology[to].node;
            match rdma {
                Some(true) => topology.set_rdma(node, Rdma::On),
                Some(false) if seen.contains(&node) => {}
                // RDMA is not offered over such a cable.
                Some(false) if too_slow(topology, from) || too_slow(topology, to) => {}
                Some(false) => {
                    let seen_by = topology.end(from);
                    topology.set_rdma(node, Rdma::Off(RdmaOff::NoService { seen_by }));
                }
                None => {}
            }
        }
    }
}
