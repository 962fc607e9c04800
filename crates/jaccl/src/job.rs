//! The messages between a launcher and a rank.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Dtype, Features, Reduction};

/// A request of the launcher. The rank handles requests one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Load jaccl and join the group. It is the first request, and is sent once.
    Join(Job),
    /// Run these steps without a message in between. All ranks of a group get the same
    /// steps, unless the job is to show what comes of others.
    Run(Vec<Step>),
    /// Time one operation, called again and again. All ranks of a group get the same.
    Measure(Measure),
    /// Leave the group and end.
    Leave,
}

/// The group to join, and the rank in it.
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
    /// Whether to make a ring rather than a mesh, if the matrix allows both.
    pub prefer_ring: bool,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The operation.
    pub operation: Operation,
    /// The length passed to jaccl: that of a rank's input, and for
    /// [`Operation::SumScatter`] that of its output.
    pub bytes: usize,
    /// The type of the elements.
    pub dtype: Dtype,
    /// Whether the output is in the place of the input.
    pub in_place: bool,
    /// Makes the data of this step differ from those of other steps.
    pub salt: u32,
}

/// An operation to be timed.
///
/// The rank prepares its buffers, waits for the others by a small all-reduce, and then
/// calls the operation back to back: nothing but the call and a look at the clock is
/// within a measured time. [`Operation::Send`] is a round trip: the receiver sends as much
/// back.
///
/// Iterations take turns between two inputs. The first and the last have an output of
/// their own, so that what they wrote is compared after the last, byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// The operation. Its output is never in the place of its input; the second input has
    /// the salt after the step's.
    pub step: Step,
    /// The number of calls before those that are timed.
    pub warmup: usize,
    /// The number of calls that are timed.
    pub iterations: usize,
}

/// An operation of a group, described for all ranks alike.
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
    /// One rank sends to another; the other ranks do nothing.
    Send {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
}

/// A message of a rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    /// jaccl is loaded; joining begins.
    Loaded {
        /// The key of the build, as [`Library::build_key`](crate::Library::build_key)
        /// gives it: the launcher compares it with the build that it asked for.
        build: String,
        /// Whether jaccl reports that RDMA is available.
        available: bool,
        /// The operations that it has.
        features: Features,
    },
    /// The group is complete.
    Joined,
    /// The steps are over and every byte was right.
    Passed {
        /// The time of each step, in nanoseconds.
        nanos: Vec<u64>,
    },
    /// The operation was timed.
    Measured {
        /// The time of each iteration, in nanoseconds; none on a rank that takes no part.
        nanos: Vec<u64>,
        /// The number of wrong elements that were found.
        wrong: u64,
        /// The first wrong byte, and its expected value.
        detail: Option<String>,
    },
    /// A step produced wrong bytes, or changed its input.
    Wrong {
        /// Its index.
        step: usize,
        /// The first wrong byte, and its expected value.
        detail: String,
    },
    /// A step wrote outside of its buffers.
    Overrun {
        /// Its index.
        step: usize,
        /// The place of the write.
        detail: String,
    },
    /// jaccl refused, with its message. The group is unusable after it.
    Error {
        /// The step's index; `None` while joining.
        step: Option<usize>,
        /// jaccl's message.
        message: String,
    },
    /// The rank has left the group.
    Left,
}
