//! The reports of macOS that are lines of text.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
};

use crate::{
    Network, PortAddress,
    read::{MAX_NAME_BYTES, ReadError, text},
};

/// `networksetup -listallhardwareports`: the name of the port of each interface, and the
/// reverse.
///
/// ```text
/// Hardware Port: Thunderbolt 1
/// Device: en2
/// Ethernet Address: 36:00:00:00:00:01
/// ```
#[derive(Debug, Default)]
pub struct HardwarePorts<'a> {
    interfaces: HashMap<&'a str, &'a str>,
    ports: HashMap<&'a str, &'a str>,
    /// Ports that share a name, with the line of the second.
    repeated: HashMap<&'a str, usize>,
}

impl<'a> HardwarePorts<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let mut read = Self::default();
        let mut port = None;
        for (number, line) in numbered(bytes)? {
            if let Some(name) = line.strip_prefix("Hardware Port:") {
                port = Some(name.trim());
            } else if let Some(device) = line.strip_prefix("Device:")
                && let Some(port) = port.take()
            {
                let device = device.trim();
                if read.interfaces.insert(port, device).is_some() {
                    read.repeated.entry(port).or_insert(number);
                }
                read.ports.insert(device, port);
            }
        }
        if read.interfaces.is_empty() {
            let what = "expected lines 'Hardware Port: NAME' and 'Device: INTERFACE', found none";
            return Err(ReadError::line(1, what.to_owned()));
        }
        Ok(read)
    }

    /// The interface of a port. Ports without cables, such as those of two equal
    /// adapters, may share a name.
    pub fn interface(&self, port: &str) -> Result<Option<&'a str>, ReadError> {
        match self.repeated.get(port) {
            Some(line) => {
                let what = format!("the port '{}' is there twice", text::short(port));
                Err(ReadError::line(*line, what))
            }
            None => Ok(self.interfaces.get(port).copied()),
        }
    }

    /// The kind of network an interface is on.
    pub fn network(&self, interface: &str) -> Network {
        match self.ports.get(interface) {
            Some(port) if port.contains("Ethernet") || port.contains("LAN") => Network::Ethernet,
            Some(&"Wi-Fi") => Network::Wifi,
            Some(port) if port.starts_with("Thunderbolt") => Network::Thunderbolt,
            _ => Network::Unknown,
        }
    }
}

/// `ibv_devices`: the devices listed below its heading.
pub fn ibv_devices(bytes: &[u8]) -> Result<Option<HashSet<&str>>, ReadError> {
    let lines = numbered(bytes)?.map(|(_, line)| line.split_whitespace().next());
    let listed = lines
        .flatten()
        .filter(|name| *name != "device" && !name.starts_with("---"));
    Ok(Some(listed.collect()))
}

/// `rdma_ctl status`: `enabled` or `disabled`.
pub fn rdma_ctl(bytes: &[u8]) -> Result<Option<bool>, ReadError> {
    let status = text::utf8(bytes)?.to_ascii_lowercase();
    match (status.contains("enabled"), status.contains("disabled")) {
        (true, false) => Ok(Some(true)),
        (false, true) => Ok(Some(false)),
        _ => {
            let found = text::short(status.trim());
            let what = format!("expected 'enabled' or 'disabled', found '{found}'");
            Err(ReadError::line(1, what))
        }
    }
}

/// An interface of `ifconfig`.
#[derive(Debug, Default)]
pub struct Interface<'a> {
    pub name: &'a str,
    pub up: bool,
    /// Whether it is said to have no link.
    pub inactive: bool,
    /// Those that another node can reach.
    pub ipv4: Vec<PortAddress>,
    /// The members of a bridge.
    pub members: Vec<&'a str>,
}

/// `ifconfig`.
///
/// ```text
/// en2: flags=8863<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500
///         inet 192.0.2.1 netmask 0xfffffffc broadcast 192.0.2.3
/// ```
pub fn ifconfig(bytes: &[u8]) -> Result<Vec<Interface<'_>>, ReadError> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for (number, line) in numbered(bytes)? {
        if !line.starts_with(char::is_whitespace) {
            let Some((name, rest)) = line.split_once(": flags=") else {
                let found = text::short(line);
                let what = format!("expected 'INTERFACE: flags=...', found '{found}'");
                return Err(ReadError::line(number, what));
            };
            let flags = rest.split(['<', '>']).nth(1).unwrap_or_default();
            interfaces.push(Interface {
                name,
                up: flags.split(',').any(|flag| flag == "UP"),
                ..Interface::default()
            });
            continue;
        }
        let Some(interface) = interfaces.last_mut() else {
            let what = "expected 'INTERFACE: flags=...' before what belongs to it";
            return Err(ReadError::line(number, what.to_owned()));
        };
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("inet"), Some(ip)) => interface.ipv4.extend(inet(ip, words)),
            (Some("member:"), Some(member)) => interface.members.push(member),
            (Some("status:"), Some("inactive")) => interface.inactive = true,
            _ => {}
        }
    }
    Ok(interfaces)
}

/// An address that another node can reach, with the subnet of `netmask 0xfffffffc`.
fn inet<'a>(ip: &str, rest: impl Iterator<Item = &'a str>) -> Option<PortAddress> {
    let ip: Ipv4Addr = ip.parse().ok()?;
    let mut rest = rest.skip_while(|word| *word != "netmask").skip(1);
    let mask = rest.next().and_then(|mask| mask.strip_prefix("0x"));
    let mask = mask.and_then(|mask| u32::from_str_radix(mask, 16).ok());
    let prefix = mask.map(|mask| mask.leading_ones() as u8);
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(PortAddress { ip, prefix })
}

/// The lines that are not blank, numbered from 1. A name is within one line, so no name
/// is too long.
pub fn numbered(bytes: &[u8]) -> Result<impl Iterator<Item = (usize, &str)>, ReadError> {
    let lines = text::utf8(bytes)?.lines().zip(1..);
    let too_long = |(line, _): &(&str, usize)| line.len() > MAX_NAME_BYTES;
    if let Some((line, number)) = lines.clone().find(too_long) {
        let bytes = line.len();
        let what = format!("expected at most {MAX_NAME_BYTES} bytes, found {bytes}");
        return Err(ReadError::line(number, what));
    }
    Ok(lines.filter_map(|(line, number)| (!line.trim().is_empty()).then_some((number, line))))
}
