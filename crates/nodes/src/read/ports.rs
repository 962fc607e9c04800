//! The first port of each RDMA device, and its GIDs.

use std::{collections::BTreeMap, net::Ipv6Addr};

use super::{Read, odd};
use crate::Gid;

/// A port of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Port {
    /// Such as `ACTIVE`.
    pub state: Option<String>,
    pub gids: Vec<Gid>,
}

/// `ibv_devinfo -v`. Lines of other shapes say other things.
///
/// ```text
/// hca_id: rdma_en5
///         port:   1
///                 state:                  PORT_ACTIVE (4)
///                 GID[  1]:               ::ffff:10.0.1.1, RoCE v2
/// ```
pub fn ibv_devinfo(text: &str) -> BTreeMap<String, Port> {
    let mut ports = BTreeMap::new();
    let mut device = None;
    let mut number = 1;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "hca_id" => {
                device = Some(value.to_owned());
                number = 1;
                ports.insert(value.to_owned(), Port::default());
            }
            "port" => number = value.parse().unwrap_or(0),
            _ => {}
        }
        let Some(port) = device.as_ref().and_then(|name| ports.get_mut(name)) else {
            continue;
        };
        if number != 1 {
            continue;
        }
        if key == "state" {
            let word = value.split_whitespace().next().unwrap_or_default();
            port.state = Some(word.trim_start_matches("PORT_").to_owned());
        } else if let Some(gid) = gid(key, value) {
            port.gids.push(gid);
        }
    }
    ports
}

/// `GID[  1]` and `::ffff:10.0.1.1, RoCE v2`.
fn gid(key: &str, value: &str) -> Option<Gid> {
    let index = key.strip_prefix("GID[")?.strip_suffix(']')?.trim();
    let address = value.split([',', ' ', '\t']).next()?;
    Some(Gid {
        index: index.parse().ok()?,
        address: address.parse().ok()?,
    })
}

/// Lines `/sys/class/infiniband/DEVICE/ports/1/state:4: ACTIVE` and
/// `/sys/class/infiniband/DEVICE/ports/1/gids/N:fe80:0000:...`.
pub fn sysfs(text: &str) -> Read<BTreeMap<String, Port>> {
    let mut ports: BTreeMap<String, Port> = BTreeMap::new();
    for line in text.lines() {
        let wrong = || odd("'/sys/class/infiniband/DEVICE/ports/1/FILE:VALUE'", line);
        let (path, value) = line.split_once(':').ok_or_else(wrong)?;
        let (_, below) = path.split_once("/infiniband/").ok_or_else(wrong)?;
        let (device, file) = below.split_once("/ports/1/").ok_or_else(wrong)?;
        let port = ports.entry(device.to_owned()).or_default();
        if let Some(index) = file.strip_prefix("gids/") {
            let address: Ipv6Addr = value.trim().parse().map_err(|_| wrong())?;
            let index = index.parse().map_err(|_| wrong())?;
            if !address.is_unspecified() {
                port.gids.push(Gid { index, address });
            }
        } else if file == "state" {
            let state = value.rsplit(' ').next().unwrap_or(value);
            port.state = Some(state.trim().to_owned());
        }
    }
    for port in ports.values_mut() {
        port.gids.sort_unstable_by_key(|gid| gid.index);
    }
    Ok(ports)
}
