//! The notes of a plan.

use std::fmt;

use rig::units;
use serde::Serialize;

use super::{
    options::RankOrder,
    refusal::{MeshObstacle, Obstacle},
};
use crate::{
    Backend, DialectError, Problem,
    words::{listed, plural},
};

/// Information about a plan for its user. `Display` is a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Note {
    /// A part of the description was left out.
    LeftOut {
        /// The part, and why.
        problem: Problem,
    },
    /// A part of the description may not work, and was kept.
    Warning {
        /// The part, and why.
        problem: Problem,
    },
    /// Cables that only one of their ends states were taken for cables.
    Accepted {
        /// The cables, by name.
        cables: Vec<String>,
    },
    /// Cables of Thunderbolt 5 count as carrying less than their line rate.
    Measured {
        /// What they count as, in bytes per second.
        bytes_per_second: u64,
        /// The line rate.
        line_bytes_per_second: u64,
    },
    /// A variable of the description's environment is left out, because the plan sets it.
    Overridden {
        /// The variable, as `NAME=VALUE`.
        variable: String,
    },
    /// A node has no rank.
    NodeLeftOut {
        /// The node.
        node: String,
    },
    /// The plan leaves out cables between two neighbours.
    Spare {
        /// The two nodes.
        pair: [String; 2],
        /// The cables, by name.
        cables: Vec<String>,
        /// Why they are unused.
        why: Spare,
    },
    /// Pairs none of whose cables the ring uses, because they are not neighbours on it.
    NotNeighbours {
        /// The two nodes of each.
        pairs: Vec<[String; 2]>,
    },
    /// How the order of the ranks was determined.
    Order {
        /// Whether it is pinned or chosen.
        order: RankOrder,
        /// Rails on each link of the ring.
        rails: usize,
        /// Bytes per second of the ring's narrowest link, where rates are known.
        narrowest: Option<u64>,
        /// The upper bound for any ring of these nodes, if it was computed and is more
        /// than `narrowest`.
        at_most: Option<u64>,
    },
    /// Why this backend was chosen.
    Backend {
        /// The backend.
        backend: Backend,
        /// The reason.
        why: Why,
    },
    /// No address of rank 0 is known, so the other ranks cannot be given the place where
    /// it listens.
    NoCoordinator {
        /// Rank 0's node.
        node: String,
    },
}

/// Why a backend was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Why {
    /// It was asked for.
    Asked,
    /// There is no ring.
    NoRing {
        /// Why not.
        obstacle: Obstacle,
    },
    /// There is no mesh.
    NoMesh {
        /// Why not.
        obstacle: MeshObstacle,
    },
    /// The better plan cannot be carried by the shape of exo's that was asked for.
    NotCarried {
        /// Why not.
        error: DialectError,
    },
    /// It is estimated to be the faster one.
    Estimate {
        /// A ring's estimate.
        ring: Estimate,
        /// A mesh's.
        mesh: Estimate,
        /// The MLX version.
        mlx: String,
        /// What a cable of unknown rate is taken for, in bytes per second, if no rate is
        /// known.
        assumed_bytes_per_second: Option<u64>,
    },
}

/// The estimated speed of all-reduces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Estimate {
    /// Rails a link, or wires to each peer.
    pub rails: usize,
    /// What is estimated.
    #[serde(flatten)]
    pub speed: Speed,
}

/// A rate, or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Speed {
    /// Of large all-reduces.
    BytesPerSecond(u64),
    /// Of one all-reduce of each size that the job issues.
    Nanoseconds(u64),
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BytesPerSecond(rate) => f.write_str(&units::about_rate(rate)),
            Self::Nanoseconds(time) => write!(f, "{:.1} us", time as f64 / 1e3),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("asked for"),
            Self::NoRing { obstacle } => write!(f, "no ring: {obstacle}"),
            Self::NoMesh { obstacle } => write!(f, "no mesh: {obstacle}"),
            Self::NotCarried { error } => f.write_str(&error.why()),
            Self::Estimate {
                ring,
                mesh,
                mlx,
                assumed_bytes_per_second,
            } => {
                let what = match ring.speed {
                    Speed::BytesPerSecond(_) => "large all-reduces reach",
                    Speed::Nanoseconds(_) => "an all-reduce of each size given takes",
                };
                write!(
                    f,
                    "{what} an estimated {} on a ring of {} {} a link, {} on a mesh of {} {} to \
                     each peer (MLX {mlx}",
                    ring.speed,
                    ring.rails,
                    plural(ring.rails, "rail"),
                    mesh.speed,
                    mesh.rails,
                    plural(mesh.rails, "wire"),
                )?;
                match assumed_bytes_per_second {
                    Some(assumed) => write!(
                        f,
                        "; a cable taken for {}, which people measure of Thunderbolt 5)",
                        units::about_rate(*assumed)
                    ),
                    None => f.write_str(")"),
                }
            }
        }
    }
}

/// Why a cable between two ranks is unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Spare {
    /// There are more cables than jaccl opens, or than were requested.
    Cap {
        /// The maximum.
        max_rails: usize,
    },
    /// Every link has the same number of rails, and some link has no more cables.
    EqualCounts {
        /// The number of cables of the link with the fewest.
        rails: usize,
    },
    /// Fewer rails without this slower cable are faster than all rails with it.
    Slower {
        /// The number of rails used.
        rails: usize,
    },
    /// The mesh of this MLX version opens this many wires to each peer.
    MeshWires {
        /// The number of wires.
        wires: usize,
    },
}

impl Note {
    /// The note for a problem of the description.
    pub fn of(problem: Problem) -> Self {
        match problem.is_warning() {
            true => Self::Warning { problem },
            false => Self::LeftOut { problem },
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut { problem } => write!(f, "left out: {problem}"),
            Self::Warning { problem } => write!(f, "warning: {problem}"),
            Self::Accepted { cables } => write!(
                f,
                "{} accepted, although one end alone states {}",
                listed(cables),
                if cables.len() == 1 { "it" } else { "each" }
            ),
            Self::Measured {
                bytes_per_second,
                line_bytes_per_second,
            } => write!(
                f,
                "a cable of {} is taken for the {} that people measure of it",
                units::about_rate(*line_bytes_per_second),
                units::about_rate(*bytes_per_second)
            ),
            Self::Overridden { variable } => write!(
                f,
                "'{variable}' of the description's environment is left out, because the plan sets \
                 that variable"
            ),
            Self::NodeLeftOut { node } => write!(f, "node '{node}' takes no part"),
            Self::Spare {
                pair: [a, b],
                cables,
                why,
            } => {
                write!(
                    f,
                    "{} between '{a}' and '{b}' not used: {why}",
                    listed(cables)
                )
            }
            Self::NotNeighbours { pairs } => {
                let pairs: Vec<_> = pairs.iter().map(|[a, b]| format!("{a} = {b}")).collect();
                write!(
                    f,
                    "the cables of {} not used: the two are no neighbours on the ring",
                    listed(&pairs)
                )
            }
            Self::Order {
                order,
                rails,
                narrowest,
                at_most,
            } => {
                let how = match order {
                    RankOrder::Pinned => "ranks are in the order given",
                    RankOrder::Widest => "ranks are in the order of the widest ring",
                };
                write!(f, "{how}: {rails} {} a link", plural(*rails, "rail"))?;
                if let Some(narrowest) = narrowest {
                    write!(f, ", its narrowest {}", units::about_rate(*narrowest))?;
                }
                match at_most {
                    Some(at_most) => write!(
                        f,
                        " (found by search; no order of these nodes exceeds {})",
                        units::about_rate(*at_most)
                    ),
                    None => Ok(()),
                }
            }
            Self::Backend { backend, why } => write!(f, "{backend}: {why}"),
            Self::NoCoordinator { node } => write!(
                f,
                "no address of rank 0 (node '{node}') is known; set MLX_JACCL_COORDINATOR to \
                 ADDRESS:PORT of it yourself"
            ),
        }
    }
}

impl fmt::Display for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cap { max_rails } => write!(
                f,
                "a pair gets at most {max_rails} {}",
                plural(*max_rails, "rail")
            ),
            Self::EqualCounts { rails } => write!(
                f,
                "every link has as many rails, and the one with the fewest cables has {rails}"
            ),
            Self::Slower { rails } => write!(
                f,
                "rails carry equal shares, so {rails} without the slower are faster than all"
            ),
            Self::MeshWires { wires } => write!(
                f,
                "the mesh of this MLX opens {wires} {} to each peer",
                plural(*wires, "wire")
            ),
        }
    }
}
