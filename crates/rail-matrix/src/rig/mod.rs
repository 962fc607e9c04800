//! Nodes, and the cables between them.

mod check;
mod fault;
mod file;
mod read;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{natural, units::UnitError};

pub use fault::{CableFault, Defect, DeviceFault, Fault, MessageFault, NodeFault, Span};
pub use read::ReadRigError;

/// Nodes and cables, real or emulated.
///
/// A node's rank is its position in [`nodes`](Self::nodes). The link of a cable,
/// [`receiver_not_ready`](Self::receiver_not_ready), [`crossed`](Self::crossed) and
/// [`faults`](Self::faults) say how to emulate it and mean nothing on a real rig.
///
/// [`Rig::parse`] only returns rigs that make sense. A rig put together by hand
/// is checked by whoever takes it, or at once by [`Rig::check`].
///
/// Serialised, a rig has the shape of `rig.toml`; see [`Rig::to_toml`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rig {
    /// The machines, in order of rank.
    pub nodes: Vec<Node>,
    /// The physical links.
    pub cables: Vec<Cable>,
    /// What an emulated cable does with a message nobody is ready to take.
    pub receiver_not_ready: ReceiverNotReady,
    /// What becomes of an emulated queue pair that is told to reach another cable's end.
    pub crossed: Crossed,
    /// What is broken when it is emulated.
    pub faults: Vec<Fault>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Unique in the rig.
    pub name: String,
}

/// One physical link between two nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// Unique in the rig. The names order the rails of a pair.
    pub name: String,
    /// Where it is plugged in. The order of the two means nothing.
    pub ends: [End; 2],
    /// How to emulate it.
    pub link: Link,
}

/// One end of a cable: a device on a node. Written `node:device`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct End {
    /// The node's name.
    pub node: String,
    /// The RDMA device, such as `rdma_en5`.
    pub device: String,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.device)
    }
}

/// How fast an emulated cable is, in each direction on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Line rate. Never zero in a rig that passed [`Rig::check`].
    pub bytes_per_second: u64,
    /// From the last byte leaving one end to its arrival at the other.
    pub latency: Duration,
}

impl Default for Link {
    /// 50 MB/s and 20 us: slow enough that two ranks on two cores keep up with
    /// three cables, so that the cables and not the machine set the pace.
    fn default() -> Self {
        Self {
            bytes_per_second: 50_000_000,
            latency: Duration::from_micros(20),
        }
    }
}

/// What becomes of a message that arrives before a receive was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiverNotReady {
    /// It waits on the cable, as over Thunderbolt. jaccl relies on this.
    #[default]
    Wait,
    /// It is lost, as the InfiniBand specification has it for unreliable
    /// connections.
    Drop,
    /// The sender's queue pair enters the error state.
    Error,
}

/// What becomes of a queue pair whose peer's address is not at the other end of its
/// cable, as where two rails are crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crossed {
    /// What it sends leaves and arrives nowhere.
    #[default]
    BlackHole,
    /// It cannot be made ready to receive: `ibv_modify_qp` gives `ETIMEDOUT`.
    Refuse,
    /// What it sends never leaves, and so never ends.
    Stall,
}

impl Crossed {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A rig that cannot be read or makes no sense, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RigError {
    /// Line in the text the rig was parsed from, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: RigProblem,
}

impl std::error::Error for RigError {}

impl fmt::Display for RigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        self.problem.fmt(f)
    }
}

impl From<RigProblem> for RigError {
    fn from(problem: RigProblem) -> Self {
        Self {
            line: None,
            problem,
        }
    }
}

/// What is wrong with a rig, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RigProblem {
    /// Not TOML, or not a rig's fields.
    #[error("{0}")]
    Toml(String),
    /// There is no node.
    #[error("the rig has no node; add a [[node]] with a name for each machine")]
    NoNodes,
    /// A node or a cable without a name.
    #[error("{what} {position} has an empty name; give it one, such as \"{example}\"")]
    EmptyName {
        /// `node` or `cable`.
        what: &'static str,
        /// Its place among its kind, from 1.
        position: usize,
        /// A name it could have.
        example: &'static str,
    },
    /// Two nodes of one name.
    #[error("two nodes are named '{0}'; rename one, and the ends that mean it")]
    DuplicateNode(String),
    /// Two cables of one name.
    #[error("two cables are named '{0}'; rename one")]
    DuplicateCable(String),
    /// An end that is not `node:device`.
    #[error(
        "cable '{cable}' has the end '{end}'; write an end as \"node:device\", such as \"a:rdma_en5\""
    )]
    BadEnd {
        /// The cable.
        cable: String,
        /// What its end says.
        end: String,
    },
    /// An end on a node that is not in the rig.
    #[error(
        "cable '{cable}' ends on node '{node}', which the rig does not have; its nodes are {known}"
    )]
    UnknownNode {
        /// The cable.
        cable: String,
        /// The node its end names.
        node: String,
        /// The rig's nodes.
        known: String,
    },
    /// Both ends on one node.
    #[error("cable '{cable}' has both ends on node '{node}'; a cable joins two nodes")]
    BothEndsOnOneNode {
        /// The cable.
        cable: String,
        /// The node.
        node: String,
    },
    /// A device with two cables in it.
    #[error(
        "device '{end}' is used by cable '{first}' and by cable '{second}'; a device takes one cable, so correct one of the two"
    )]
    DeviceUsedTwice {
        /// The device, as `node:device`.
        end: String,
        /// The cable that names it first.
        first: String,
        /// The cable that names it again.
        second: String,
    },
    /// A bandwidth or latency that cannot be read.
    #[error("{owner}: {error}")]
    Unit {
        /// Whose it is.
        owner: String,
        /// What is wrong with it.
        error: UnitError,
    },
    /// A cable that carries nothing.
    #[error(
        "cable '{0}' has a bandwidth of zero and would never deliver; write one such as \"50 MB/s\", or leave the cable out"
    )]
    ZeroBandwidth(String),
    /// A fault on neither a device nor a cable, or on both.
    #[error("a fault is on a device, on a cable or on a node; give it one of the three")]
    FaultOnNothing,
    /// A fault on a device that is not `node:device`.
    #[error(
        "a fault is on device '{0}'; write a device as \"node:device\", such as \"a:rdma_en5\""
    )]
    FaultOnBadDevice(String),
    /// A fault on a device that no cable ends in.
    #[error(
        "a fault is on device '{device}', in which no cable of the rig ends; its devices are {known}"
    )]
    FaultOnUnknownDevice {
        /// What the fault names.
        device: String,
        /// The rig's devices.
        known: String,
    },
    /// A fault on a cable that is not in the rig.
    #[error("a fault is on cable '{cable}', which the rig does not have; its cables are {known}")]
    FaultOnUnknownCable {
        /// What the fault names.
        cable: String,
        /// The rig's cables.
        known: String,
    },
    /// A kind of fault that devices, cables or nodes do not have.
    #[error("'{kind}' is no fault of a {of}; the kinds are {known}")]
    UnknownFault {
        /// `device`, `cable` or `node`.
        of: &'static str,
        /// What the fault says.
        kind: String,
        /// The kinds there are.
        known: String,
    },
    /// A fault on a node that is not in the rig.
    #[error("a fault is on node '{node}', which the rig does not have; its nodes are {known}")]
    FaultOnUnknownNode {
        /// What the fault names.
        node: String,
        /// The rig's nodes.
        known: String,
    },
    /// A field that the fault's kind has no use for.
    #[error("'{field}' says nothing about '{kind}'; remove it")]
    StrayField {
        /// The field.
        field: &'static str,
        /// The kind of fault.
        kind: &'static str,
    },
    /// A fault without a field that its kind must have.
    #[error("'{kind}' wants more to be said; add {example}")]
    FaultLacks {
        /// The kind of fault.
        kind: &'static str,
        /// What could be said.
        example: &'static str,
    },
    /// A queue pair or message that is not counted from 0.
    #[error("{field} is {value}; write a number from 0 to 4294967295, where 0 is the first")]
    BadCount {
        /// The field.
        field: &'static str,
        /// What it says.
        value: i64,
    },
    /// A cable degraded to a bandwidth of zero.
    #[error(
        "a bandwidth of zero would never deliver; write one such as \"10 MB/s\", or make the fault kind = \"cut\""
    )]
    DegradedToNothing,
    /// A message delayed by no time.
    #[error("a message is delayed by no time; write one such as by = \"5 ms\"")]
    DelayedByNothing,
    /// A time of zero.
    #[error("{field} is zero; write a time after the start, such as \"2 s\", or leave {field} out")]
    FaultAtZero {
        /// `at` or `until`.
        field: &'static str,
    },
    /// A fault that is over before it begins.
    #[error("a fault begins at {at} and lasts until {until}; let it end after it has begun")]
    FaultEndsEarly {
        /// Its beginning.
        at: String,
        /// Its end.
        until: String,
    },
    /// A fault that is stated twice.
    #[error("the fault that {0} is stated twice for the same time; remove one of the two")]
    DuplicateFault(String),
    /// No cables asked for.
    #[error("0 cables a pair were asked for; ask for at least 1")]
    NoCablesAsked,
    /// Nothing is plugged in.
    #[error("{asked} cables a pair were asked for and the rig has none; add a [[cable]]")]
    NoCables {
        /// Cables asked for.
        asked: usize,
    },
    /// More cables asked for than a pair has.
    #[error(
        "{asked} cables a pair were asked for, but nodes '{a}' and '{b}' have {has}; ask for at most {has}, or add cables to the rig"
    )]
    TooFewCables {
        /// Cables asked for.
        asked: usize,
        /// One node of the pair.
        a: String,
        /// The other.
        b: String,
        /// Cables the pair has.
        has: usize,
    },
}

impl RigProblem {
    fn stray(field: &'static str, defect: &Defect) -> Self {
        Self::StrayField {
            field,
            kind: defect.name(),
        }
    }
}

impl Rig {
    /// The rig used when none is given: nodes `a` and `b`, joined by `cable-1`
    /// to `cable-3` on `rdma_en5` to `rdma_en7`, each of [`Link::default`].
    pub fn embedded() -> Self {
        let end = |node: &str, k: usize| End {
            node: node.to_owned(),
            device: format!("rdma_en{}", 4 + k),
        };
        Self {
            nodes: ["a", "b"]
                .map(|name| Node {
                    name: name.to_owned(),
                })
                .into(),
            cables: (1..=3)
                .map(|k| Cable {
                    name: format!("cable-{k}"),
                    ends: [end("a", k), end("b", k)],
                    link: Link::default(),
                })
                .collect(),
            receiver_not_ready: ReceiverNotReady::default(),
            crossed: Crossed::default(),
            faults: Vec::new(),
        }
    }

    /// The rank of a node, or nothing when the rig does not have it.
    pub fn rank(&self, node: &str) -> Option<usize> {
        self.nodes.iter().position(|n| n.name == node)
    }

    /// The cables between two nodes in the order of their rails: by name, with
    /// digits compared by value.
    pub fn cables_between(&self, a: &str, b: &str) -> Vec<&Cable> {
        let mut cables: Vec<_> = self
            .cables
            .iter()
            .filter(|cable| cable.joins(a, b))
            .collect();
        cables.sort_by(|x, y| natural::compare(&x.name, &y.name));
        cables
    }

    /// The number of cables that every joined pair of nodes has: the most that
    /// [`with_cables`](Self::with_cables) can be asked for. Zero in a rig
    /// without cables.
    pub fn cables_per_pair(&self) -> usize {
        self.joined_pairs()
            .map(|(_, _, cables)| cables.len())
            .min()
            .unwrap_or(0)
    }

    /// The same rig with only the first `count` rails of every joined pair, and
    /// the faults of what is left.
    ///
    /// # Errors
    /// When `count` is zero or a joined pair has fewer cables.
    pub fn with_cables(&self, count: usize) -> Result<Self, RigError> {
        if count == 0 {
            return Err(RigProblem::NoCablesAsked.into());
        }
        if self.cables.is_empty() {
            return Err(RigProblem::NoCables { asked: count }.into());
        }
        let mut kept = Vec::new();
        for (a, b, cables) in self.joined_pairs() {
            if cables.len() < count {
                let (a, b) = (a.to_owned(), b.to_owned());
                return Err(RigProblem::TooFewCables {
                    asked: count,
                    a,
                    b,
                    has: cables.len(),
                }
                .into());
            }
            kept.extend(cables.into_iter().take(count).cloned());
        }
        let mut faults = self.faults.clone();
        faults.retain(|fault| fault.defect.is_among(&kept));
        Ok(Self {
            nodes: self.nodes.clone(),
            cables: kept,
            receiver_not_ready: self.receiver_not_ready,
            crossed: self.crossed,
            faults,
        })
    }

    /// Every pair of nodes with at least one cable, lower rank first.
    fn joined_pairs(&self) -> impl Iterator<Item = (&str, &str, Vec<&Cable>)> {
        self.nodes.iter().enumerate().flat_map(move |(i, a)| {
            self.nodes[i + 1..].iter().filter_map(move |b| {
                let cables = self.cables_between(&a.name, &b.name);
                (!cables.is_empty()).then_some((a.name.as_str(), b.name.as_str(), cables))
            })
        })
    }
}

impl Cable {
    /// The end on a node, or nothing when the cable does not reach it.
    pub fn end_on(&self, node: &str) -> Option<&End> {
        self.ends.iter().find(|end| end.node == node)
    }

    /// Whether the cable joins these two nodes, in either order.
    pub fn joins(&self, a: &str, b: &str) -> bool {
        a != b && self.end_on(a).is_some() && self.end_on(b).is_some()
    }
}
