//! `discover`: queries the nodes over the system's `ssh`.

use std::{
    collections::HashMap,
    io, thread,
    time::{Duration, SystemTime},
};

use launch::{Captured, Death, Launcher, Progress, SSH_FAILED, ssh_remedy};
use rail_matrix::read::{self, HostReport, ReportKind, System};
use terminal::{Terminal, output};
use xshell::{Shell, cmd};

use crate::{Answer, Error, flags, plan, reports};

/// How long a tool of a node may take. `system_profiler` takes seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a node could not be queried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// The name is not one that `ssh` takes for a host.
    #[error("'{0}' is no host")]
    BadHost(String),
    /// A host is named twice.
    #[error("host '{0}' is named twice")]
    Repeated(String),
    /// Two hosts differ only in case.
    #[error(
        "hosts '{0}' and '{1}' differ only in case, and their reports would have one folder where \
         the disk ignores case"
    )]
    OneFolder(String, String),
    /// `ssh` or the shell cannot be started.
    #[error("cannot start {program}")]
    NotStarted {
        /// The program.
        program: &'static str,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// `ssh` did not log in.
    #[error("cannot reach '{host}': {said}")]
    Unreachable {
        /// The host.
        host: String,
        /// The last line that `ssh` printed.
        said: String,
    },
    /// A host of a system whose tools are not known.
    #[error("'{host}' runs {uname}; nodes run macOS (Darwin) or Linux")]
    UnknownSystem {
        /// The host.
        host: String,
        /// Its system.
        uname: String,
    },
    /// A script that no shell takes.
    #[error("a script has a NUL byte, which no shell takes")]
    NulInScript,
    /// A tool does not end.
    #[error("`{command}` did not end within {} s on '{host}'", LIMIT.as_secs())]
    Late {
        /// The host.
        host: String,
        /// The tool.
        command: &'static str,
    },
    /// A tool that is needed failed.
    #[error("`{command}` failed on '{host}': {said}")]
    Failed {
        /// The host.
        host: String,
        /// The tool.
        command: &'static str,
        /// The last line that it printed.
        said: String,
        /// The host's system, if it is known.
        system: Option<System>,
    },
}

impl DiscoverError {
    /// Whether other hosts, or hosts in another state, would help.
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::NotStarted { .. } | Self::NulInScript)
    }

    /// The remedy.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::BadHost(_) => {
                "write it as for ssh: a name, an address, or USER@ and one of them".to_owned()
            }
            Self::Repeated(_) => "name every node once".to_owned(),
            Self::OneFolder(..) => {
                "name every node once, or one of the two by its address".to_owned()
            }
            Self::NotStarted { .. } => {
                "install it, or give `plan --from` a folder of reports".to_owned()
            }
            Self::Unreachable { host, said } => ssh_remedy(host, said),
            Self::UnknownSystem { .. } | Self::NulInScript => return None,
            Self::Late { .. } => {
                "run it there in a terminal; if it hangs there too, restart the node".to_owned()
            }
            Self::Failed { system, .. } => match system {
                Some(System::MacOs) => "run it on that Mac in a terminal, which shows why",
                Some(System::Linux) => "install iproute2 there, which has rdma and ip",
                None => "let the user log in to a shell",
            }
            .to_owned(),
        })
    }
}

pub fn run(launcher: &Launcher, flags: &flags::Discover) -> Result<Answer, Error> {
    let hosts = ask(launcher, &flags.hosts)?;
    if let Some(folder) = &flags.save {
        for host in &hosts {
            reports::save(folder, host)?;
        }
    }
    plan::over(&read::reports(&hosts)?, &flags.options)
}

/// Asks hosts over `ssh` what their tools say about their cabling.
///
/// # Errors
/// A host cannot be asked, or the caller asked to stop.
pub fn ask(launcher: &Launcher, hosts: &[String]) -> Result<Vec<HostReport>, Error> {
    check(hosts)?;
    let terminal = Terminal::default();
    terminal.step("Asking", &hosts.join(", "));
    let asked = ask_all(launcher, &terminal, hosts);
    terminal.finish();
    // One of several nodes may have failed before the caller asked to stop.
    launcher.cancel().check()?;
    asked
}

/// What a script printed on a host, and when it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its output, and how it ended.
    pub output: Captured,
    /// Before the connection was made.
    pub begun: SystemTime,
    /// After the script had ended.
    pub ended: SystemTime,
}

/// Runs a script of the shell on each host, on all at once: by the system's `ssh`, and on
/// `localhost` without it. Of each host the outcome is its own: another may not answer. A
/// script that takes longer than the limit is ended, and what it has printed is kept.
///
/// # Errors
/// If a name is no host's, two are one, or the caller asked to stop.
pub fn on_hosts(
    launcher: &Launcher,
    scripts: &[(String, String)],
    limit: Duration,
) -> Result<Vec<Result<Ran, Error>>, Error> {
    let hosts: Vec<_> = scripts.iter().map(|(host, _)| host.clone()).collect();
    check(&hosts)?;
    let terminal = Terminal::default();
    terminal.step("Asking", &hosts.join(", "));
    let ran = each(scripts, |(host, script)| {
        let begun = SystemTime::now();
        let output = Node::new(launcher, host)?.output(script, limit)?;
        Ok(Ran {
            output,
            begun,
            ended: SystemTime::now(),
        })
    });
    terminal.finish();
    launcher.cancel().check()?;
    Ok(ran)
}

/// A host's name is also the name of its folder. Neither host names nor folders on a
/// Mac's disk are case-sensitive.
fn check(hosts: &[String]) -> Result<(), DiscoverError> {
    let mut seen = HashMap::new();
    for host in hosts {
        if host.is_empty() || host.starts_with(['-', '.']) || host.contains(['/', '\\', '\0']) {
            return Err(DiscoverError::BadHost(host.clone()));
        }
        match seen.insert(host.to_lowercase(), host) {
            Some(before) if before == host => return Err(DiscoverError::Repeated(host.clone())),
            Some(before) => return Err(DiscoverError::OneFolder(before.clone(), host.clone())),
            None => {}
        }
    }
    Ok(())
}

/// Queries all nodes at once. If several fail, the error is that of the first host.
fn ask_all(
    launcher: &Launcher,
    terminal: &Terminal,
    hosts: &[String],
) -> Result<Vec<HostReport>, Error> {
    let asked = each(hosts, |host: &String| {
        Node::new(launcher, host)?.ask(terminal)
    });
    asked.into_iter().collect()
}

/// Does the same for all hosts at once.
fn each<H: Sync, T: Send>(hosts: &[H], of: impl Fn(&H) -> T + Sync) -> Vec<T> {
    let of = &of;
    thread::scope(|scope| {
        let start = |host| scope.spawn(move || of(host));
        let started: Vec<_> = hosts.iter().map(start).collect();
        let ends = started.into_iter().map(|host| match host.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ends.collect()
    })
}

/// A node that is being queried.
struct Node<'a> {
    launcher: &'a Launcher,
    host: &'a str,
    /// Each thread needs its own.
    shell: Shell,
}

impl<'a> Node<'a> {
    fn new(launcher: &'a Launcher, host: &'a str) -> Result<Self, Error> {
        let shell = Shell::new()?;
        Ok(Self {
            launcher,
            host,
            shell,
        })
    }

    fn ask(&self, terminal: &Terminal) -> Result<HostReport, Error> {
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

    fn needed(&self, command: &'static str, system: Option<System>) -> Result<Vec<u8>, Error> {
        let output = self.tool(command)?;
        if !output.death.is_success() {
            let failed = DiscoverError::Failed {
                host: self.host.to_owned(),
                command,
                said: said(&output),
                system,
            };
            return Err(failed.into());
        }
        Ok(output.stdout.into_bytes())
    }

    /// The reports that only some nodes have.
    fn optional(&self, kind: ReportKind, terminal: &Terminal) -> Result<Option<Vec<u8>>, Error> {
        let output = self.tool(kind.command())?;
        if !output.death.is_success() {
            let (command, host) = (kind.command(), self.host);
            terminal.note(&format!("{host} has no `{command}`; done without"));
            return Ok(None);
        }
        Ok(Some(output.stdout.into_bytes()))
    }

    fn tool(&self, command: &'static str) -> Result<Captured, Error> {
        let output = self.output(command, LIMIT)?;
        match output.late {
            true => Err(DiscoverError::Late {
                host: self.host.to_owned(),
                command,
            }
            .into()),
            false => Ok(output),
        }
    }

    /// Runs a command on the node with a shell that searches sbin, which `ssh` may leave
    /// out of the path.
    fn output(&self, command: &str, limit: Duration) -> Result<Captured, Error> {
        let script = format!("PATH=$PATH:/usr/sbin:/sbin; LC_ALL=C; export PATH LC_ALL; {command}");
        let (host, shell) = (self.host, &self.shell);
        let local = host == "localhost";
        let cmd = if local {
            cmd!(shell, "sh -c {script}")
        } else {
            // A node that does not answer must not delay the others for minutes, and a
            // user cannot answer a prompt when several connections ask at once.
            let script = shlex::try_quote(&script).map_err(|_| DiscoverError::NulInScript)?;
            let script = format!("sh -c {script}");
            cmd!(
                shell,
                "ssh -n -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5
                 -o ServerAliveCountMax=3 -- {host} {script}"
            )
        };
        let program = if local { "sh" } else { "ssh" };
        output::command(&cmd);
        let what = format!("asking '{host}'");
        let output = match launch::output_within(self.launcher, &what, cmd, limit) {
            Ok(output) => output,
            Err(launch::Error::Start { source, .. }) => {
                return Err(DiscoverError::NotStarted { program, source }.into());
            }
            Err(other) => return Err(other.into()),
        };
        if !local && !output.late && output.death == Death::Exited(SSH_FAILED) {
            let unreachable = DiscoverError::Unreachable {
                host: host.to_owned(),
                said: said(&output),
            };
            return Err(unreachable.into());
        }
        Ok(output)
    }
}

/// The last line of a failed command's output, or how it ended.
fn said(output: &Captured) -> String {
    let last = output.stderr.lines().rev();
    let last = last.map(str::trim).find(|line| !line.is_empty());
    last.map_or_else(|| output.death.to_string(), str::to_owned)
}
