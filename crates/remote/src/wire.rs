//! What the launcher and the agent say to each other.
//!
//! The launcher starts the agent with the path of the stage and writes a [`Request`] as one
//! line. The agent answers with [`Reply`]s, a line each, and ends. Two requests go on:
//!
//! * After [`Reply::Missing`] the launcher writes the contents of these files, one after the
//!   other.
//! * After [`Request::Run`] the agent's streams are the rank's: lines of its stdout and
//!   stderr, and an exit code as a shell has it. Among the lines of stdout are those of a file
//!   that the agent follows ([`followed`]). Lines to stdin go to the rank, but for empty
//!   ones, which say that the launcher is there, and [`launch::SHOW_STACK`].

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::tree::{Tree, hex};

/// How long an agent that runs a rank may hear nothing from its launcher, which says every
/// [`launch::BEAT`] that it is there. Longer, and the launcher or the network between them is
/// gone.
pub const SILENCE: Duration = Duration::from_secs(15);

/// How often an agent looks at the followed file of a rank that says nothing.
pub const FOLLOW: Duration = Duration::from_millis(100);

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
    /// The name of a file of the folder that the rank writes, and the launcher wants to read
    /// ([`followed`]).
    pub follow: Option<String>,
}

/// How a line begins that is the agent's, and not the rank's.
const FOLLOWED: &str = "\u{1}followed ";

/// The content of the followed file, if an agent's line has it: without zeros at its end.
///
/// There is such a line before each line of the rank, and every [`FOLLOW`], if the file has
/// changed; and one after the rank's end.
pub fn followed(line: &str) -> Option<Vec<u8>> {
    let digits = line.strip_prefix(FOLLOWED)?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

/// The line with a content of the followed file.
pub(crate) fn following(content: &[u8]) -> String {
    let length = content.iter().rposition(|byte| *byte != 0);
    let length = length.map_or(0, |last| last + 1);
    format!("{FOLLOWED}{}", hex(&content[..length]))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_followed_file_is_told_from_a_ranks() {
        let line = following(&[0, 1, 254, 0, 0]);
        assert_eq!(followed(&line), Some(vec![0, 1, 254]));
        assert_eq!(followed(&following(&[0, 0])), Some(vec![]));
        for rank in ["", "followed 00", "{\"event\":\"done\"}"] {
            assert_eq!(followed(rank), None, "{rank}");
        }
    }
}
