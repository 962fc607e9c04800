//! macOS: Thunderbolt ports, their interfaces, and the domain at the other end, joined as
//! MLX's `distributed_config` joins them.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use serde::Deserialize;

use super::{
    HostReport, ReportKind,
    lines::{self, HardwarePorts, Interface},
};
use crate::{
    Address, NodeId, PortId, Problem, Topology, Unfit,
    read::{
        JsonError, ReadError,
        json::{self, Object, Text},
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
    #[serde(default, rename = "_items")]
    items: Vec<Object<Self>>,
}

/// The ports of all nodes by domain, and the domains that they lead to.
#[derive(Default)]
pub struct Domains {
    ports: HashMap<String, PortId>,
    peers: Vec<Peer>,
}

/// What a port leads to.
struct Peer {
    from: PortId,
    domain: String,
    /// Its name for people.
    name: Option<String>,
}

pub fn read(
    host: &HostReport,
    node: NodeId,
    topology: &mut Topology,
    domains: &mut Domains,
) -> Result<(), ReadError> {
    let kind = ReportKind::SystemProfiler;
    let profile: Object<Profile> = host.within(kind, json::parse(host.needed(kind)?))?;
    let kind = ReportKind::Networksetup;
    let hardware = host.within(kind, HardwarePorts::read(host.needed(kind)?))?;
    let devices = host.optional(ReportKind::IbvDevices, lines::ibv_devices)?;
    let switched_on = host.optional(ReportKind::RdmaCtl, lines::rdma_ctl)?;
    let interfaces = host.optional(ReportKind::Ifconfig, lines::ifconfig)?;

    let none_listed = devices.as_ref().is_some_and(HashSet::is_empty);
    *topology.node_mut(node).rdma_enabled = switched_on.or(none_listed.then_some(false));
    let mut mac = Mac {
        host,
        node,
        hardware,
        devices: devices.filter(|devices| !devices.is_empty()),
        without_ipv4: without_ipv4(&interfaces),
        topology,
        domains,
    };
    for (b, bus) in profile.buses.iter().enumerate() {
        mac.bus(b, bus)?;
    }
    mac.network(&interfaces);
    Ok(())
}

fn without_ipv4<'a>(interfaces: &[Interface<'a>]) -> HashSet<&'a str> {
    let without = interfaces.iter().filter(|i| i.ipv4.is_empty());
    without.map(|interface| interface.name).collect()
}

/// The information about the node that is being read.
struct Mac<'a> {
    host: &'a HostReport,
    node: NodeId,
    hardware: HardwarePorts<'a>,
    /// The existing RDMA devices, if known.
    devices: Option<HashSet<&'a str>>,
    without_ipv4: HashSet<&'a str>,
    topology: &'a mut Topology,
    domains: &'a mut Domains,
}

impl<'a> Mac<'a> {
    fn bus(&mut self, b: usize, bus: &Bus) -> Result<(), ReadError> {
        let Some(domain) = &bus.domain else {
            return Ok(());
        };
        if let Some(name) = &bus.device_name {
            *self.topology.node_mut(self.node).label = Some(name.to_string());
        }
        let mut peers = Vec::new();
        collect_peers(&bus.items, &mut peers);
        let Some(interface) = self.interface(b, bus, !peers.is_empty())? else {
            return Ok(());
        };
        let device = format!("rdma_{interface}");
        let (port, written) = super::port(self.topology, self.node, &device);
        match self.domains.ports.entry(domain.to_ascii_uppercase()) {
            Entry::Vacant(vacant) => _ = vacant.insert(port),
            Entry::Occupied(taken) => {
                return Err(ReadError::SharedDomain {
                    domain: domain.to_string(),
                    first: self.topology.written(*taken.get()),
                    second: written,
                });
            }
        }
        self.judge(port, interface, bus.receptacle.as_deref());
        let peers = peers.into_iter().map(|(domain, name)| Peer {
            from: port,
            domain,
            name,
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

    /// Sets whether a port can carry RDMA, and its rate.
    fn judge(&mut self, port: PortId, interface: &str, receptacle: Option<&Receptacle>) {
        let device = self.topology[port].device.clone();
        let listed = |devices: &HashSet<&str>| devices.contains(&*device);
        if self.without_ipv4.contains(interface) {
            self.topology.set_unfit(port, Unfit::NoIpv4);
        }
        if self
            .devices
            .as_ref()
            .is_some_and(|devices| !listed(devices))
        {
            self.topology.set_unfit(port, Unfit::NotListed);
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
        let is_cable = |member: &&str| hardware.network(member) == crate::Network::Thunderbolt;
        let holds_cables = |bridge: &Interface| bridge.up && bridge.members.iter().any(is_cable);
        let facts = self.topology.node_mut(self.node);
        if !interfaces.is_empty() {
            *facts.bridged = Some(interfaces.iter().any(holds_cables));
        }
        for interface in interfaces {
            let addresses = interface.ipv4.iter().map(|ip| Address {
                network: hardware.network(interface.name),
                ip: (*ip).to_owned(),
            });
            let others = addresses.filter(|address| !address.ip.starts_with("127."));
            facts.addresses.extend(others);
        }
    }
}

/// The domains of other computers, behind any number of hubs.
fn collect_peers(items: &[Object<Item>], peers: &mut Vec<(String, Option<String>)>) {
    for item in items {
        if let Some(domain) = &item.domain {
            let name = item.device_name.as_deref().map(str::to_owned);
            peers.push((domain.to_ascii_uppercase(), name));
        }
        collect_peers(&item.items, peers);
    }
}

impl Domains {
    /// Adds the other end of every port, now that all ports are known.
    pub fn sight(&self, topology: &mut Topology) {
        for Peer { from, domain, name } in &self.peers {
            match self.ports.get(domain) {
                Some(to) => topology.sight(*from, *to),
                // A device that is too slow for RDMA need not be a node.
                None if matches!(topology[*from].unfit, Some(Unfit::Thunderbolt4 { .. })) => {}
                None => topology.report(Problem::UnknownPeer {
                    from: topology.written(*from),
                    peer: match name {
                        Some(name) => format!("{name}, domain {domain}"),
                        None => format!("domain {domain}"),
                    },
                }),
            }
        }
    }
}
