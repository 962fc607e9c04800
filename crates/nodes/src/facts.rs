//! What is known of a node.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::Serialize;

/// The name of the machine that asks among hosts.
pub const HERE: &str = "localhost";

/// The state of a cable of an emulated rig.
pub(crate) const EMULATED: &str = "emulated";

/// What is known of a machine. A fact that is None is in [`missing`](Self::missing), with
/// the reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NodeFacts {
    /// What `ssh` calls it, or [`HERE`].
    pub host: String,
    /// The nodes of the rig that it is: one, or several whose cables are emulated.
    pub nodes: Vec<String>,
    /// Its operating system.
    pub software: Option<Software>,
    /// Its processor.
    pub chip: Option<Chip>,
    /// Its memory.
    pub memory: Option<Memory>,
    /// Its clock against this machine's.
    pub clock: Option<Clock>,
    /// The disk with the folder for programs.
    pub disk: Option<Disk>,
    /// macOS: whether `rdma_ctl` says that RDMA is on.
    pub rdma_enabled: Option<bool>,
    /// macOS: whether a Thunderbolt bridge holds its interfaces.
    pub bridged: Option<bool>,
    /// Its RDMA devices, or its Thunderbolt ports where it does not list devices.
    pub devices: Option<Vec<Device>>,
    /// Where its power comes from.
    pub power: Option<Power>,
    /// How warm it is.
    pub heat: Option<Heat>,
    /// Processes that hold an RDMA device, or have the name of a program that does.
    pub users: Option<Vec<User>>,
    /// The files of the model, if they were asked for.
    pub model: Option<Vec<ModelFile>>,
    /// What it was like after its ranks had run, if it was asked then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<State>,
    /// By name of a fact, why it is not known.
    pub missing: BTreeMap<&'static str, String>,
}

impl NodeFacts {
    /// Whether it is the machine that asked.
    pub fn is_here(&self) -> bool {
        self.host == HERE
    }

    /// Its name in the rig, or that of its host if it has none or several.
    pub fn title(&self) -> &str {
        match &*self.nodes {
            [node] => node,
            _ => &self.host,
        }
    }

    /// A fact, or None and the reason among the missing.
    pub(crate) fn fact<T>(&mut self, name: &'static str, read: Result<T, String>) -> Option<T> {
        match read {
            Ok(fact) => {
                self.missing.remove(name);
                Some(fact)
            }
            Err(why) => {
                self.missing.insert(name, why);
                None
            }
        }
    }
}

/// An operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Software {
    /// `Darwin` or `Linux`.
    pub kernel: String,
    /// `arm64`, `x86_64`, as `uname -m` has it.
    pub architecture: String,
    /// Such as `macOS` or `Debian GNU/Linux`.
    pub name: String,
    /// Such as `26.2`.
    pub version: String,
    /// macOS: its build.
    pub build: Option<String>,
}

/// A processor, and the machine around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chip {
    /// Such as `Apple M4 Max`.
    pub name: String,
    /// The number of processors that are on.
    pub processors: Option<u32>,
    /// The machine, such as `Mac16,9`.
    pub machine: Option<String>,
}

/// Memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// Linux: what a new program could have.
    pub available_bytes: Option<u64>,
}

/// A clock against this machine's. The two are read at different times, so the difference
/// is known to within the time that the connection took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Clock {
    /// Seconds by which it is ahead, at least; negative if it may be behind.
    pub ahead_at_least: f64,
    /// At most.
    pub ahead_at_most: f64,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mounted: String,
    /// What the user may still write.
    pub free_bytes: u64,
    /// Its size.
    pub total_bytes: u64,
    /// Whether the user may write where the folder for programs is, or is to be.
    pub writable: bool,
}

/// An RDMA device, and its first port: jaccl opens no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Such as `rdma_en5`.
    pub name: String,
    /// The state of its port, such as `ACTIVE`.
    pub port: Option<String>,
    /// Its GIDs that are not zero.
    pub gids: Option<Vec<Gid>>,
    /// The IPv4 addresses of its interface, as `address/prefix`.
    pub addresses: Option<Vec<String>>,
    /// What is known of its cable: a state of `mlx-rails/matrix-doctor/1`, or `emulated`.
    pub cable: &'static str,
    /// The device at the other end, as `node:device`.
    pub other: Option<String>,
}

impl Device {
    /// The first of its GIDs that is an IPv4 address, which jaccl uses, and its index.
    pub fn ipv4_gid(&self) -> Option<(Ipv4Addr, u32)> {
        let mut gids = self.gids.iter().flatten();
        gids.find_map(|gid| Some((gid.address.to_ipv4_mapped()?, gid.index)))
    }
}

/// An address of an RDMA device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gid {
    /// Its place in the device's table.
    pub index: u32,
    /// The address. IPv4 is mapped, as `::ffff:192.0.2.1`.
    pub address: Ipv6Addr,
}

/// Where power comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Power {
    /// Whether it is from the battery.
    pub on_battery: bool,
    /// The battery's charge, if there is one.
    pub charge_percent: Option<u8>,
    /// Whether the system saves power at the cost of speed. None if it does not say.
    pub low_power_mode: Option<bool>,
}

/// How warm a node is, by what its system reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Heat {
    /// macOS: the level of its warning, from 0.
    pub warning_level: Option<u32>,
    /// macOS: the percentage of its speed that the processor is held to.
    pub speed_limit_percent: Option<u32>,
    /// Linux: the warmest of its zones.
    pub hottest_celsius: Option<f64>,
}

/// What a run can change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct State {
    /// Where its power comes from.
    pub power: Option<Power>,
    /// How warm it is.
    pub heat: Option<Heat>,
}

/// A process that uses RDMA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id on the node.
    pub pid: u32,
    /// Its user.
    pub user: String,
    /// Its program.
    pub program: String,
    /// The device that it has open, where the system tells.
    pub device: Option<String>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, or, of weights, of its first and last MiB and 15 places between them.
    pub sha256: String,
}
