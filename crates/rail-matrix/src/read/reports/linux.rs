//! Linux: RDMA devices, their interfaces, and the subnets that show which two share a
//! cable.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
};

use serde::Deserialize;

use super::{HostReport, ReportKind, lines::numbered, sysfs};
use crate::{
    Network, NodeId, PortAddress, PortId, Problem, Topology, Unfit,
    read::{
        ReadError,
        json::{self, Object, Text},
        text,
    },
};

/// A port of an RDMA device, as reported by `rdma link`.
#[derive(Deserialize)]
struct Link<'a> {
    #[serde(borrow, rename = "ifname")]
    device: Text<'a>,
    /// jaccl opens only port 1.
    port: Option<u32>,
    state: Option<Text<'a>>,
    netdev: Option<Text<'a>>,
}

/// An interface, as reported by `ip -j address`.
#[derive(Deserialize)]
struct Interface<'a> {
    #[serde(borrow, rename = "ifname")]
    name: Option<Text<'a>>,
    #[serde(default, rename = "addr_info")]
    addresses: Vec<Object<InterfaceAddress<'a>>>,
}

#[derive(Deserialize)]
struct InterfaceAddress<'a> {
    #[serde(borrow)]
    family: Option<Text<'a>>,
    local: Option<Text<'a>>,
    #[serde(rename = "prefixlen")]
    prefix: Option<u8>,
}

/// The devices in every subnet, with their addresses there.
#[derive(Default)]
pub struct Subnets(BTreeMap<(Ipv4Addr, u8), BTreeSet<(PortId, Ipv4Addr)>>);

pub fn read(
    host: &HostReport,
    node: NodeId,
    topology: &mut Topology,
    subnets: &mut Subnets,
) -> Result<(), ReadError> {
    let kind = ReportKind::RdmaLink;
    let links = host.within(kind, links(host.needed(kind)?))?;
    let interfaces: Vec<Object<Interface>> = host.json(ReportKind::IpAddress)?;
    let rates = host.optional(ReportKind::Rates, sysfs::rates)?;

    let ipv4 = addresses(&interfaces);
    let links: Vec<_> = links
        .iter()
        .filter(|link| link.port.unwrap_or(1) == 1)
        .collect();
    // By interface, the devices on it.
    let mut devices: BTreeMap<&str, Vec<PortId>> = BTreeMap::new();
    for link in &links {
        let port = topology.port(node, &link.device);
        if let Some(interface) = link.netdev.as_deref() {
            devices.entry(interface).or_default().push(port);
        }
    }
    for link in links {
        let port = topology.port(node, &link.device);
        if let Some(&rate) = rates.get(&*link.device) {
            topology.set_rate(port, rate);
        }
        let up = link.state.as_deref().is_none_or(|state| state == "ACTIVE");
        let interface = link.netdev.as_deref();
        let own = interface.and_then(|name| ipv4.get(name));
        let own = own.map_or(&[][..], Vec::as_slice);
        topology.set_addresses(port, own.to_vec());
        if !up {
            topology.set_unfit(port, Unfit::PortDown);
        } else if own.is_empty() {
            // Without an address nothing indicates a cable, so no other problem would
            // report that this device is left out.
            let why = match interface {
                Some(_) => Unfit::NoIpv4 { bridged: false },
                None => Unfit::NoInterface,
            };
            let device = topology.end(port);
            topology.report_at(&[port], Problem::UnfitDevice { device, why });
        }
        let shared = interface.is_some_and(|interface| devices[interface].len() > 1);
        if !shared {
            subnets.add(own, port);
        }
    }
    for (&interface, ports) in devices.iter().filter(|(_, ports)| ports.len() > 1) {
        let (interface, devices) = (interface.to_owned(), topology.ends(ports));
        topology.report_at(ports, Problem::SharedInterface { interface, devices });
    }
    for (name, own) in &ipv4 {
        let network = match devices.contains_key(name) {
            true => Network::Thunderbolt,
            false => network(name),
        };
        for PortAddress { ip, .. } in own {
            topology.add_address(node, network, &ip.to_string());
        }
    }
    Ok(())
}

/// By interface, its IPv4 addresses that another node may reach, with their prefix
/// lengths.
fn addresses<'a>(interfaces: &'a [Object<Interface>]) -> BTreeMap<&'a str, Vec<PortAddress>> {
    let mut addresses: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for interface in interfaces {
        let Some(name) = &interface.name else {
            continue;
        };
        let ipv4 = interface.addresses.iter().filter_map(|address| {
            let inet = address.family.as_deref() == Some("inet");
            let local = address.local.as_deref().filter(|_| inet)?;
            let ip: Ipv4Addr = local.parse().ok()?;
            let prefix = Some(address.prefix.unwrap_or(32).min(32));
            (!ip.is_loopback() && !ip.is_unspecified()).then_some(PortAddress { ip, prefix })
        });
        addresses.entry(name).or_default().extend(ipv4);
    }
    addresses
}

/// The kind of network an interface is on, by Linux's naming.
fn network(interface: &str) -> Network {
    let named = |prefixes: &[&str]| prefixes.iter().any(|prefix| interface.starts_with(prefix));
    match () {
        () if named(&["thunderbolt"]) => Network::Thunderbolt,
        () if named(&["wl"]) => Network::Wifi,
        () if named(&["en", "eth"]) => Network::Ethernet,
        () => Network::Unknown,
    }
}

/// The JSON of `rdma -j link`, or the lines of `rdma link`.
fn links(bytes: &[u8]) -> Result<Vec<Link<'_>>, ReadError> {
    if text::utf8(bytes)?.trim_ascii_start().starts_with('[') {
        let links: Vec<Object<Link>> = json::parse(bytes)?;
        return Ok(links.into_iter().map(|Object(link)| link).collect());
    }
    numbered(bytes)?
        .map(|(number, line)| {
            Link::of_line(line).ok_or_else(|| {
                let found = text::short(line);
                let what = format!(
                    "expected 'link DEVICE/PORT state STATE ... netdev INTERFACE', found '{found}'"
                );
                ReadError::line(number, what)
            })
        })
        .collect()
}

impl<'a> Link<'a> {
    /// `link mlx5_0/1 state ACTIVE physical_state LINK_UP netdev enp1s0`; older versions
    /// print `1/1: mlx5_0/1:` instead.
    fn of_line(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        words.next()?;
        let (device, port) = words.next()?.trim_end_matches(':').split_once('/')?;
        let words: Vec<_> = words.collect();
        let fields: HashMap<_, _> = words
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect();
        let field = |name| fields.get(name).map(|value: &&'a str| (*value).into());
        Some(Self {
            device: device.into(),
            port: Some(port.parse().ok()?),
            state: field("state"),
            netdev: field("netdev"),
        })
    }
}

impl Subnets {
    fn add(&mut self, addresses: &[PortAddress], port: PortId) {
        for address in addresses {
            if let Some(network) = address.network() {
                let members = self.0.entry(network).or_default();
                members.insert((port, address.ip));
            }
        }
    }

    /// States for every two devices with a subnet of their own that they lead to each
    /// other, unless both have the same address, as when one node was asked under two
    /// names.
    pub fn sight(&self, topology: &mut Topology) {
        let mut sighted = BTreeSet::new();
        for ((network, prefix), members) in &self.0 {
            if report_shared(members, topology) {
                continue;
            }
            let mut ports: Vec<_> = members.iter().map(|(port, _)| *port).collect();
            ports.dedup();
            let subnet = || format!("{network}/{prefix}");
            match *ports {
                [a, b] if sighted.insert((a, b)) => {
                    topology.sight(a, b);
                    topology.sight(b, a);
                }
                [_, _] => {}
                [alone] if topology[alone].unfit.is_none() => {
                    let from = topology.end(alone);
                    let peer = format!("nobody else in {}", subnet());
                    topology.report_at(&[alone], Problem::UnknownPeer { from, peer });
                }
                [_] => {}
                _ => {
                    let devices = topology.ends(&ports);
                    let subnet = subnet();
                    topology.report_at(&ports, Problem::SharedSubnet { subnet, devices });
                }
            }
        }
    }
}

/// Reports every address that several devices have, and returns whether any has.
fn report_shared(members: &BTreeSet<(PortId, Ipv4Addr)>, topology: &mut Topology) -> bool {
    let mut by_address: BTreeMap<Ipv4Addr, Vec<PortId>> = BTreeMap::new();
    for (port, ip) in members {
        by_address.entry(*ip).or_default().push(*port);
    }
    by_address.retain(|_, ports| ports.len() > 1);
    for (ip, ports) in &by_address {
        let (address, devices) = (ip.to_string(), topology.ends(ports));
        topology.report_at(ports, Problem::SharedAddress { address, devices });
    }
    !by_address.is_empty()
}
