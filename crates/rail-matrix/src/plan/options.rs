//! The options of a plan, and the properties of the jaccl of a pin.

use std::{str::FromStr, time::Duration};

use serde::Serialize;

use crate::{Backend, MAX_RAILS};

/// The choices behind a [`Plan`](super::Plan).
///
/// ```
/// use rail_matrix::{Backend, Options, RankOrder};
///
/// let options = Options::default()
///     .order(RankOrder::Pinned)
///     .backend(Backend::Ring)
///     .max_rails(2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Whether a [`Problem`](crate::Problem) refuses the plan; otherwise the parts that
    /// it names are left out with a note.
    pub strict: bool,
    /// How nodes are assigned to ranks.
    pub order: RankOrder,
    /// The most rails a pair gets, from 1 to [`MAX_RAILS`].
    pub max_rails: usize,
    /// The backend, or `None` to choose the better one.
    pub backend: Option<Backend>,
    /// The properties of the jaccl that reads the matrix.
    pub jaccl: Jaccl,
    /// The sizes in bytes of the all-reduces that the job will issue, once each. If
    /// empty, backends are compared by their rate for large messages.
    pub messages: Vec<u64>,
    /// The fixed cost of one message. Only used to compare backends, with
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

macro_rules! setters {
    ($($field:ident: $type:ty;)*) => {
        impl Options {$(
            #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
            #[must_use]
            pub fn $field(self, $field: $type) -> Self {
                Self { $field, ..self }
            }
        )*}
    };
}

setters! {
    strict: bool;
    order: RankOrder;
    max_rails: usize;
    jaccl: Jaccl;
    messages: Vec<u64>;
    latency: Duration;
    coordinator_port: u16;
}

impl Options {
    /// Sets [`backend`](Self#structfield.backend).
    #[must_use]
    pub fn backend(self, backend: impl Into<Option<Backend>>) -> Self {
        let backend = backend.into();
        Self { backend, ..self }
    }
}

/// How nodes are assigned to ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RankOrder {
    /// In the given order of the nodes.
    Pinned,
    /// In the order that makes the narrowest link of the ring as wide as possible.
    Widest,
}

/// How the jaccl of an MLX version spreads messages over wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Jaccl {
    /// Major, minor, patch of its MLX version.
    pub version: [u32; 3],
    /// Whether it is that release rather than one of the builds before it (`rc1`,
    /// `.dev`).
    pub released: bool,
    /// Whether a mesh opens as many wires as its narrowest pair has devices rather than
    /// one (`Config::get_mesh_connectivity` in `jaccl.cpp`).
    pub mesh_opens_several: bool,
    /// The smallest message, in bytes, that a mesh of several wires spreads over them
    /// (`MESH_MULTI_WIRE_MIN_BYTES` in `mesh.h`).
    pub mesh_spreads_from: u64,
    /// The largest all-reduce, in bytes, that a mesh of more than two ranks sends whole to
    /// every peer (`MeshGroup::all_reduce` in `mesh.cpp`; up to 0.32.1 of bfloat16, 8 MiB of
    /// other types).
    pub mesh_whole_up_to: u64,
    /// Whether each rank of such a mesh reduces a part of larger all-reduces and sends it
    /// to all; otherwise parts are passed round one wire.
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
    /// The jaccl of an MLX version. The versions examined are 0.31.2, 0.32.1 and 0.32.4.
    /// A version between two of them counts as the earlier, which is safe: a matrix for a
    /// mesh of one wire is right for both.
    pub fn of(version: [u32; 3]) -> Self {
        Self::built(version, true)
    }

    /// A build before a release counts as older than it, because it may lack any of the
    /// release's changes.
    fn built(version: [u32; 3], released: bool) -> Self {
        let has = |release: [u32; 3]| (version, released) >= (release, true);
        Self {
            version,
            released,
            mesh_opens_several: has([0, 32, 4]),
            mesh_spreads_from: 512 * 1024,
            mesh_whole_up_to: if has([0, 32, 4]) { 32 } else { 512 } * 1024,
            mesh_scatters: has([0, 32, 4]),
            ring_spreads_above: if has([0, 32, 1]) { 32 } else { 64 } * 1024,
        }
    }

    /// `MAJOR.MINOR.PATCH`, and whether the build comes before that release.
    pub fn version(&self) -> String {
        let release = self.version.map(|part| part.to_string()).join(".");
        match self.released {
            true => release,
            false => format!("{release} (pre-release)"),
        }
    }
}

/// The error for text that is not an MLX version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a version of MLX; write three numbers, such as 0.31.2")]
pub struct BadVersion(String);

impl FromStr for Jaccl {
    type Err = BadVersion;

    /// Reads `MAJOR.MINOR.PATCH` as Python's `mlx.__version__` continues it (PEP 440):
    /// `a1`, `b1`, `rc1` and `.dev1` are builds before the release; `.post1` and a local
    /// `+label` are the release.
    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_owned());
        let (public, _local) = text.split_once('+').unwrap_or((text, ""));
        let mut rest = public;
        let mut version = [0; 3];
        for (place, number) in version.iter_mut().enumerate() {
            if place > 0 {
                rest = rest.strip_prefix('.').ok_or_else(bad)?;
            }
            let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            *number = rest[..rest.len() - digits.len()]
                .parse()
                .map_err(|_| bad())?;
            rest = digits;
        }
        let starts = |marks: &[&str]| marks.iter().any(|mark| rest.starts_with(mark));
        if rest.is_empty() || starts(&[".post"]) {
            Ok(Self::built(version, true))
        } else if starts(&["a", "b", "rc", ".dev"]) {
            Ok(Self::built(version, false))
        } else {
            Err(bad())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Jaccl, BadVersion> {
        text.parse()
    }

    #[test]
    fn a_build_before_a_release_is_not_taken_for_it() {
        let release = Jaccl::of([0, 32, 4]);
        for same in ["0.32.4", "0.32.4+cpu", "0.32.4.post1"] {
            assert_eq!(read(same), Ok(release), "{same}");
        }
        for before in [
            "0.32.4rc1",
            "0.32.4.dev20260301+abc",
            "0.32.4a1",
            "0.32.4b2",
        ] {
            let jaccl = read(before).unwrap();
            assert!(!jaccl.mesh_opens_several, "{before}");
            assert_eq!(jaccl.ring_spreads_above, release.ring_spreads_above);
            assert_eq!(jaccl.version(), "0.32.4 (pre-release)");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            "0.32",
            "0.32.",
            "0.32.4.1",
            "0.32.x",
            "v0.32.4",
            "0.32.4-rc1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
