//! Running an arbitrary program on the nodes of a fabric.

use std::{io, net::SocketAddrV4, path::Path, process::Command, time::Duration};

pub use launch::{End, Stream};
use launch::{Interrupted, Launcher, Together, together};

use crate::{Fabric, FabricError};

/// Why a program could not be run on a fabric.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpError {
    /// The fabric cannot be used.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// The program cannot be started.
    #[error("cannot start '{program}' on node '{node}'")]
    Start {
        /// The program.
        program: String,
        /// The node.
        node: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The output of the processes cannot be passed on, for example because its reader
    /// has closed the pipe.
    #[error("cannot hand on what the programs print")]
    Output(#[source] io::Error),
    /// The caller asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A program to be run on nodes of a fabric.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The program and its arguments.
    pub command: &'a [String],
    /// Indices of the nodes that run one process each.
    pub nodes: &'a [usize],
    /// The library that the processes open as their libibverbs; see
    /// [`provider_library`](crate::provider_library).
    pub provider: &'a Path,
    /// The time limit for the whole run.
    pub limit: Option<Duration>,
}

/// The variables that describe its node to a process, in addition to those the provider
/// reads.
///
/// | variable | value |
/// |---|---|
/// | `RIG_NODE` | the node's name |
/// | `RIG_RANK` | its place in the rig, from 0 |
/// | `RIG_NODES` | the number of nodes of the rig |
/// | `RIG_COORDINATOR` | an address and a TCP port that are this run's alone |
/// | `RIG_HOST` | that address |
fn identity(
    node: &str,
    rank: usize,
    nodes: usize,
    meet: SocketAddrV4,
) -> [(&'static str, String); 5] {
    [
        ("RIG_NODE", node.to_owned()),
        ("RIG_RANK", rank.to_string()),
        ("RIG_NODES", nodes.to_string()),
        ("RIG_COORDINATOR", meet.to_string()),
        ("RIG_HOST", meet.ip().to_string()),
    ]
}

impl Fabric {
    /// Runs a program on nodes, passes every line that the processes write to `line` with
    /// the index of its node, and waits for all of them. When one process fails the
    /// others get [`launch::GRACE`] to end. At the end none of them is left, nor any
    /// process that they started.
    ///
    /// # Errors
    /// When a process cannot be started, `line` fails, or the caller asked to stop.
    pub fn up(
        &self,
        names: &[&str],
        job: &Job<'_>,
        launcher: &Launcher,
        mut line: impl FnMut(usize, Stream, &str) -> io::Result<()>,
    ) -> Result<Vec<(usize, End)>, UpError> {
        let program = job.command.first().map_or("", String::as_str);
        let mut commands = Vec::new();
        for &node in job.nodes {
            let mut command = Command::new(program);
            command
                .args(job.command.iter().skip(1))
                .envs(self.env(names[node]))
                .envs(self.provider_env(job.provider)?)
                .envs(identity(names[node], node, names.len(), self.coordinator()));
            commands.push(command);
        }
        let ran = together(launcher, commands, job.limit, |place, stream, text| {
            line(job.nodes[place], stream, text)
        });
        match ran {
            Ok(ends) => Ok(job.nodes.iter().copied().zip(ends).collect()),
            Err(Together::Start {
                place,
                program,
                source,
            }) => Err(UpError::Start {
                program,
                node: names[job.nodes[place]].to_owned(),
                source,
            }),
            Err(Together::Output(error)) => Err(UpError::Output(error)),
            Err(Together::Interrupted(interrupted)) => Err(interrupted.into()),
        }
    }
}
