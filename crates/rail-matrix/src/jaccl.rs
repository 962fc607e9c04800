//! jaccl's limits, and what differs between the jaccls of MLX versions.

use std::str::FromStr;

/// The most rails jaccl's ring opens between two ranks. It throws above this number.
pub const MAX_RAILS: usize = 4;

/// The most ranks of jaccl's mesh (`MESH_MAX_PEERS` in `mesh_impl.h`). It throws above
/// this number.
pub const MAX_MESH: usize = 8;

/// The most nodes of a plan. A matrix has a cell for every two of them.
pub const MAX_NODES: usize = 1024;

/// What people measure of a cable of Thunderbolt 5, in bytes per second each way. Its line
/// rate is 10 GB/s; MLX's collectives and plain verbs reach 6.1 to 8 GB/s.
pub const THUNDERBOLT_5: u64 = 6_500_000_000;

/// How the jaccl of an MLX version spreads messages over wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Jaccl {
    /// Major, minor, patch of its MLX version.
    pub version: [u32; 3],
    /// Whether it is that release rather than one of the builds before it (`rc1`,
    /// `.dev`).
    pub released: bool,
    /// Whether it has this project's fixes (series patched or tuned), which mend the defects
    /// that [`DANGERS`](crate::check::DANGERS) lists.
    pub patched: bool,
    /// The patches of this project whose defects the build mends by itself.
    pub mends: &'static [&'static str],
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
            patched: true,
            mends: &[],
            mesh_opens_several: has([0, 32, 4]),
            mesh_spreads_from: 512 * 1024,
            mesh_whole_up_to: if has([0, 32, 4]) { 32 } else { 512 } * 1024,
            mesh_scatters: has([0, 32, 4]),
            ring_spreads_above: if has([0, 32, 1]) { 32 } else { 64 } * 1024,
        }
    }

    /// The jaccl of the MLX that exo pins: a build from before 0.32.0, which has a mend of
    /// its own for the mesh's sums.
    pub fn exo() -> Self {
        Self {
            mends: &["mesh-all-sum-staging"],
            ..Self::built([0, 32, 0], false)
        }
    }

    /// The same with or without this project's fixes.
    #[must_use]
    pub const fn patched(self, patched: bool) -> Self {
        Self { patched, ..self }
    }

    /// `MAJOR.MINOR.PATCH`, and whether the build comes before that release.
    pub fn version(&self) -> String {
        let release = self.version.map(|part| part.to_string()).join(".");
        match self.released {
            true => release,
            false if *self == Self::exo().patched(self.patched) => {
                format!("{release} (exo's build)")
            }
            false => format!("{release} (pre-release)"),
        }
    }
}

/// The error for text that is not an MLX version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a version of MLX; write three numbers, such as 0.31.2, or exo")]
pub struct BadVersion(String);

impl FromStr for Jaccl {
    type Err = BadVersion;

    /// Reads `MAJOR.MINOR.PATCH` as Python's `mlx.__version__` continues it (PEP 440):
    /// `a1`, `b1`, `rc1` and `.dev1` are builds before the release; `.post1` and a local
    /// `+label` are the release. `exo` is [exo's](Self::exo).
    fn from_str(text: &str) -> Result<Self, BadVersion> {
        if text == "exo" {
            return Ok(Self::exo());
        }
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
