//! The devices of a process, from the environment that a launcher sets and the rig in the
//! fabric's folder.

use std::{
    env, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use rig::{Cable, DeviceFault, Rig, RigError, Rules};

use crate::{private, shm::Side};

/// Names the folder of the fabric.
pub const FABRIC_VARIABLE: &str = "SOFTRAIL_FABRIC";

/// Names the node that the process runs on.
pub const NODE_VARIABLE: &str = "SOFTRAIL_NODE";

/// The rig's file in the folder of the fabric.
pub(crate) const RIG_FILE: &str = "rig.toml";

/// Why a process has no devices.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The process was not started by a launcher.
    #[error("{0} is not set")]
    NoVariable(&'static str),
    /// The folder is gone or never existed.
    #[error("cannot read the rig of the fabric, {} (from {FABRIC_VARIABLE})", path.display())]
    Unreadable {
        /// The rig file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file is not a rig.
    #[error("{}", path.display())]
    BadRig {
        /// The rig file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: RigError,
    },
    /// The rig has no such node.
    #[error(
        "{NODE_VARIABLE} names the node '{node}', which the rig does not have; its nodes are {known}"
    )]
    UnknownNode {
        /// The name.
        node: String,
        /// The rig's nodes.
        known: String,
    },
}

impl ConfigError {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoVariable(_) => Some(
                "start the process with the variables of a softrail fabric (Fabric::env)"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// One end of an emulated cable, which appears as an RDMA device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The device's name in the rig, such as `rdma_en5`.
    pub name: String,
    /// The shared memory of its cable.
    pub cable: PathBuf,
    /// Which end of the cable it is.
    pub side: Side,
    /// What it allows and does.
    pub rules: Rules,
    /// The device's address. The GID is this address, IPv4-mapped.
    pub address: Ipv4Addr,
    /// The address at the other end of the cable.
    pub peer_address: Ipv4Addr,
}

/// The devices of this process: those of the node that the environment names.
///
/// # Errors
/// When a variable is missing, or the rig is missing or has no such node.
pub fn devices_from_env() -> Result<Vec<Device>, ConfigError> {
    let variable = |name| env::var_os(name).ok_or(ConfigError::NoVariable(name));
    let folder = PathBuf::from(variable(FABRIC_VARIABLE)?);
    let node = variable(NODE_VARIABLE)?;
    devices(&folder, &node.to_string_lossy())
}

/// The devices of a node of the fabric in `folder`, in the order of the cables, without
/// those that the rig declares absent.
///
/// # Errors
/// When the rig cannot be read or has no such node.
pub fn devices(folder: &Path, node: &str) -> Result<Vec<Device>, ConfigError> {
    let path = folder.join(RIG_FILE);
    let text = private::read(&path).map_err(|source| ConfigError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let rig = Rig::parse(&text).map_err(|source| ConfigError::BadRig { path, source })?;
    if rig.rank(node).is_none() {
        let names: Vec<_> = rig.nodes.iter().map(|node| node.name.as_str()).collect();
        let known = names.join(", ");
        return Err(ConfigError::UnknownNode {
            node: node.to_owned(),
            known,
        });
    }
    let ends = rig
        .cables
        .iter()
        .enumerate()
        .flat_map(|(index, cable)| Side::BOTH.map(|side| (index, cable, side)).into_iter());
    Ok(ends
        .filter(|(_, cable, side)| cable.ends[side.index()].node == node)
        .filter(|(_, cable, side)| {
            let mut faults = rig.device_faults(&cable.ends[side.index()]);
            !faults.any(|fault| fault == DeviceFault::Absent)
        })
        .map(|(index, cable, side)| device(folder, &rig, (index, cable), side))
        .collect())
}

/// The device at the end on `side` of the cable with this index.
fn device(folder: &Path, rig: &Rig, (index, cable): (usize, &Cable), side: Side) -> Device {
    let end = &cable.ends[side.index()];
    Device {
        name: end.device.clone(),
        cable: cable_file(folder, index),
        side,
        rules: rig.rules,
        address: address(index, side),
        peer_address: address(index, side.opposite()),
    }
}

/// The shared memory file of the rig's cable `index`. Cable names may hold any character,
/// so files are not named after them.
pub(crate) fn cable_file(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("cable.{index}"))
}

/// Every cable is a network of its own, as every Thunderbolt link is.
fn address(cable: usize, side: Side) -> Ipv4Addr {
    let [.., high, low] = cable.to_be_bytes();
    Ipv4Addr::new(10, high, low, 1 + side.index() as u8)
}

#[cfg(test)]
mod tests {
    use rig::Defect;

    use super::*;

    fn fabric() -> tempfile::TempDir {
        fabric_of(&Rig::embedded())
    }

    fn fabric_of(rig: &Rig) -> tempfile::TempDir {
        let folder = private::folder();
        private::write(&folder.path().join(RIG_FILE), &rig.to_toml()).expect("written");
        folder
    }

    #[test]
    fn a_node_has_its_ends_of_the_cables_and_knows_the_other_ends() {
        let folder = fabric();
        let a = devices(folder.path(), "a").expect("node a");
        let b = devices(folder.path(), "b").expect("node b");
        let names: Vec<_> = a.iter().map(|device| device.name.as_str()).collect();
        assert_eq!(names, ["rdma_en5", "rdma_en6", "rdma_en7"]);
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(a.cable, b.cable);
            assert_eq!(a.side, b.side.opposite());
            assert_eq!((a.address, a.peer_address), (b.peer_address, b.address));
        }
        assert_ne!(a[0].address, a[1].address);
    }

    #[test]
    fn an_absent_device_is_not_there() {
        let mut rig = Rig::embedded();
        let absent = Defect::Device {
            device: rig.cables[0].ends[1].clone(),
            kind: DeviceFault::Absent,
        };
        rig.faults = vec![absent.into()];
        let folder = fabric_of(&rig);
        let named = |node| -> Vec<_> {
            let devices = devices(folder.path(), node).expect("a node");
            devices.into_iter().map(|device| device.name).collect()
        };
        assert_eq!(named("a"), ["rdma_en5", "rdma_en6", "rdma_en7"]);
        assert_eq!(named("b"), ["rdma_en6", "rdma_en7"]);
    }

    #[test]
    fn errors_name_the_variable_and_what_would_be_right() {
        let folder = fabric();
        let unknown = devices(folder.path(), "c")
            .expect_err("no node c")
            .to_string();
        assert!(
            unknown.contains("'c'") && unknown.contains("a, b"),
            "{unknown}"
        );
        let missing = devices(&folder.path().join("gone"), "a")
            .expect_err("no rig")
            .to_string();
        assert!(
            missing.contains("gone/rig.toml") && missing.contains(FABRIC_VARIABLE),
            "{missing}"
        );
    }
}
