//! Nodes, the cables between them, and how to emulate them: `rig.toml`.
//!
//! One description feeds the planner of matrices, the emulated cables and the benchmark.
//! The crate also has what such descriptions are written in: [`units`], and the
//! [order](natural) of names.
//!
//! It is pure: text and values in, values out. Only [`Rig::read`] opens a file.
#![forbid(unsafe_code)]

mod check;
mod fault;
mod file;
pub mod natural;
mod read;
mod rules;
pub mod units;

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::units::UnitError;

pub use fault::{CableFault, Defect, DeviceFault, Fault, MessageFault, NodeFault, Span, Unplugged};
pub use read::ReadRigError;
pub use rules::{Crossed, Likeness, Profile, ReceiverNotReady, Rules};

/// Nodes and cables, real or emulated.
///
/// A node's rank is its position in [`nodes`](Self::nodes). [`rules`](Self::rules) and
/// [`faults`](Self::faults) describe how to emulate it and have no effect on real cables.
///
/// [`Rig::parse`] returns only valid rigs. A rig built by hand is checked by the
/// functions that take it, or at once by [`Rig::check`].
///
/// Serialised, a rig has the shape of `rig.toml`; see [`Rig::to_toml`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rig {
    /// The machines, in order of rank.
    pub nodes: Vec<Node>,
    /// The physical links.
    pub cables: Vec<Cable>,
    /// What emulated devices allow and do.
    pub rules: Rules,
    /// The faults of the emulated rig.
    pub faults: Vec<Fault>,
    /// Whether the cables are emulated.
    pub kind: Cables,
}

/// Whether the cables of a rig exist.
///
/// A rig without a word about it has real cables if one of its nodes is reached by `ssh`.
/// A rig can have such nodes and emulated cables: processes on hosts that share memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cables {
    /// By `softrail`.
    Emulated,
    /// They are plugged in.
    Real,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Node {
    /// Unique in the rig.
    pub name: String,
    /// What `ssh` calls the machine, `~/.ssh/config` included. Without it, the machine that
    /// the command runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// The address at which ranks on other nodes reach this one: rank 0 listens there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The folder on the node for the programs that ranks need: absolute, or below the
    /// user's home. Without it, `.cache/mlx-rails/stage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<PathBuf>,
    /// The folder on the node with the folders of models. Without it, a model is where it is
    /// on the machine that the command runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<PathBuf>,
}

/// One physical link between two nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cable {
    /// Unique in the rig. The names order the rails of a pair.
    pub name: String,
    /// The two ends, in either order.
    pub ends: [End; 2],
    /// What it carries: how to emulate it, and of a real one its roofline.
    pub link: Link,
}

/// One end of a cable: a device on a node. Written `node:device`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
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

/// The properties of a cable, in each direction on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Line rate. Never zero in a rig that passed [`Rig::check`].
    pub bytes_per_second: u64,
    /// From the last byte leaving one end to its arrival at the other.
    pub latency: Duration,
}

impl Link {
    /// A Thunderbolt 5 cable: 80 Gb/s, and half of the 10 us that a round trip was seen to
    /// take.
    pub const THUNDERBOLT: Self = Self {
        bytes_per_second: 10_000_000_000,
        latency: Duration::from_micros(5),
    };
}

impl Default for Link {
    /// 50 MB/s and 20 us: slow enough that two ranks on two cores keep up with three
    /// cables, so that the cables rather than the machine limit the rate.
    fn default() -> Self {
        Self {
            bytes_per_second: 50_000_000,
            latency: Duration::from_micros(20),
        }
    }
}

/// Why a rig cannot be read or is invalid, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RigError {
    /// Line in the text the rig was parsed from, from 1.
    pub line: Option<usize>,
    /// The problem.
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

/// A problem with a rig, with its remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RigProblem {
    /// Not TOML, or not the fields of a rig.
    #[error("{0}")]
    Toml(String),
    /// The rig has no node.
    #[error("the rig has no node; add a [[node]] with a name for each machine")]
    NoNodes,
    /// A node or a cable without a name.
    #[error("{what} {position} has an empty name; give it one, such as \"{example}\"")]
    EmptyName {
        /// `node` or `cable`.
        what: &'static str,
        /// Its position among its kind, from 1.
        position: usize,
        /// An example of a name.
        example: &'static str,
    },
    /// Two nodes have the same name.
    #[error("two nodes are named '{0}'; rename one, and the ends that mean it")]
    DuplicateNode(String),
    /// Two cables have the same name.
    #[error("two cables are named '{0}'; rename one")]
    DuplicateCable(String),
    /// Two nodes are reached by one name of `ssh`, or are both this machine.
    #[error(
        "nodes '{first}' and '{second}' are one machine ({}); a cable joins two, so correct one of them",
        match .ssh { Some(ssh) => format!("ssh = \"{ssh}\""), None => "both without ssh".to_owned() }
    )]
    OneMachine {
        /// The node that names it first.
        first: String,
        /// The node that names it again.
        second: String,
        /// The name.
        ssh: Option<String>,
    },
    /// Two nodes have one address.
    #[error("nodes '{first}' and '{second}' have the address {address}; correct one of them")]
    AddressTwice {
        /// The node that names it first.
        first: String,
        /// The node that names it again.
        second: String,
        /// The address.
        address: IpAddr,
    },
    /// A node that others have to reach has no address, or one that no other machine can
    /// reach.
    #[error(
        "node '{node}' {}; write the one at which the other nodes reach it, such as address = \"192.168.1.10\"",
        match .address { Some(address) => format!("has the address {address}, which is its own alone"), None => "has no address".to_owned() }
    )]
    NoAddress {
        /// The node.
        node: String,
        /// Its address.
        address: Option<IpAddr>,
    },
    /// A name of `ssh` that `ssh` would take for a flag, or none.
    #[error("node '{node}' has ssh = \"{ssh}\"; write what `ssh` calls the machine")]
    BadHost {
        /// The node.
        node: String,
        /// The name.
        ssh: String,
    },
    /// Faults of a rig whose cables are real.
    #[error("a real cable has no [[fault]]; remove it, or write cables = \"emulated\" at the top")]
    FaultOnRealCables,
    /// An end that is not `node:device`.
    #[error(
        "cable '{cable}' has the end '{end}'; write an end as \"node:device\", such as \"a:rdma_en5\""
    )]
    BadEnd {
        /// The cable.
        cable: String,
        /// The end as written.
        end: String,
    },
    /// An end names a node that is not in the rig.
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
    /// Both ends are on one node.
    #[error("cable '{cable}' has both ends on node '{node}'; a cable joins two nodes")]
    BothEndsOnOneNode {
        /// The cable.
        cable: String,
        /// The node.
        node: String,
    },
    /// Two cables end in one device.
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
        /// The cable or fault that it belongs to.
        owner: String,
        /// The problem with it.
        error: UnitError,
    },
    /// A cable has a bandwidth of zero.
    #[error(
        "cable '{0}' has a bandwidth of zero and would never deliver; write one such as \"50 MB/s\", or leave the cable out"
    )]
    ZeroBandwidth(String),
    /// A rule that the profile does not have.
    #[error(
        "'{rule}' says nothing about profile \"{profile}\"; remove it, or write profile = \"{other}\""
    )]
    RuleOfOtherProfile {
        /// The rule.
        rule: &'static str,
        /// The rig's profile.
        profile: &'static str,
        /// The profile that has the rule.
        other: &'static str,
    },
    /// The IPv4-mapped GID is at index 0, where the link-local one is, or beyond the table.
    #[error("gid_index is {0}; write an index from 1 to 7, where 1 is usual")]
    BadGidIndex(u8),
    /// A fault names neither a device nor a cable, or both.
    #[error("a fault is on a device, on a cable or on a node; give it one of the three")]
    FaultOnNothing,
    /// A fault names a device that is not `node:device`.
    #[error(
        "a fault is on device '{0}'; write a device as \"node:device\", such as \"a:rdma_en5\""
    )]
    FaultOnBadDevice(String),
    /// A fault names a device that no cable ends in.
    #[error(
        "a fault is on device '{device}', in which no cable of the rig ends; its devices are {known}"
    )]
    FaultOnUnknownDevice {
        /// The device that the fault names.
        device: String,
        /// The rig's devices.
        known: String,
    },
    /// A fault names a cable that is not in the rig.
    #[error("a fault is on cable '{cable}', which the rig does not have; its cables are {known}")]
    FaultOnUnknownCable {
        /// The cable that the fault names.
        cable: String,
        /// The rig's cables.
        known: String,
    },
    /// The kind of fault does not exist for devices, cables or nodes.
    #[error("'{kind}' is no fault of a {of}; the kinds are {known}")]
    UnknownFault {
        /// `device`, `cable` or `node`.
        of: &'static str,
        /// The kind as written.
        kind: String,
        /// The existing kinds.
        known: String,
    },
    /// A fault names a node that is not in the rig.
    #[error("a fault is on node '{node}', which the rig does not have; its nodes are {known}")]
    FaultOnUnknownNode {
        /// The node that the fault names.
        node: String,
        /// The rig's nodes.
        known: String,
    },
    /// A field that the fault's kind does not use.
    #[error("'{field}' says nothing about '{kind}'; remove it")]
    StrayField {
        /// The field.
        field: &'static str,
        /// The kind of fault.
        kind: &'static str,
    },
    /// A fault lacks a field that its kind requires.
    #[error("'{kind}' wants more to be said; add {example}")]
    FaultLacks {
        /// The kind of fault.
        kind: &'static str,
        /// Examples of the field.
        example: &'static str,
    },
    /// A queue pair or message number is not an integer from 0.
    #[error("{field} is {value}; write a number from 0 to 4294967295, where 0 is the first")]
    BadCount {
        /// The field.
        field: &'static str,
        /// The value as written.
        value: i64,
    },
    /// A cable is degraded to a bandwidth of zero.
    #[error(
        "a bandwidth of zero would never deliver; write one such as \"10 MB/s\", or make the fault kind = \"cut\""
    )]
    DegradedToNothing,
    /// A message is delayed by zero.
    #[error("a message is delayed by no time; write one such as by = \"5 ms\"")]
    DelayedByNothing,
    /// A time of zero.
    #[error("{field} is zero; write a time after the start, such as \"2 s\", or leave {field} out")]
    FaultAtZero {
        /// `at` or `until`.
        field: &'static str,
    },
    /// A fault ends before it begins.
    #[error("a fault begins at {at} and lasts until {until}; let it end after it has begun")]
    FaultEndsEarly {
        /// Its beginning.
        at: String,
        /// Its end.
        until: String,
    },
    /// A fault is stated twice.
    #[error("the fault that {0} is stated twice for the same time; remove one of the two")]
    DuplicateFault(String),
    /// Zero cables were requested.
    #[error("0 cables a pair were asked for; ask for at least 1")]
    NoCablesAsked,
    /// The rig has no cables.
    #[error("{asked} cables a pair were asked for and the rig has none; add a [[cable]]")]
    NoCables {
        /// The number of cables requested.
        asked: usize,
    },
    /// More cables were requested than a pair has.
    #[error(
        "{asked} cables a pair were asked for, but nodes '{a}' and '{b}' have {has}; ask for at most {has}, or add cables to the rig"
    )]
    TooFewCables {
        /// The number of cables requested.
        asked: usize,
        /// One node of the pair.
        a: String,
        /// The other.
        b: String,
        /// The number of cables that the pair has.
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

impl Node {
    /// A node of which nothing but the name is known.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// The same, reached by this name of `ssh`.
    #[must_use]
    pub fn by_ssh(self, name: impl Into<String>) -> Self {
        Self {
            ssh: Some(name.into()),
            ..self
        }
    }

    /// The same, reached by other ranks at this address.
    #[must_use]
    pub fn at(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }
}

impl Cable {
    /// A cable between two devices.
    pub fn new(name: impl Into<String>, ends: [End; 2], link: Link) -> Self {
        let name = name.into();
        Self { name, ends, link }
    }
}

impl Rig {
    /// A rig with the default rules and without faults.
    pub fn new(nodes: Vec<Node>, cables: Vec<Cable>) -> Self {
        Self {
            nodes,
            cables,
            rules: Rules::default(),
            faults: Vec::new(),
            kind: Cables::Emulated,
        }
    }

    /// The same with other [`rules`](Self::rules).
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The same with cables of this kind.
    #[must_use]
    pub fn with_kind(self, kind: Cables) -> Self {
        Self { kind, ..self }
    }

    /// The same with other [`faults`](Self::faults).
    #[must_use]
    pub fn with_faults(self, faults: Vec<Fault>) -> Self {
        Self { faults, ..self }
    }

    /// The rig used when none is given: nodes `a` and `b`, joined by `cable-1`
    /// to `cable-3` on `rdma_en5` to `rdma_en7`, each of [`Link::default`].
    pub fn embedded() -> Self {
        let end = |node: &str, k: usize| End {
            node: node.to_owned(),
            device: format!("rdma_en{}", 4 + k),
        };
        Self {
            nodes: ["a", "b"].map(Node::new).into(),
            cables: (1..=3)
                .map(|k| Cable {
                    name: format!("cable-{k}"),
                    ends: [end("a", k), end("b", k)],
                    link: Link::default(),
                })
                .collect(),
            rules: Rules::default(),
            faults: Vec::new(),
            kind: Cables::Emulated,
        }
    }

    /// The rank of a node, or `None` if the rig has no such node.
    pub fn rank(&self, node: &str) -> Option<usize> {
        self.nodes.iter().position(|n| n.name == node)
    }

    /// The cables between two nodes in the order of their rails: by name, with digits
    /// compared by value.
    pub fn cables_between(&self, a: &str, b: &str) -> Vec<&Cable> {
        let mut cables: Vec<_> = self
            .cables
            .iter()
            .filter(|cable| cable.joins(a, b))
            .collect();
        cables.sort_by(|x, y| natural::compare(&x.name, &y.name));
        cables
    }

    /// The number of cables that every joined pair of nodes has: the largest valid
    /// argument of [`with_cables`](Self::with_cables). Zero in a rig without cables.
    pub fn cables_per_pair(&self) -> usize {
        self.joined_pairs()
            .map(|(_, _, cables)| cables.len())
            .min()
            .unwrap_or(0)
    }

    /// The same rig with only the first `count` rails of every joined pair, and the
    /// faults of the remaining parts.
    ///
    /// # Errors
    /// If `count` is zero or a joined pair has fewer cables.
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
        Ok(self.of_cables(kept))
    }

    /// The same rig with only the cables that `keep` accepts, and the faults of the
    /// remaining parts.
    #[must_use]
    pub fn keeping(&self, keep: impl Fn(&Cable) -> bool) -> Self {
        let kept = self.cables.iter().filter(|cable| keep(cable));
        self.of_cables(kept.cloned().collect())
    }

    fn of_cables(&self, cables: Vec<Cable>) -> Self {
        let mut faults = self.faults.clone();
        faults.retain(|fault| fault.defect.is_among(&cables));
        Self {
            nodes: self.nodes.clone(),
            cables,
            rules: self.rules,
            faults,
            kind: self.kind,
        }
    }

    /// Whether a node is another machine.
    pub fn is_remote(&self) -> bool {
        self.nodes.iter().any(|node| node.ssh.is_some())
    }

    /// Whether ranks need more than this machine: a node is another one, or cables are real.
    pub fn needs_hosts(&self) -> bool {
        self.is_remote() || self.kind == Cables::Real
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
    /// The cable's end on a node, or `None` if the cable does not reach it.
    pub fn end_on(&self, node: &str) -> Option<&End> {
        self.ends.iter().find(|end| end.node == node)
    }

    /// Whether the cable joins these two nodes, in either order.
    pub fn joins(&self, a: &str, b: &str) -> bool {
        a != b && self.end_on(a).is_some() && self.end_on(b).is_some()
    }
}
