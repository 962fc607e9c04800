//! Linux: RDMA devices, their interfaces, and the subnets that show which two share a
//! cable.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
};

use serde::Deserialize;

use super::{HostReport, ReportKind, lines::numbered, sysfs};
use crate::{
    Address, Network, NodeId, PortId, Problem, Topology, Unfit,
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
    let kind = ReportKind::IpAddress;
    let interfaces: Vec<Object<Interface>> = host.within(kind, json::parse(host.needed(kind)?))?;
    let rates = host.optional(ReportKind::Rates, sysfs::rates)?;

    let mut ipv4 = addresses(&interfaces);
    for link in links.iter().filter(|link| link.port.unwrap_or(1) == 1) {
        let (port, device) = super::port(topology, node, &link.device);
        if let Some(&rate) = rates.get(&*link.device) {
            topology.set_rate(port, rate);
        }
        let up = link.state.as_deref().is_none_or(|state| state == "ACTIVE");
        let own = link.netdev.as_ref().and_then(|name| ipv4.remove(&**name));
        let own = own.unwrap_or_default();
        if !up {
            topology.set_unfit(port, Unfit::PortDown);
        } else if own.is_empty() {
            // Without an address nothing indicates a cable, so no other problem would
            // report that this device is left out.
            let why = match link.netdev {
                Some(_) => Unfit::NoIpv4,
                None => Unfit::NoInterface,
            };
            topology.report(Problem::UnfitDevice { device, why });
        }
        for (ip, prefix) in own {
            topology.node_mut(node).addresses.push(Address {
                network: Network::Thunderbolt,
                ip: ip.to_string(),
            });
            subnets.add(ip, prefix, port);
        }
    }
    for (name, own) in &ipv4 {
        let network = network(name);
        let addresses = own.iter().map(|(ip, _)| Address {
            network,
            ip: ip.to_string(),
        });
        topology.node_mut(node).addresses.extend(addresses);
    }
    Ok(())
}

/// By interface, its IPv4 addresses that another node may reach, with their prefix
/// lengths.
fn addresses<'a>(interfaces: &'a [Object<Interface>]) -> BTreeMap<&'a str, Vec<(Ipv4Addr, u8)>> {
    let mut addresses: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for interface in interfaces {
        let Some(name) = &interface.name else {
            continue;
        };
        let ipv4 = interface.addresses.iter().filter_map(|address| {
            let inet = address.family.as_deref() == Some("inet");
            let local = address.local.as_deref().filter(|_| inet)?;
            let ip: Ipv4Addr = local.parse().ok()?;
            let reachable = !ip.is_loopback() && !ip.is_unspecified();
            reachable.then(|| (ip, address.prefix.unwrap_or(32).min(32)))
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
    fn add(&mut self, ip: Ipv4Addr, prefix: u8, port: PortId) {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let network = Ipv4Addr::from_bits(ip.to_bits() & mask);
        self.0
            .entry((network, prefix))
            .or_default()
            .insert((port, ip));
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
                    topology.report(Problem::UnknownPeer {
                        from: topology.written(alone),
                        peer: format!("nobody else in {}", subnet()),
                    });
                }
                [_] => {}
                _ => topology.report(Problem::SharedSubnet {
                    subnet: subnet(),
                    devices: ports.iter().map(|port| topology.written(*port)).collect(),
                }),
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
        topology.report(Problem::SharedAddress {
            address: ip.to_string(),
            devices: ports.iter().map(|port| topology.written(*port)).collect(),
        });
    }
    !by_address.is_empty()
}
