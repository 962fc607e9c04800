//! The operations that are measured.

use std::{fmt, str::FromStr};

use jaccl::{Features, Operation, Reduction};
use serde::{Serialize, Serializer};

/// An operation of jaccl, under its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// A message from rank 0 to rank 1.
    Send,
    /// `all_sum`.
    AllSum,
    /// `all_max`.
    AllMax,
    /// `all_min`.
    AllMin,
    /// `all_gather`.
    AllGather,
    /// `sum_scatter` (MLX 0.32.1 and later).
    SumScatter,
    /// `barrier` (MLX 0.32.0 and later).
    Barrier,
}

impl Op {
    /// Every operation.
    pub const ALL: [Op; 7] = [
        Op::Send,
        Op::AllSum,
        Op::AllMax,
        Op::AllMin,
        Op::AllGather,
        Op::SumScatter,
        Op::Barrier,
    ];

    /// The name of jaccl's function.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Send => "send",
            Op::AllSum => "all_sum",
            Op::AllMax => "all_max",
            Op::AllMin => "all_min",
            Op::AllGather => "all_gather",
            Op::SumScatter => "sum_scatter",
            Op::Barrier => "barrier",
        }
    }

    /// Whether a build of jaccl with these features has it.
    pub const fn is_in(self, features: Features) -> bool {
        match self {
            Op::SumScatter => features.sum_scatter,
            Op::Barrier => features.barrier,
            _ => true,
        }
    }

    /// Whether it moves data of the caller's length.
    pub const fn has_bytes(self) -> bool {
        !matches!(self, Op::Barrier)
    }

    pub(crate) const fn operation(self) -> Operation {
        match self {
            Op::Send => Operation::Send { from: 0, to: 1 },
            Op::AllSum => Operation::AllReduce(Reduction::Sum),
            Op::AllMax => Operation::AllReduce(Reduction::Max),
            Op::AllMin => Operation::AllReduce(Reduction::Min),
            Op::AllGather => Operation::AllGather,
            Op::SumScatter => Operation::SumScatter,
            Op::Barrier => Operation::Barrier,
        }
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
        let named = Op::ALL.into_iter().find(|op| op.name() == name);
        named.ok_or_else(|| format!("unknown op {name:?}; the values are {}", known()))
    }
}

impl Serialize for Op {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
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
        let error = "recv".parse::<Op>().expect_err("no such op");
        assert!(error.contains("send, all_sum"), "{error}");
    }
}
