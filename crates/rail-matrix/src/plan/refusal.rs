//! Why there is no plan.

use std::fmt;

use rig::RigError;

use super::{EXACT_ORDER, MAX_NODES, Obstacle, Options};
use crate::{MAX_MESH, MAX_RAILS, Problem};

/// Why a topology has no plan. `Display` includes the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The rig to plan for is invalid, so it has no topology.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// The description has problems, and the options do not permit leaving them out.
    #[error("{}", sentences(.0))]
    Problems(Vec<Problem>),
    /// jaccl does not open this number of rails.
    #[error("at most {asked} rails a pair were asked for; jaccl opens 1 to {MAX_RAILS}")]
    MaxRails {
        /// The number requested.
        asked: usize,
    },
    /// Fewer than two nodes can have a rank.
    #[error(
        "{has} {} can take part, and a job over cables needs two; add the others to the \
         description, or see why they were left out", if *has == 1 { "node" } else { "nodes" }
    )]
    TooFewNodes {
        /// The nodes that can have a rank.
        has: usize,
    },
    /// There are more nodes than a matrix can have.
    #[error("{has} nodes are more than the {MAX_NODES} that a plan can have; plan for fewer")]
    TooManyNodes {
        /// The number of nodes that can have a rank.
        has: usize,
    },
    /// A ring was requested but is not possible.
    #[error("there is no ring: {0}")]
    NoRing(Obstacle),
    /// A mesh was requested but is not possible.
    #[error("there is no mesh: {0}; {remedy}, or use a ring", remedy = .0.remedy())]
    NoMesh(MeshObstacle),
    /// Neither backend can join the nodes.
    #[error("the nodes cannot be joined. No ring: {ring}. No mesh: {mesh}")]
    NoBackend {
        /// Why a ring is not possible.
        ring: Obstacle,
        /// Why a mesh is not possible.
        mesh: MeshObstacle,
    },
}

/// The obstacle to a mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MeshObstacle {
    /// No cable joins two nodes.
    NotJoined(String, String),
    /// There are more nodes than [`MAX_MESH`].
    TooManyRanks(usize),
}

impl MeshObstacle {
    fn remedy(&self) -> &'static str {
        match self {
            Self::NotJoined(..) => "add one",
            Self::TooManyRanks(_) => "plan for fewer nodes",
        }
    }
}

impl fmt::Display for MeshObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJoined(a, b) => {
                write!(f, "nodes '{a}' and '{b}' have no usable cable between them")
            }
            Self::TooManyRanks(ranks) => {
                write!(
                    f,
                    "jaccl joins at most {MAX_MESH} ranks as a mesh, and there are {ranks}"
                )
            }
        }
    }
}

impl Options {
    pub(super) fn check(&self) -> Result<(), PlanError> {
        match self.max_rails {
            1..=MAX_RAILS => Ok(()),
            asked => Err(PlanError::MaxRails { asked }),
        }
    }
}

fn sentences(problems: &[Problem]) -> String {
    let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
    problems.join("\n")
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJoined(a, b) => write!(
                f,
                "nodes '{a}' and '{b}' are neighbours in the order given and have no usable \
                 cable; add one, or let the order be chosen"
            ),
            Self::Apart(groups) => write!(
                f,
                "no cable joins {}; add two, or leave nodes out",
                joined(groups.iter().map(|group| quoted(group)), " with ")
            ),
            Self::DeadEnds(nodes) => write!(
                f,
                "{} {} one neighbour or none, and a ring passes every node once; add a cable to \
                 another node",
                quoted(nodes),
                if nodes.len() == 1 { "has" } else { "have" }
            ),
            Self::Bottleneck { node, groups } => write!(
                f,
                "only '{node}' joins {}, and a ring would pass it twice; add a cable between the \
                 two sides",
                joined(groups.iter().map(|group| quoted(group)), " with ")
            ),
            Self::NoOrder => f.write_str("no order of the nodes closes one; add a cable"),
            Self::NotFound => write!(
                f,
                "none was found among more than {EXACT_ORDER} nodes, where the search is not \
                 exhaustive; pin an order that you know, or add a cable"
            ),
        }
    }
}

/// Up to eight names, and the number of others.
fn quoted(names: &[String]) -> String {
    let shown = names.iter().take(8).map(|name| format!("'{name}'"));
    let shown = joined(shown, ", ");
    match names.len() {
        ..=8 => shown,
        many => format!("{shown} and {} more", many - 8),
    }
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}
