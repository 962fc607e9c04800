//! A way to run commands on a node: the system's ssh, or this machine's shell.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use launch::{Input, Launcher, Line, Output, Process, Said, Streams};
use rig::Node;

use crate::{Error, Result};

/// How long `ssh` may take to log in.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest path of a socket is 104 bytes on macOS, and `ssh` makes one with 17 further
/// characters first.
const LONGEST: usize = 104 - 17;

/// Runs `ssh` and removes the folder of its socket, however it ends: the launcher may be
/// killed, and its guardian then ends this group.
const MASTER: &str = r#"
folder=$1; shift
trap : HUP INT TERM
"$@" &
ssh=$!
wait $ssh; code=$?
kill -0 $ssh 2>/dev/null && wait $ssh
rm -rf "$folder"
exit $code
"#;

/// Flags of every `ssh`. It never asks, and notices within 15 s that a network is gone.
const FLAGS: [&str; 10] = [
    "-T",
    "-x",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=5",
    "-o",
    "ServerAliveCountMax=3",
];

/// A connection to a node. Dropping it ends it.
pub(crate) enum Connection {
    /// This machine.
    Here,
    /// Another machine, by a connection that its commands share.
    Ssh {
        host: String,
        socket: PathBuf,
        /// The process that holds the connection.
        _master: Process,
    },
}

impl Connection {
    pub(crate) fn open(launcher: &Launcher, node: &Node) -> Result<Self> {
        match &node.ssh {
            None => Ok(Connection::Here),
            Some(host) => connect(launcher, &node.name, host),
        }
    }

    /// A command that runs a script by the node's `sh`. Its stdin is the script's.
    pub(crate) fn command(&self, script: &str) -> Command {
        match self {
            Connection::Here => {
                let mut sh = Command::new("sh");
                sh.args(["-c", script]);
                sh
            }
            Connection::Ssh { host, socket, .. } => {
                let mut ssh = Command::new("ssh");
                ssh.args(FLAGS)
                    .arg("-S")
                    .arg(socket)
                    // Without the shared connection it must not make one of its own.
                    .args(["-o", "ControlMaster=no", "-o", "ProxyCommand=exit 255", "--"])
                    .arg(host)
                    .arg(format!("exec sh -c {}", quoted(script)));
                ssh
            }
        }
    }
}

/// One word for any shell that a user may have.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn connect(launcher: &Launcher, node: &str, host: &str) -> Result<Connection> {
    let start = |program: &str, source| Error::Start {
        node: node.to_owned(),
        program: program.to_owned(),
        source,
    };
    let folder = folder().map_err(|source| start("ssh", source))?;
    let socket = folder.join("s");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", MASTER, "sh"])
        .arg(&folder)
        .arg("ssh")
        .args(FLAGS)
        .arg("-S")
        .arg(&socket)
        .args(["-M", "-N", "-n", "-o", "ControlPersist=no"])
        .args(["-o", "ClearAllForwardings=yes", "--", host]);
    let (sender, lines) = mpsc::channel();
    let to = Output {
        source: 0,
        input: Input::Null,
        streams: Streams::Merged,
        lines: sender,
    };
    let mut master = match Process::start(command, to) {
        Ok(master) => master,
        Err(source) => {
            // Nobody uses it.
            let _ = fs::remove_dir(&folder);
            return Err(start("sh", source));
        }
    };
    let until = Instant::now() + PATIENCE;
    while !socket.exists() {
        launcher.cancel().check()?;
        if master.death().is_some() || Instant::now() >= until {
            return Err(Error::Unreachable {
                node: node.to_owned(),
                host: host.to_owned(),
                said: said(&lines),
            });
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(Connection::Ssh {
        host: host.to_owned(),
        socket,
        _master: master,
    })
}

/// A folder that only this user can open, whose path is short.
fn folder() -> std::io::Result<PathBuf> {
    let parent = env::temp_dir();
    let parent = match parent.as_os_str().len() + "/mlx-rails-ssh-123456/s".len() < LONGEST {
        true => parent,
        false => Path::new("/tmp").to_owned(),
    };
    let folder = tempfile::Builder::new().prefix("mlx-rails-ssh-").tempdir_in(parent)?;
    // The process that holds the connection removes it.
    Ok(folder.keep())
}

/// The last thing that `ssh` said.
fn said(lines: &Receiver<Line>) -> String {
    let mut last = None;
    while let Ok(line) = lines.recv_timeout(Duration::from_millis(200)) {
        match line.said {
            Said::Text(text) if !text.trim().is_empty() => last = Some(text.trim().to_owned()),
            Said::Text(_) => {}
            Said::Closed => break,
        }
    }
    last.unwrap_or_else(|| "it did not log in and said nothing".to_owned())
}
