//! One point of the sweep, and its names.

use std::{fmt, str::FromStr};

pub use jaccl::Dtype;
use jaccl::Features;
pub use rail_matrix::{Backend, Frames};
use serde::{Serialize, Serializer};

/// Ranks that jaccl's mesh takes (`MESH_MAX_PEERS` in `mesh_impl.h`).
pub const MAX_RANKS: usize = 8;

/// What a case exercises: an operation of jaccl under its own name, or a condition, which
/// is a fault that jaccl must answer with an error of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// A message whose sender begins first.
    Send,
    /// A message whose receiver begins first.
    Recv,
    /// `all_sum`.
    AllSum,
    /// `all_max`.
    AllMax,
    /// `all_min`.
    AllMin,
    /// `all_gather`.
    AllGather,
    /// `sum_scatter`, if the pin has it.
    SumScatter,
    /// `barrier`, if the pin has it.
    Barrier,
    /// Random operations of random sizes without a pause in between.
    Sequence,
    /// Joining and leaving, several times.
    Init,
    /// The matrix names a device that the node does not have.
    MissingDevice,
    /// A device has no IPv4-mapped GID.
    MissingGid,
    /// A node has no RDMA device at all.
    NoDevices,
    /// There is no libibverbs to load.
    NoLibrary,
    /// A port is down, so no protection domain can be allocated.
    PortDown,
    /// Another process has all queue pairs of a device.
    NoQueuePairs,
    /// Another process has all memory regions of a device.
    NoRegions,
    /// The matrix has no device in any cell.
    NoWires,
    /// A ring of five wires; jaccl accepts at most four.
    FiveWires,
    /// A message between ranks that are not neighbours in the ring.
    NonNeighbour,
    /// A rank that the matrix does not have.
    BadRank,
    /// A send that completes with an error status.
    FailedSend,
    /// A wire that refuses sends and receives when they are posted. It is not the last
    /// one, so jaccl uses it from a thread of its pool if it has one.
    FailedWire,
    /// A message that its receiver takes for a longer one, so that their frames differ.
    UnequalFrames,
    /// Two ranks that both send before they receive. It is right that they wait for each
    /// other without end: over Thunderbolt no send completes without its receive.
    SendFirst,
    /// A rank is killed in the middle of an operation.
    DeadPeer,
    /// A cable is pulled in the middle of an operation.
    Unplugged,
    /// A rank is stopped in the middle of an operation. Its peers must wait for it, unless
    /// they have a limit.
    FrozenPeer,
    /// One rank calls an operation with another length than its peers.
    Unequal,
}

impl Op {
    /// Every operation and condition.
    pub const ALL: [Op; 29] = [
        Op::Send,
        Op::Recv,
        Op::AllSum,
        Op::AllMax,
        Op::AllMin,
        Op::AllGather,
        Op::SumScatter,
        Op::Barrier,
        Op::Sequence,
        Op::Init,
        Op::MissingDevice,
        Op::MissingGid,
        Op::NoDevices,
        Op::NoLibrary,
        Op::PortDown,
        Op::NoQueuePairs,
        Op::NoRegions,
        Op::NoWires,
        Op::FiveWires,
        Op::NonNeighbour,
        Op::BadRank,
        Op::FailedSend,
        Op::FailedWire,
        Op::UnequalFrames,
        Op::SendFirst,
        Op::DeadPeer,
        Op::Unplugged,
        Op::FrozenPeer,
        Op::Unequal,
    ];

    /// The operation's name: that of jaccl's function, or for conditions one with dashes.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Send => "send",
            Op::Recv => "recv",
            Op::AllSum => "all_sum",
            Op::AllMax => "all_max",
            Op::AllMin => "all_min",
            Op::AllGather => "all_gather",
            Op::SumScatter => "sum_scatter",
            Op::Barrier => "barrier",
            Op::Sequence => "sequence",
            Op::Init => "init",
            Op::MissingDevice => "missing-device",
            Op::MissingGid => "missing-gid",
            Op::NoDevices => "no-devices",
            Op::NoLibrary => "no-library",
            Op::PortDown => "port-down",
            Op::NoQueuePairs => "no-queue-pairs",
            Op::NoRegions => "no-regions",
            Op::NoWires => "no-wires",
            Op::FiveWires => "five-wires",
            Op::NonNeighbour => "non-neighbour",
            Op::BadRank => "bad-rank",
            Op::FailedSend => "failed-send",
            Op::FailedWire => "failed-wire",
            Op::UnequalFrames => "unequal-frames",
            Op::SendFirst => "send-first",
            Op::DeadPeer => "dead-peer",
            Op::Unplugged => "unplugged",
            Op::FrozenPeer => "frozen-peer",
            Op::Unequal => "unequal",
        }
    }

    /// Whether jaccl must refuse it with an error of its own, or, for
    /// [`Op::SendFirst`] and [`Op::FrozenPeer`], wait.
    pub const fn is_condition(self) -> bool {
        !self.has_bytes() && !matches!(self, Op::Barrier | Op::Sequence | Op::Init)
    }

    /// Whether something is lost in the middle of an operation: a rank, a cable, or for a
    /// while a rank's processor.
    pub const fn is_loss(self) -> bool {
        matches!(self, Op::DeadPeer | Op::Unplugged | Op::FrozenPeer)
    }

    /// Whether it is tried in a message and in every operation of all ranks.
    pub const fn is_within_operations(self) -> bool {
        self.is_loss() || matches!(self, Op::Unequal)
    }

    /// Whether a build of jaccl with these features has it.
    pub const fn is_in(self, features: Features) -> bool {
        match self {
            Op::Barrier => features.barrier,
            Op::SumScatter => features.sum_scatter,
            _ => true,
        }
    }

    /// Whether it moves data of the case's length.
    pub const fn has_bytes(self) -> bool {
        matches!(
            self,
            Op::Send
                | Op::Recv
                | Op::AllSum
                | Op::AllMax
                | Op::AllMin
                | Op::AllGather
                | Op::SumScatter
        )
    }

    /// Whether one rank sends to another.
    pub const fn is_message(self) -> bool {
        matches!(self, Op::Send | Op::Recv)
    }

    /// Whether it combines elements, so that their type matters to jaccl.
    pub const fn reduces(self) -> bool {
        matches!(self, Op::AllSum | Op::AllMax | Op::AllMin | Op::SumScatter)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Op::ALL.map(Op::name).join(", ");
        Op::ALL
            .into_iter()
            .find(|op| op.name() == name)
            .ok_or_else(|| format!("unknown op {name:?}; the values are {}", known()))
    }
}

impl Serialize for Op {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The ranks that take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// All ranks take part. Written `all`.
    All,
    /// One rank sends to another. Written `0->1`.
    Pair {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Direction::All => f.write_str("all"),
            Direction::Pair { from, to } => write!(f, "{from}->{to}"),
        }
    }
}

impl FromStr for Direction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = || {
            let (from, to) = text.split_once("->")?;
            let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            (from != to && from < MAX_RANKS && to < MAX_RANKS)
                .then_some(Direction::Pair { from, to })
        };
        match text {
            "all" => Ok(Direction::All),
            _ => pair().ok_or_else(|| {
                format!("{text:?} is no direction; write two ranks, as in 0->1, or all")
            }),
        }
    }
}

impl Serialize for Direction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The properties that cases in one group of ranks share: how the ranks are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Setting {
    /// How jaccl uses the cables.
    pub backend: Backend,
    /// The number of ranks.
    pub ranks: usize,
    /// The number of cables between each two ranks that jaccl is given.
    pub wires: usize,
    /// The frame mode.
    pub frames: Frames,
}

/// One point of the sweep. Every field is a flag of `cargo xtask verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    /// How the ranks are joined.
    pub setting: Setting,
    /// The operation or condition.
    pub op: Op,
    /// The length passed to jaccl; for [`Op::Sequence`] the longest length.
    pub bytes: usize,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The ranks that take part.
    pub direction: Direction,
    /// Whether the output is in the place of the input.
    pub in_place: bool,
    /// The sequence's seed; 0 for all other operations.
    pub seed: u64,
}

impl Case {
    /// The memory that the ranks need for it together: inputs and outputs.
    pub fn memory(&self) -> usize {
        let ranks = self.setting.ranks;
        let (input, output) = match self.op {
            Op::AllGather => (1, ranks),
            Op::SumScatter => (ranks, 1),
            _ => (1, 1),
        };
        let parts = if self.in_place {
            output
        } else {
            input + output
        };
        self.bytes.saturating_mul(ranks * parts)
    }

    /// The flags that select exactly this case, quoted for a shell.
    pub fn flags(&self) -> String {
        let Case {
            setting:
                Setting {
                    backend,
                    ranks,
                    wires,
                    frames,
                },
            op,
            bytes,
            dtype,
            direction,
            in_place,
            seed,
        } = self;
        let direction = match direction {
            Direction::All => direction.to_string(),
            // A shell would take the > for a redirection.
            Direction::Pair { .. } => format!("'{direction}'"),
        };
        let mut flags = format!(
            "--op {op} --backend {backend} --ranks {ranks} --wires {wires} --bytes {bytes} \
             --dtype {dtype} --frames {frames} --direction {direction} --in-place {in_place}"
        );
        if *op == Op::Sequence {
            flags.push_str(&format!(" --seed {seed}"));
        }
        flags
    }
}

/// For `--filter` and for people: every field with its name.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting {
            backend,
            ranks,
            wires,
            frames,
        } = self.setting;
        write!(f, "{} {backend} ranks={ranks} wires={wires}", self.op)?;
        if self.op.has_bytes() {
            write!(f, " bytes={} dtype={}", self.bytes, self.dtype)?;
        }
        write!(f, " frames={frames}")?;
        if let Direction::Pair { .. } = self.direction {
            write!(f, " direction={}", self.direction)?;
        }
        if self.in_place {
            f.write_str(" in-place=true")?;
        }
        if self.op == Op::Sequence {
            write!(f, " seed={}", self.seed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for op in Op::ALL {
            assert_eq!(op.name().parse(), Ok(op));
        }
        for text in ["all", "0->1", "3->0"] {
            let direction: Direction = text.parse().expect("a direction");
            assert_eq!(direction.to_string(), text);
        }
    }

    #[test]
    fn an_unknown_name_gets_the_known_ones() {
        let error = "receive".parse::<Op>().expect_err("no such op");
        assert!(
            error.contains("\"receive\"") && error.contains("recv, all_sum"),
            "{error}"
        );
        for text in ["0-1", "1->1", "0->99", "->"] {
            let error = text.parse::<Direction>().expect_err("no direction");
            assert!(error.contains("0->1"), "{error}");
        }
    }
}
