//! What a launcher and a rank say to each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Dtype, Features, Reduction};

/// What a rank is asked to do. It does one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Load jaccl and join the group. Comes first, and once.
    Join(Job),
    /// Do these steps without a word in between. All ranks of a group get the same.
    Run(Vec<Step>),
    /// Leave the group and end.
    Leave,
}

/// Which group, and as which rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The build of jaccl: its shim.
    pub library: PathBuf,
    /// This rank.
    pub rank: usize,
    /// `address:port` of rank 0.
    pub coordinator: String,
    /// The device matrix, a JSON file.
    pub devices: PathBuf,
    /// Ring rather than mesh, where the matrix allows both.
    pub prefer_ring: bool,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub operation: Operation,
    /// What jaccl is told: the length of a rank's input, and for
    /// [`Operation::SumScatter`] that of its output.
    pub bytes: usize,
    /// Of what the bytes are made.
    pub dtype: Dtype,
    /// Whether the input lies where the output goes.
    pub in_place: bool,
    /// Makes the data of this step differ from those of others.
    pub salt: u32,
}

/// An operation of a group, from the point of view of no rank in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `all_sum`, `all_max`, `all_min`.
    AllReduce(Reduction),
    /// `all_gather`.
    AllGather,
    /// `sum_scatter`.
    SumScatter,
    /// `barrier`. Moves no data.
    Barrier,
    /// One rank sends to another; the rest do nothing.
    Send {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
}

/// What a rank says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    /// jaccl is loaded; joining begins.
    Loaded {
        /// The key of the build, as [`Library::build_key`](crate::Library::build_key)
        /// gives it: the launcher compares it with the build that it asked for.
        build: String,
        /// Whether it says that RDMA is available.
        available: bool,
        /// What it has.
        features: Features,
    },
    /// The group is complete.
    Joined,
    /// The steps are over and every byte was right.
    Passed {
        /// How long each took, in nanoseconds.
        nanos: Vec<u64>,
    },
    /// A step gave wrong bytes, or changed its input.
    Wrong {
        /// Its index.
        step: usize,
        /// The first such byte, and what it should have been.
        detail: String,
    },
    /// A step wrote outside of its buffers.
    Overrun {
        /// Its index.
        step: usize,
        /// Where.
        detail: String,
    },
    /// jaccl refused, in its own words. The group is of no use after it.
    Error {
        /// The step's index; none while joining.
        step: Option<usize>,
        /// The words.
        message: String,
    },
    /// The group is left.
    Left,
}
