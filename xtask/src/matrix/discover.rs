//! `cargo xtask matrix discover`: asks the nodes themselves, over the system's `ssh`.

use std::{
    collections::HashSet,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, Output},
    thread,
};

use rail_matrix::read::{self, HostReport, ReportKind, System};
use toolchain::{process::Cancel, progress::Progress};
use xshell::{Shell, cmd};

use super::{print, reports};
use crate::{flags, session::Session, terminal::Terminal};

/// Of every Unix.
const SIGINT: i32 = 2;
/// What `ssh` exits with when it, and not what it ran, failed.
const SSH_FAILED: i32 = 255;

/// A node that could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    #[error("'{0}' is no host; write it as for ssh: a name, an address, or USER@ and one of them")]
    BadHost(String),
    #[error("host '{0}' is named twice; name every node once")]
    Repeated(String),
    #[error("cannot start {program}: {cause}; install it, or give --from a folder of reports")]
    NotStarted {
        program: &'static str,
        cause: xshell::Error,
    },
    #[error(
        "cannot reach '{host}': {said}; `ssh {host}` must log in without asking, with a key, \
         and the host must be known there"
    )]
    Unreachable { host: String, said: String },
    #[error("'{host}' runs {uname}; nodes run macOS (Darwin) or Linux")]
    UnknownSystem { host: String, uname: String },
    #[error("`{command}` failed on '{host}': {said}; {}", remedy(*system))]
    Failed {
        host: String,
        command: &'static str,
        said: String,
        system: Option<System>,
    },
}

fn remedy(system: Option<System>) -> &'static str {
    match system {
        Some(System::MacOs) => "let a user of that Mac run it, who sees why",
        Some(System::Linux) => "install iproute2 there, which has rdma and ip",
        None => "let the user log in to a shell",
    }
}

pub fn run(session: &Session, flags: &flags::Discover) -> anyhow::Result<ExitCode> {
    check(&flags.hosts)?;
    let terminal = Terminal::default();
    terminal.step("Asking", &flags.hosts.join(", "));
    let asked = session.unless_interrupted(ask_all(&session.cancel, &terminal, &flags.hosts));
    terminal.finish();
    let hosts = asked?;
    if let Some(folder) = &flags.save {
        for host in &hosts {
            reports::save(folder, host)?;
        }
    }
    print(&read::reports(&hosts)?, &flags.options)
}

/// A host's name is also a folder's.
fn check(hosts: &[String]) -> Result<(), DiscoverError> {
    let mut seen = HashSet::new();
    for host in hosts {
        if host.is_empty() || host.starts_with(['-', '.']) || host.contains(['/', '\\', '\0']) {
            return Err(DiscoverError::BadHost(host.clone()));
        }
        if !seen.insert(host) {
            return Err(DiscoverError::Repeated(host.clone()));
        }
    }
    Ok(())
}

/// Asks all nodes at once; of several failures the first host's is told.
fn ask_all<'a>(
    cancel: &'a Cancel,
    terminal: &'a Terminal,
    hosts: &'a [String],
) -> anyhow::Result<Vec<HostReport>> {
    thread::scope(|scope| {
        let ask = |host: &'a String| scope.spawn(move || Node::new(cancel, host)?.ask(terminal));
        let asked: Vec<_> = hosts.iter().map(ask).collect();
        let answers = asked.into_iter().map(|node| match node.join() {
            Ok(answer) => answer,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        answers.collect()
    })
}

/// A node that is being asked.
struct Node<'a> {
    cancel: &'a Cancel,
    host: &'a str,
    /// Each thread needs its own.
    shell: Shell,
}

impl<'a> Node<'a> {
    fn new(cancel: &'a Cancel, host: &'a str) -> anyhow::Result<Self> {
        let shell = Shell::new()?;
        Ok(Self {
            cancel,
            host,
            shell,
        })
    }

    fn ask(&self, terminal: &Terminal) -> anyhow::Result<HostReport> {
        let uname = self.needed("uname", None)?;
        let uname = String::from_utf8_lossy(&uname);
        let system = System::of_uname(&uname).ok_or_else(|| DiscoverError::UnknownSystem {
            host: self.host.to_owned(),
            uname: uname.trim().to_owned(),
        })?;
        let mut texts = Vec::new();
        for kind in system.reports() {
            if kind.is_needed() {
                texts.push((kind, self.needed(kind.command(), Some(system))?));
            } else if let Some(text) = self.optional(kind, terminal)? {
                texts.push((kind, text));
            }
        }
        Ok(HostReport {
            name: self.host.to_owned(),
            texts,
        })
    }

    fn needed(&self, command: &'static str, system: Option<System>) -> anyhow::Result<Vec<u8>> {
        let output = self.output(command)?;
        if !output.status.success() {
            let failed = DiscoverError::Failed {
                host: self.host.to_owned(),
                command,
                said: said(&output),
                system,
            };
            return Err(failed.into());
        }
        Ok(output.stdout)
    }

    /// What only some nodes have.
    fn optional(&self, kind: ReportKind, terminal: &Terminal) -> anyhow::Result<Option<Vec<u8>>> {
        let output = self.output(kind.command())?;
        if !output.status.success() {
            let (command, host) = (kind.command(), self.host);
            terminal.note(&format!("{host} has no `{command}`; done without"));
            return Ok(None);
        }
        Ok(Some(output.stdout))
    }

    /// Runs a command on the node by a shell that finds what is in sbin, which `ssh` may
    /// leave out of the path.
    fn output(&self, command: &str) -> anyhow::Result<Output> {
        self.cancel.check()?;
        let script = format!("PATH=$PATH:/usr/sbin:/sbin; LC_ALL=C; export PATH LC_ALL; {command}");
        let (host, shell) = (self.host, &self.shell);
        let local = host == "localhost";
        let cmd = if local {
            cmd!(shell, "sh -c {script}")
        } else {
            // A node that does not answer must not hold up the others for minutes, and
            // nobody can answer a question that several ask at once.
            let script = format!("sh -c '{script}'");
            cmd!(
                shell,
                "ssh -n -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5
                 -o ServerAliveCountMax=3 -- {host} {script}"
            )
        };
        let program = if local { "sh" } else { "ssh" };
        let output = cmd.quiet().ignore_status().output();
        let output = output.map_err(|cause| DiscoverError::NotStarted { program, cause })?;
        // Ctrl-C goes to the children too, and their end may be seen before our own signal.
        if output.status.signal() == Some(SIGINT) {
            self.cancel.cancel();
        }
        self.cancel.check()?;
        if !local && output.status.code() == Some(SSH_FAILED) {
            let unreachable = DiscoverError::Unreachable {
                host: host.to_owned(),
                said: said(&output),
            };
            return Err(unreachable.into());
        }
        Ok(output)
    }
}

/// The last line of a failure, or how it ended.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned())
}
