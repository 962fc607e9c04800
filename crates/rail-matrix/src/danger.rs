//! Defects of the jaccls of MLX versions, and the matrices that meet them.
//!
//! Every defect has a patch of this project that mends it. The patches' own statements of
//! what they mend are compared with this table in a test.

use std::fmt;

use serde::Serialize;

use crate::{Backend, Jaccl};

/// A defect of jaccl that a group meets even if its matrix is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Danger {
    /// The patch that mends it.
    pub patch: &'static str,
    /// What an operation does that meets it.
    pub effect: Effect,
    /// Whether jobs meet it in ordinary work. Otherwise it takes an unusual message, or
    /// another failure.
    pub ordinary: bool,
    /// The operations concerned.
    pub what: &'static str,
    /// The first version that has it, of those examined.
    #[serde(skip)]
    from: [u32; 3],
    /// The first later version without it.
    #[serde(skip)]
    until: Option<[u32; 3]>,
    #[serde(skip)]
    meets: Meets,
}

/// What an operation does that meets a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Effect {
    /// It does not return.
    Hang,
    /// It returns with wrong bytes.
    Wrong,
    /// It writes outside of its arrays.
    Overrun,
    /// The process ends.
    Crash,
    /// It fails although nothing is wrong.
    Error,
}

impl Effect {
    /// The word of the verdicts of rail-verify.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::Wrong => "wrong",
            Self::Overrun => "overrun",
            Self::Crash => "crash",
            Self::Error => "error",
        }
    }
}

/// The groups that meet a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meets {
    Every,
    Mesh,
    Ring,
    RingOfSeveralRails,
    SeveralRails,
    ThreeRanks,
}

impl Meets {
    fn is_met(self, backend: Backend, ranks: usize, rails: usize) -> bool {
        match self {
            Self::Every => true,
            Self::Mesh => backend == Backend::Mesh,
            Self::Ring => backend == Backend::Ring,
            Self::RingOfSeveralRails => backend == Backend::Ring && rails > 1,
            Self::SeveralRails => rails > 1,
            Self::ThreeRanks => ranks > 2,
        }
    }
}

/// Every defect that depends on the group alone.
pub const DANGERS: &[Danger] = &[
    Danger {
        patch: "ring-recv-prefill",
        effect: Effect::Hang,
        ordinary: true,
        what: "receives over several rails that do not fill every rail's pipeline: pipeline \
               parallelism's",
        from: [0, 0, 0],
        until: Some([0, 32, 0]),
        meets: Meets::RingOfSeveralRails,
    },
    Danger {
        patch: "mesh-all-sum-staging",
        effect: Effect::Wrong,
        ordinary: true,
        what: "sums of more than two frames",
        from: [0, 0, 0],
        until: Some([0, 32, 0]),
        meets: Meets::Mesh,
    },
    Danger {
        patch: "ring-all-gather-halves",
        effect: Effect::Wrong,
        ordinary: true,
        what: "every all_gather",
        from: [0, 32, 1],
        until: Some([0, 32, 3]),
        meets: Meets::Ring,
    },
    Danger {
        patch: "ring-all-gather-limits",
        effect: Effect::Overrun,
        ordinary: false,
        what: "an all_gather of fewer bytes than there are rails",
        from: [0, 0, 0],
        until: Some([0, 32, 1]),
        meets: Meets::RingOfSeveralRails,
    },
    Danger {
        patch: "mesh-all-gather-64-bit",
        effect: Effect::Crash,
        ordinary: false,
        what: "an all_gather of 2 GiB a rank and more",
        from: [0, 0, 0],
        until: None,
        meets: Meets::Mesh,
    },
    Danger {
        patch: "ring-zero-length",
        effect: Effect::Crash,
        ordinary: false,
        what: "a collective of an empty array",
        from: [0, 0, 0],
        until: None,
        meets: Meets::Ring,
    },
    Danger {
        patch: "side-channel-backlog",
        effect: Effect::Error,
        ordinary: false,
        what: "the start, where several ranks meet the coordinator at once (on Linux)",
        from: [0, 0, 0],
        until: None,
        meets: Meets::ThreeRanks,
    },
    Danger {
        patch: "unchecked-verbs",
        effect: Effect::Wrong,
        ordinary: false,
        what: "an operation whose send or receive fails, as when a cable is pulled",
        from: [0, 0, 0],
        until: None,
        meets: Meets::Every,
    },
    Danger {
        patch: "pooled-wire-errors",
        effect: Effect::Wrong,
        ordinary: false,
        what: "an operation over several rails of which one fails",
        from: [0, 32, 1],
        until: None,
        meets: Meets::SeveralRails,
    },
];

/// The patches that mend what no right matrix meets: a device, a rank or a library that is
/// not there, or a matrix without devices, which has a rule of its own.
pub const NOT_OF_A_MATRIX: &[&str] = &[
    "bad-rank",
    "liveness",
    "missing-device",
    "missing-gid",
    "no-devices",
    "no-library",
    "no-wires",
];

impl Danger {
    /// Whether a jaccl without our patches has the defect. The versions examined are
    /// 0.31.2, 0.32.0, 0.32.1, 0.32.2 and 0.32.4. A build before a release may lack the
    /// mends of that release.
    pub fn is_in(&self, jaccl: &Jaccl) -> bool {
        let before = |release| (jaccl.version, jaccl.released) < (release, true);
        let of_its_own = jaccl.mends.contains(&self.patch);
        jaccl.version >= self.from && self.until.is_none_or(before) && !of_its_own
    }

    /// Whether a group meets the defect.
    pub fn is_met(&self, backend: Backend, ranks: usize, rails: usize) -> bool {
        self.meets.is_met(backend, ranks, rails)
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Hang => "does not return",
            Effect::Wrong => "returns wrong bytes",
            Effect::Overrun => "writes outside of its arrays",
            Effect::Crash => "crashes",
            Effect::Error => "can fail",
        };
        write!(
            f,
            "jaccl of this MLX, without our patch {}, {effect}: {}",
            self.patch, self.what
        )
    }
}
