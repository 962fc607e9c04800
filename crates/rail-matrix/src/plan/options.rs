//! What a caller may choose, and what the jaccl of a pin does.

use std::{str::FromStr, time::Duration};

use serde::Serialize;

use crate::{Backend, MAX_RAILS};

/// The choices behind a [`Plan`](super::Plan).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether a [`Problem`](crate::Problem) refuses the plan, or what it names is left
    /// out with a note.
    pub strict: bool,
    /// How nodes become ranks.
    pub order: RankOrder,
    /// The most rails a pair gets, from 1 to [`MAX_RAILS`].
    pub max_rails: usize,
    /// The backend, or nothing to choose the better one.
    pub backend: Option<Backend>,
    /// What the jaccl that reads the matrix does.
    pub jaccl: Jaccl,
    /// The sizes in bytes of the all-reduces that the job will issue, once each. With
    /// none, backends are compared by their rate for large messages.
    pub messages: Vec<u64>,
    /// What one message costs however small it is. Only used to compare backends, with
    /// [`messages`](Self::messages).
    pub latency: Duration,
    /// Where rank 0 listens.
    pub coordinator_port: u16,
}

impl Default for Options {
    /// Lenient, the widest ring, up to [`MAX_RAILS`] rails, the better backend of
    /// MLX 0.31.2, 20 us a message, port 32323 as `mlx.launch` has it.
    fn default() -> Self {
        Self {
            strict: false,
            order: RankOrder::Widest,
            max_rails: MAX_RAILS,
            backend: None,
            jaccl: Jaccl::default(),
            messages: Vec::new(),
            latency: Duration::from_micros(20),
            coordinator_port: 32323,
        }
    }
}

/// How nodes become ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RankOrder {
    /// In the order in which the nodes are given.
    Pinned,
    /// So that the narrowest link of the ring is as wide as it can be.
    Widest,
}

/// How the jaccl of an MLX version spreads messages over wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jaccl {
    /// Major, minor, patch of the MLX it belongs to.
    pub version: [u32; 3],
    /// Whether a mesh opens as many wires as its narrowest pair has devices, or one
    /// (`Config::get_mesh_connectivity` in `jaccl.cpp`).
    pub mesh_opens_several: bool,
    /// The smallest message, in bytes, that a mesh of several wires spreads over them
    /// (`MESH_MULTI_WIRE_MIN_BYTES` in `mesh.h`).
    pub mesh_spreads_from: u64,
    /// The largest all-reduce, in bytes, that a mesh of more than two ranks sends whole to
    /// every peer (`MeshGroup::all_reduce` in `mesh.cpp`; up to 0.32.1 of bfloat16, 8 MiB of
    /// other types).
    pub mesh_whole_up_to: u64,
    /// Whether each rank of such a mesh reduces a part of larger ones and hands it to all,
    /// or they are passed round one wire.
    pub mesh_scatters: bool,
    /// The largest all-reduce, in bytes, that a ring sends over one wire (`ring.cpp`).
    pub ring_spreads_above: u64,
}

impl Default for Jaccl {
    /// MLX 0.31.2's.
    fn default() -> Self {
        Self::of([0, 31, 2])
    }
}

impl Jaccl {
    /// The jaccl of an MLX version. The versions that were read are 0.31.2, 0.32.1 and
    /// 0.32.4; what is between two of them counts as the earlier, which is safe: a
    /// matrix for a mesh of one wire is right for both.
    pub fn of(version: [u32; 3]) -> Self {
        Self {
            version,
            mesh_opens_several: version >= [0, 32, 4],
            mesh_spreads_from: 512 * 1024,
            mesh_whole_up_to: if version >= [0, 32, 4] { 32 } else { 512 } * 1024,
            mesh_scatters: version >= [0, 32, 4],
            ring_spreads_above: if version >= [0, 32, 1] { 32 } else { 64 } * 1024,
        }
    }

    /// `MAJOR.MINOR.PATCH`.
    pub fn version(&self) -> String {
        self.version.map(|part| part.to_string()).join(".")
    }
}

/// Something that is not an MLX version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a version of MLX; write three numbers, such as 0.31.2")]
pub struct BadVersion(String);

impl FromStr for Jaccl {
    type Err = BadVersion;

    /// Reads `MAJOR.MINOR.PATCH`. What follows the patch's digits (`.dev`, `+local`) is
    /// ignored.
    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_owned());
        let mut parts = text.splitn(3, '.');
        let mut number = || {
            let part = parts.next().ok_or_else(bad)?;
            let digits = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            part[..digits].parse().map_err(|_| bad())
        };
        Ok(Self::of([number()?, number()?, number()?]))
    }
}
