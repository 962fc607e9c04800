//! Why there is no plan.

use std::fmt;

use rig::RigError;
use serde::Serialize;

use crate::{
    DialectError, MAX_MESH, MAX_NODES, MAX_RAILS, Problem,
    topology::sentences,
    words::{joined, listed, plural, some_of},
};

/// The most nodes for which the best order of ranks is guaranteed. It takes O(n² 2ⁿ)
/// steps, some five hundred thousand for 12.
pub const EXACT_ORDER: usize = 12;

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
        "{has} {} can take part, and a job over cables needs two{}", plural(*has, "node"),
        left_out.or("add the others to the description")
    )]
    TooFewNodes {
        /// The nodes that can have a rank.
        has: usize,
        /// What was left out.
        left_out: LeftOut,
    },
    /// There are more nodes than a matrix can have.
    #[error("{has} nodes are more than the {MAX_NODES} that a plan can have; plan for fewer")]
    TooManyNodes {
        /// The number of nodes that can have a rank.
        has: usize,
    },
    /// A ring was requested but is not possible.
    #[error("there is no ring: {obstacle}{}", left_out.or(obstacle.remedy()))]
    NoRing {
        /// Why not.
        obstacle: Obstacle,
        /// What was left out.
        left_out: LeftOut,
    },
    /// A mesh was requested but is not possible.
    #[error(
        "there is no mesh: {obstacle}{}",
        left_out.or(&format!("{}, or use a ring", obstacle.remedy()))
    )]
    NoMesh {
        /// Why not.
        obstacle: MeshObstacle,
        /// What was left out.
        left_out: LeftOut,
    },
    /// Neither backend can join the nodes.
    #[error(
        "the nodes cannot be joined. No ring: {ring}. No mesh: {mesh}{}",
        left_out.or(ring.remedy())
    )]
    NoBackend {
        /// Why a ring is not possible.
        ring: Obstacle,
        /// Why a mesh is not possible.
        mesh: MeshObstacle,
        /// What was left out.
        left_out: LeftOut,
    },
    /// The shape of exo's that was asked for can carry no plan.
    #[error(transparent)]
    NotCarried(#[from] DialectError),
}

/// The problems of the parts of a description that were left out: often the reason why
/// there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut(pub Box<[Problem]>);

impl PlanError {
    /// The problems of the parts that were left out. The message has a sentence for each
    /// kind of them.
    pub fn left_out(&self) -> &[Problem] {
        match self {
            Self::TooFewNodes { left_out, .. }
            | Self::NoRing { left_out, .. }
            | Self::NoMesh { left_out, .. }
            | Self::NoBackend { left_out, .. } => &left_out.0,
            _ => &[],
        }
    }
}

impl LeftOut {
    /// What comes after the reason why there is no plan. A user who has cables is not
    /// advised to add some: the remedy is that of the cables that were left out.
    fn or(&self, remedy: &str) -> String {
        let Self(problems) = self;
        if problems.is_empty() {
            return format!("; {remedy}");
        }
        let mut kinds: Vec<(&Problem, Vec<String>)> = Vec::new();
        for problem in problems {
            let same = kinds.iter_mut().find(|(first, _)| first.is_like(problem));
            match same {
                Some((_, more)) => more.push(problem.subject()),
                None => kinds.push((problem, Vec::new())),
            }
        }
        let told = kinds.into_iter().map(|(first, more)| match &more[..] {
            [] => first.to_string(),
            more => format!("{first} (likewise {})", listed(more)),
        });
        format!(". Left out: {}", joined(told, ". "))
    }
}

/// The obstacle to a ring, in names of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "nodes", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Obstacle<Node = String> {
    /// No cable joins two neighbours of a pinned order.
    NotJoined(Node, Node),
    /// No cable joins these groups of nodes.
    Apart(Vec<Vec<Node>>),
    /// These nodes have fewer than two neighbours: a ring would have to pass the
    /// neighbour twice.
    DeadEnds(Vec<Node>),
    /// Every path between these groups passes this node.
    Bottleneck {
        /// The node.
        node: Node,
        /// The groups that only this node joins.
        groups: Vec<Vec<Node>>,
    },
    /// No order of the nodes forms a ring.
    NoOrder,
    /// The search was inconclusive; a ring may exist.
    NotFound,
}

impl<Node> Obstacle<Node> {
    /// The same obstacle, with its nodes renamed.
    pub(crate) fn map<Other>(self, name: impl Fn(Node) -> Other) -> Obstacle<Other> {
        let all = |nodes: Vec<Node>| nodes.into_iter().map(&name).collect();
        match self {
            Self::NotJoined(a, b) => Obstacle::NotJoined(name(a), name(b)),
            Self::Apart(groups) => Obstacle::Apart(groups.into_iter().map(all).collect()),
            Self::DeadEnds(nodes) => Obstacle::DeadEnds(all(nodes)),
            Self::Bottleneck { node, groups } => Obstacle::Bottleneck {
                node: name(node),
                groups: groups.into_iter().map(all).collect(),
            },
            Self::NoOrder => Obstacle::NoOrder,
            Self::NotFound => Obstacle::NotFound,
        }
    }
}

/// The obstacle to a mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "nodes", rename_all = "kebab-case")]
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

impl Obstacle {
    fn remedy(&self) -> &'static str {
        match self {
            Self::NotJoined(..) => "add a cable, or let the order be chosen",
            Self::Apart(_) => "add two cables between them, or leave nodes out",
            Self::DeadEnds(_) => "add a cable to another node",
            Self::Bottleneck { .. } => "add a cable between the two sides",
            Self::NoOrder => "add a cable",
            Self::NotFound => "pin an order that you know, or add a cable",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The most names of a group.
        const SHOWN: usize = 8;
        let sides = |groups: &[Vec<String>]| {
            joined(groups.iter().map(|group| some_of(group, SHOWN)), " with ")
        };
        match self {
            Self::NotJoined(a, b) => write!(
                f,
                "nodes '{a}' and '{b}' are neighbours in the order given and have no usable cable"
            ),
            Self::Apart(groups) => write!(f, "no usable cable joins {}", sides(groups)),
            Self::DeadEnds(nodes) => write!(
                f,
                "{} {} one neighbour or none, and a ring passes every node once",
                some_of(nodes, SHOWN),
                if nodes.len() == 1 { "has" } else { "have" }
            ),
            Self::Bottleneck { node, groups } => write!(
                f,
                "only '{node}' joins {}, and a ring would pass it twice",
                sides(groups)
            ),
            Self::NoOrder => f.write_str("no order of the nodes closes one"),
            Self::NotFound => write!(
                f,
                "none was found among more than {EXACT_ORDER} nodes, where the search is not \
                 exhaustive"
            ),
        }
    }
}
