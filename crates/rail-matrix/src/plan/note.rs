//! The notes of a plan.

use std::fmt;

use rig::units;
use serde::Serialize;

use super::RankOrder;
use crate::{Backend, Problem};

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
        why: String,
    },
    /// No address of rank 0 is known, so the other ranks cannot be given the place where
    /// it listens.
    NoCoordinator {
        /// Rank 0's node.
        node: String,
    },
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

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut {
                problem: problem @ Problem::Bridged { .. },
            } => write!(f, "warning: {problem}"),
            Self::LeftOut { problem } => write!(f, "left out: {problem}"),
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

pub(super) fn plural(count: usize, word: &str) -> String {
    if count == 1 {
        word.to_owned()
    } else {
        format!("{word}s")
    }
}

/// Up to four names, and the number of others.
pub(crate) fn listed(names: &[String]) -> String {
    let shown: Vec<_> = names
        .iter()
        .take(4)
        .map(|name| format!("'{name}'"))
        .collect();
    let more = names.len() - shown.len();
    match more {
        0 => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}
