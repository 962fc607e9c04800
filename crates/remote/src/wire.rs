//! What the launcher and the agent say to each other.
//!
//! The launcher starts the agent with the path of the stage and writes a [`Request`] as one
//! line. The agent answers with [`Reply`]s, a line each, and ends. Two requests go on:
//!
//! * After [`Reply::Missing`] the launcher writes the contents of these files, one after the
//!   other.
//! * After [`Request::Run`] the agent's streams are the rank's: lines of its stdout and
//!   stderr, and an exit code as a shell has it. Lines to stdin go to the rank, but for empty
//!   ones: they say that the launcher is there.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::tree::Tree;

/// How long an agent that runs a rank may hear nothing from its launcher, which says every
/// [`launch::BEAT`] that it is there. Longer, and the launcher or the network between them is
/// gone.
pub const SILENCE: Duration = Duration::from_secs(15);

/// What the agent has to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Describe the node: [`Reply::Hello`].
    Hello,
    /// Take these files: [`Reply::Missing`], then [`Reply::Published`].
    Receive(Tree),
    /// Run a rank.
    Run(Run),
    /// Listen at an address for connections: [`Reply::Listening`]. Until stdin ends.
    Listen(IpAddr),
    /// Connect to another node: [`Reply::Reached`].
    Reach(SocketAddr),
    /// Remove all that was staged: [`Reply::Cleaned`].
    Clean,
}

/// A rank to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables, beside those that the agent has from ssh.
    pub env: Vec<(String, String)>,
    /// The name of a folder of this rank alone, which ends with it ([`crate::Host::folder`]).
    /// The rank's working directory.
    pub folder: String,
    /// Files of the folder: their names and contents.
    pub files: Vec<(String, String)>,
}

/// An answer of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The node.
    Hello(Facts),
    /// These entries of the tree are not on the node.
    Missing(Vec<usize>),
    /// The tree is on the node, and every byte of it is right.
    Published,
    /// The agent listens at this port.
    Listening(u16),
    /// The other node has answered.
    Reached,
    /// The stage is empty; it had this many bytes.
    Cleaned(u64),
    /// The agent cannot do it.
    Failed(Failure),
}

/// Why an agent cannot do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In words.
    pub message: String,
    /// Whether the disk is full.
    pub full: bool,
}

/// What the agent says about its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The name that the machine has for itself.
    pub name: String,
    /// The same for two agents on one machine, and for no others.
    pub machine: String,
    /// Bytes that are free where the stage is.
    pub free: u64,
}
