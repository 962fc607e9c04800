//! What the program `jaccl-rank` is asked to do, and what it answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Dtype, Reduction};

/// A rank's whole life: join, do the steps, leave. All ranks of a group get the
/// same steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Wait for all ranks before each operation, so that its time is its own. The
    /// waiting is an 8-byte all-sum.
    pub synchronise: bool,
    /// What to do.
    pub steps: Vec<Step>,
}

/// One operation, a number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub operation: Operation,
    /// Length of each rank's input.
    pub bytes: usize,
    /// How often.
    pub repeat: u32,
}

/// An operation of a group, from the point of view of no rank in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// An all-reduce.
    AllReduce {
        /// How elements are combined.
        reduction: Reduction,
        /// Of what type they are. Only types that Rust has ([`crate::Element`]).
        dtype: Dtype,
    },
    /// An all-gather of bytes.
    AllGather,
    /// One rank sends bytes to another; the rest do nothing.
    Send {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
}

/// What `jaccl-rank` prints, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    /// The group is complete.
    Joined,
    /// A step is over and every byte was right.
    Pass {
        /// Its index.
        step: usize,
        /// How long each repetition took, in nanoseconds.
        nanos: Vec<u64>,
    },
    /// A step gave wrong bytes.
    Wrong {
        /// Its index.
        step: usize,
        /// Which bytes, and what they should have been.
        detail: String,
    },
    /// A step wrote outside of its output.
    Overrun {
        /// Its index.
        step: usize,
        /// Where.
        detail: String,
    },
    /// jaccl refused.
    Error {
        /// In its words.
        message: String,
    },
    /// All steps are over.
    Done,
}
