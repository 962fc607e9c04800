//! `cargo xtask rig discover`: a rig.toml of what nodes say.

use std::net::{IpAddr, Ipv4Addr};

use rail_matrix::{Network, Topology, read};
use rig::{Cable, Cables, End, Link, Node, Rig};

use crate::{exit::Result, flags::RigDiscover, output, session::Session};

pub fn run(session: &Session, flags: &RigDiscover) -> Result {
    let reports = matrix_cli::ask(&session.launcher, &flags.hosts)?;
    let topology = read::reports(&reports)?;
    output::document(&file(&topology, &flags.hosts))?;
    Ok(std::process::ExitCode::SUCCESS)
}

/// The rig, with what is wrong with it as comments at its head.
fn file(topology: &Topology, hosts: &[String]) -> String {
    let account = topology.account();
    let mut notes: Vec<String> = account.problems().iter().map(ToString::to_string).collect();
    let nodes = hosts.iter().map(|host| node(topology, host, &mut notes));
    let nodes = nodes.collect();
    let cables = account.cables().enumerate().map(|(at, ends)| {
        let mut ends = ends.map(|port| &topology[port]);
        let named = |name: &str| hosts.iter().position(|host| host == name);
        ends.sort_by_key(|port| named(&topology[port.node].name));
        // The slower end decides.
        let rate = ends
            .iter()
            .filter_map(|port| port.line_bytes_per_second)
            .min();
        let link = Link {
            bytes_per_second: rate.unwrap_or(Link::THUNDERBOLT.bytes_per_second),
            ..Link::THUNDERBOLT
        };
        let ends = ends.map(|port| End {
            node: topology[port.node].name.clone(),
            device: port.device.clone(),
        });
        Cable::new(format!("cable-{}", at + 1), ends, link)
    });
    let rig = Rig::new(nodes, cables.collect()).with_kind(Cables::Real);
    if rig.cables.is_empty() {
        notes.push("no cable was found between these nodes".to_owned());
    }
    let mut text = String::from(
        "# Written by `cargo xtask rig discover`. bandwidth is what a cable is said to carry.\n",
    );
    for line in notes.iter().flat_map(|note| note.lines()) {
        text += &format!("# {line}\n");
    }
    text + "\n" + &rig.to_toml()
}

fn node(topology: &Topology, host: &str, notes: &mut Vec<String>) -> Node {
    let found = topology.node(host).map(|id| &topology[id]);
    let addresses = found.map_or(&[][..], |node| &node.addresses);
    // The cables' own addresses are reached by one neighbour alone.
    let usable = addresses.iter().filter_map(|address| {
        let ip: Ipv4Addr = address.ip.parse().ok()?;
        let rank = match address.network {
            Network::Ethernet => 0,
            Network::Wifi => 1,
            Network::Thunderbolt => return None,
            _ => 2,
        };
        Some((rank, ip))
    });
    let address = usable.min().map(|(_, ip)| IpAddr::V4(ip));
    if address.is_none() {
        notes.push(format!(
            "node '{host}' needs an address that the other nodes reach: add address = \"...\" to it"
        ));
    }
    let node = Node::new(host).at(address);
    match host {
        "localhost" => node,
        _ => node.by_ssh(host),
    }
}
