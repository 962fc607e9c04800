//! What goes wrong with a node.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use launch::{Interrupted, ssh_remedy};

use crate::model::Difference;

/// Why ranks cannot be run on a node. Every variant but two names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `ssh` did not log in.
    #[error("node '{node}' cannot be reached by `ssh {host}`: {said}")]
    Unreachable {
        /// The node.
        node: String,
        /// What `ssh` calls it.
        host: String,
        /// The last line that `ssh` printed.
        said: String,
    },
    /// A program of this machine cannot be started.
    #[error("cannot start {program} for node '{node}'")]
    Start {
        /// The node.
        node: String,
        /// The program.
        program: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The node's stage cannot be used.
    #[error("the stage {stage} of node '{node}' cannot be used: {said}")]
    Stage {
        /// The node.
        node: String,
        /// The folder.
        stage: String,
        /// Why.
        said: String,
    },
    /// The node's system or processor is another.
    #[error("node '{node}' is {theirs}, and what would run there was made for {ours}")]
    OtherSystem {
        /// The node.
        node: String,
        /// Its `uname -sm`.
        theirs: String,
        /// That of this machine.
        ours: String,
    },
    /// The agent could not be copied to the node, or does not run there.
    #[error("the agent does not run on node '{node}': {said}")]
    Agent {
        /// The node.
        node: String,
        /// What the node said.
        said: String,
    },
    /// The agent did not answer.
    #[error("the connection to node '{node}' ended while it {what}: {said}")]
    Lost {
        /// The node.
        node: String,
        /// What it was asked for.
        what: &'static str,
        /// The last line that `ssh` or the agent printed.
        said: String,
    },
    /// The node answers nothing.
    #[error("node '{node}' has not {what} within {} s", limit.as_secs())]
    Late {
        /// The node.
        node: String,
        /// What it was asked for.
        what: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The node's disk is full.
    #[error("node '{node}' has no space in its stage: {message}")]
    Full {
        /// The node.
        node: String,
        /// What the agent said.
        message: String,
    },
    /// The agent could not do something.
    #[error("node '{node}': {message}")]
    Failed {
        /// The node.
        node: String,
        /// What the agent said.
        message: String,
    },
    /// Two nodes are one machine.
    #[error("nodes '{first}' and '{second}' are the same machine, {name}")]
    SameMachine {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// The machine's own name.
        name: String,
    },
    /// A node does not have its address.
    #[error("node '{node}' cannot listen at {address}: {said}")]
    NotItsAddress {
        /// The node.
        node: String,
        /// The address in the rig.
        address: IpAddr,
        /// What the agent said.
        said: String,
    },
    /// A node does not reach another.
    #[error("node '{from}' does not reach node '{to}' at {address}: {said}")]
    NoWay {
        /// One.
        from: String,
        /// The other.
        to: String,
        /// The other's address.
        address: IpAddr,
        /// What the agent said.
        said: String,
    },
    /// The model on a node is another.
    #[error("the model on node '{node}' is not that of this machine: {} {difference}", folder.display())]
    OtherModel {
        /// The node.
        node: String,
        /// The folder there.
        folder: PathBuf,
        /// The first difference.
        difference: Difference,
    },
    /// A file of this machine that should travel cannot be read.
    #[error("cannot read {}", path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Error {
    pub(crate) fn local(path: &Path, source: io::Error) -> Self {
        Error::Local {
            path: path.to_owned(),
            source,
        }
    }

    /// Whether another rig, or nodes in another state, would help.
    pub fn is_input(&self) -> bool {
        !matches!(
            self,
            Self::Start { .. }
                | Self::Local { .. }
                | Self::Lost { .. }
                | Self::Late { .. }
                | Self::Interrupted(_)
        )
    }

    /// The remedy.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { host, said, .. } => ssh_remedy(host, said),
            Self::Start { .. } => "install it".to_owned(),
            Self::Stage { .. } => {
                "give the node another folder in the rig, as stage = \"/a/folder\", which its user \
                 can write"
                    .to_owned()
            }
            Self::OtherSystem { .. } => {
                "run this command on a machine like the nodes; a rig has one kind of them".to_owned()
            }
            Self::Agent { .. } => {
                "it needs the libraries of a system like this one, and a folder whose programs may \
                 run"
                    .to_owned()
            }
            Self::Full { .. } => {
                "free some space there, run `cargo xtask rig clean`, or give the node another stage"
                    .to_owned()
            }
            Self::SameMachine { .. } => {
                "give each node the name of a machine of its own as `ssh`".to_owned()
            }
            Self::NotItsAddress { .. } => {
                "write one of the node's own IPv4 addresses; `ifconfig` or `ip address` lists them there"
                    .to_owned()
            }
            Self::NoWay { from, to, address, .. } => format!(
                "`ping {address}` on '{from}' must be answered, and a firewall on '{to}' must let \
                 programs listen"
            ),
            Self::OtherModel { .. } => {
                "copy the model there, for example with rsync, or name another folder as `models`"
                    .to_owned()
            }
            Self::Late { .. } => {
                "log in there and look at what it waits for, such as a disk that does not answer"
                    .to_owned()
            }
            Self::Lost { .. } => "look at the network and at the node, and repeat".to_owned(),
            Self::Failed { .. } | Self::Local { .. } | Self::Interrupted(_) => return None,
        })
    }
}
