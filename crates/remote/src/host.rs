//! A node that is connected and has an agent.

use std::{
    fs::{self, File},
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    path::{self, Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use launch::{Death, Launcher, Progress};
use nodes::ModelFile;
use rig::Node;

use crate::{
    Error, Result,
    agent::stage::{AGENTS, SCRATCH, TREES},
    connection::{Connection, quoted},
    model::difference,
    talk::Talk,
    tree::{Content, Part, Tree, sha256},
    wire::{Facts, Reply, Request, Run},
};

/// How long an agent may take for an answer that needs no large files.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an agent may take to hash what it has, or a model's files.
const LONG: Duration = Duration::from_secs(600);

/// The stage of a node whose rig names none, below its user's home.
const STAGE: &str = ".cache/mlx-rails/stage";

/// The exit code of the first script when another user owns the stage.
const OTHERS_STAGE: i32 = 3;

/// A node: its connection, its stage, and the agent there.
pub struct Host {
    /// Its name in the rig.
    pub name: String,
    /// Where the other nodes reach it.
    pub address: Option<IpAddr>,
    models: Option<PathBuf>,
    connection: Connection,
    root: PathBuf,
    agent: PathBuf,
    facts: Facts,
    launcher: Launcher,
    runs: AtomicU32,
}

/// The files of some parts on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    root: PathBuf,
    parts: Vec<Part>,
}

impl Staged {
    /// A path below the folder of the parts.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a file of this machine is on the node. A path that is of no part stays as it
    /// is.
    pub fn there(&self, local: &Path) -> PathBuf {
        for part in &self.parts {
            if let Ok(below) = local.strip_prefix(&part.local) {
                let there = self.root.join(&part.name).join(below);
                // Joining an empty path adds a separator.
                return there.components().collect();
            }
        }
        local.to_owned()
    }
}

impl Host {
    /// Connects to a node and brings the agent there.
    pub(crate) fn connect(
        launcher: &Launcher,
        node: &Node,
        (agent, hash): (&Path, &str),
        system: &str,
    ) -> Result<Self> {
        let connection = Connection::open(launcher, node)?;
        let root = prepare(launcher, &connection, node, system)?;
        let mut host = Host {
            name: node.name.clone(),
            address: node.address,
            models: node.models.clone(),
            agent: root.join(AGENTS).join(hash),
            root,
            connection,
            facts: Facts {
                name: String::new(),
                machine: String::new(),
                free: 0,
            },
            launcher: launcher.clone(),
            runs: AtomicU32::new(0),
        };
        host.install(agent, hash)?;
        host.facts = host.hello()?;
        Ok(host)
    }

    /// What the agent says about the node.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The stage.
    pub fn stage_folder(&self) -> &Path {
        &self.root
    }

    /// Where a model's folder of this machine is on the node.
    pub fn model(&self, local: &Path) -> PathBuf {
        match (&self.models, local.file_name()) {
            (Some(models), Some(name)) => models.join(name),
            _ => local.to_owned(),
        }
    }

    /// Brings the files of a tree of these parts to the node: those that it does not have.
    pub(crate) fn stage(
        &self,
        parts: &[Part],
        (tree, sources): (&Tree, &[PathBuf]),
        progress: &dyn Progress,
    ) -> Result<Staged> {
        let root = self.root.join(TREES).join(tree.key());
        let mut talk = self.ask(&Request::Receive(tree.clone()))?;
        let what = "received files";
        let missing = match self.reply(&mut talk, what, LONG)? {
            Reply::Missing(missing) => missing,
            Reply::Published => vec![],
            other => return Err(self.unexpected(&other)),
        };
        if !missing.is_empty() {
            self.send(&mut talk, tree, sources, &missing, progress)?;
            match self.reply(&mut talk, what, LONG)? {
                Reply::Published => {}
                other => return Err(self.unexpected(&other)),
            }
        }
        let mut known = Vec::new();
        for part in parts {
            // A path may be given by its real name, or through a link.
            let real = fs::canonicalize(&part.local).unwrap_or_else(|_| part.local.clone());
            known.extend([part.clone(), Part::new(&*part.name, real)]);
        }
        Ok(Staged { root, parts: known })
    }

    fn send(
        &self,
        talk: &mut Talk,
        tree: &Tree,
        sources: &[PathBuf],
        missing: &[usize],
        progress: &dyn Progress,
    ) -> Result<()> {
        let bytes = |at: &usize| match tree.entries.get(*at).map(|entry| &entry.content) {
            Some(Content::File(blob)) => blob.bytes,
            _ => 0,
        };
        let all: u64 = missing.iter().map(bytes).sum();
        progress.step(
            "Sending",
            &format!("{} files to node '{}'", missing.len(), self.name),
        );
        let mut done = 0;
        for at in missing {
            let path = &sources[*at];
            let file = File::open(path).map_err(|source| Error::local(path, source))?;
            // A file that grew meanwhile is cut; one that shrank has another hash there.
            let mut file = file.take(bytes(at));
            let mut piece = vec![0; 1 << 20];
            loop {
                let length = file.read(&mut piece);
                let length = length.map_err(|source| Error::local(path, source))?;
                if length == 0 {
                    break;
                }
                talk.send(&piece[..length])?;
                done += length as u64;
                progress.advance(done >> 20, all >> 20, "MB");
            }
        }
        progress.finish();
        Ok(())
    }

    /// The name of a folder for the next rank on the node, and the folder.
    pub fn folder(&self) -> (String, PathBuf) {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let name = format!("run-{}-{run}-{}", process::id(), random());
        let path = self.root.join(SCRATCH).join(&name);
        (name, path)
    }

    /// The command that runs a rank on the node, and what it reads first; for
    /// [`launch::Ranks::start_far`].
    pub fn order(&self, run: Run) -> (Command, String) {
        (self.agent_command(), text(&Request::Run(run)))
    }

    /// A port at the node's address that no program uses.
    ///
    /// # Errors
    /// When the node does not have the address that the rig gives.
    pub fn free_port(&self) -> Result<SocketAddr> {
        let (listening, _talk) = self.listen()?;
        Ok(listening)
    }

    /// Lets the node listen until the conversation ends.
    fn listen(&self) -> Result<(SocketAddr, Talk)> {
        let address = self.address.ok_or_else(|| Error::Failed {
            node: self.name.clone(),
            message: "the rig gives it no address".to_owned(),
        })?;
        if address.is_ipv6() {
            return Err(Error::NotItsAddress {
                node: self.name.clone(),
                address,
                said: "ranks meet at an IPv4 address".to_owned(),
            });
        }
        let mut talk = self.ask(&Request::Listen(address))?;
        match self.reply(&mut talk, "listened", PATIENCE) {
            Ok(Reply::Listening(port)) => Ok((SocketAddr::new(address, port), talk)),
            Ok(other) => Err(self.unexpected(&other)),
            Err(Error::Failed { node, message }) => Err(Error::NotItsAddress {
                node,
                address,
                said: message,
            }),
            Err(error) => Err(error),
        }
    }

    /// Checks that other nodes reach this one.
    pub(crate) fn check_reached(&self, others: &[&Host]) -> Result<()> {
        let (at, _listening) = self.listen()?;
        for other in others {
            let mut talk = other.ask(&Request::Reach(at))?;
            match other.reply(&mut talk, "connected to another node", PATIENCE) {
                Ok(Reply::Reached) => {}
                Ok(reply) => return Err(other.unexpected(&reply)),
                Err(Error::Failed { node, message }) => {
                    return Err(Error::NoWay {
                        from: node,
                        to: self.name.clone(),
                        address: at.ip(),
                        said: message,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Checks that the node has the model that is in a folder of this machine.
    ///
    /// # Errors
    /// When a file differs, or cannot be read.
    pub fn check_model(&self, local: &Path) -> Result<()> {
        let here = path::absolute(local).map_err(|source| Error::local(local, source))?;
        let ours = self.sample(&Connection::Here, &here)?;
        let ours = ours.map_err(|why| Error::local(local, io::Error::other(why)))?;
        let folder = self.model(local);
        let theirs = self.sample(&self.connection, &folder)?;
        let theirs = theirs.map_err(|message| Error::Failed {
            node: self.name.clone(),
            message,
        })?;
        match difference(&ours, &theirs) {
            None => Ok(()),
            Some(difference) => Err(Error::OtherModel {
                node: self.name.clone(),
                folder,
                difference,
            }),
        }
    }

    /// The files of a model, or why there is none.
    fn sample(
        &self,
        connection: &Connection,
        folder: &Path,
    ) -> Result<Result<Vec<ModelFile>, String>> {
        let (node, what) = (self.name.clone(), "read the model");
        let command = connection.command(&nodes::model_script(folder));
        let said = match launch::output_within(&self.launcher, what, command, LONG) {
            Ok(said) => said,
            Err(launch::Error::Interrupted(interrupted)) => return Err(interrupted.into()),
            Err(error) => {
                return Err(Error::Start {
                    node,
                    program: "ssh".to_owned(),
                    source: io::Error::other(error),
                });
            }
        };
        if said.late {
            let limit = LONG;
            return Err(Error::Late { node, what, limit });
        }
        if said.stdout.is_empty() {
            let last = said.stderr.lines().last().map(str::to_owned);
            let said = last.unwrap_or_else(|| said.death.to_string());
            return Err(Error::Lost { node, what, said });
        }
        Ok(nodes::model(&said.stdout))
    }

    /// Removes what was staged. Returns how many bytes that were.
    ///
    /// # Errors
    /// When a rank runs there, or a file cannot be removed.
    pub fn clean(&self) -> Result<u64> {
        let mut talk = self.ask(&Request::Clean)?;
        match self.reply(&mut talk, "removed its stage", LONG)? {
            Reply::Cleaned(bytes) => Ok(bytes),
            other => Err(self.unexpected(&other)),
        }
    }

    fn hello(&self) -> Result<Facts> {
        let mut talk = self.ask(&Request::Hello)?;
        match self.reply(&mut talk, "described itself", PATIENCE) {
            Ok(Reply::Hello(facts)) => Ok(facts),
            Ok(other) => Err(self.unexpected(&other)),
            Err(Error::Lost { node, said, .. }) => Err(Error::Agent { node, said }),
            Err(error) => Err(error),
        }
    }

    fn agent_command(&self) -> Command {
        let [agent, root] = [&self.agent, &self.root].map(|path| quoted(&path.to_string_lossy()));
        self.connection.command(&format!("exec {agent} {root}"))
    }

    fn ask(&self, request: &Request) -> Result<Talk> {
        let mut talk = Talk::start(&self.launcher, &self.name, self.agent_command())?;
        talk.send(format!("{}\n", text(request)).as_bytes())?;
        Ok(talk)
    }

    fn reply(&self, talk: &mut Talk, what: &'static str, patience: Duration) -> Result<Reply> {
        let line = talk.line(patience)?;
        let reply = line.and_then(|line| serde_json::from_str(&line).ok());
        match reply {
            Some(Reply::Failed(failure)) if failure.full => Err(Error::Full {
                node: self.name.clone(),
                message: failure.message,
            }),
            Some(Reply::Failed(failure)) => Err(Error::Failed {
                node: self.name.clone(),
                message: failure.message,
            }),
            Some(reply) => Ok(reply),
            None if talk.is_open() => Err(Error::Late {
                node: self.name.clone(),
                what,
                limit: patience,
            }),
            None => Err(Error::Lost {
                node: self.name.clone(),
                what,
                said: talk.said(),
            }),
        }
    }

    fn unexpected(&self, reply: &Reply) -> Error {
        Error::Failed {
            node: self.name.clone(),
            message: format!("the agent answered {}", text(reply)),
        }
    }

    /// Brings the agent to the node, unless it is there and right.
    fn install(&self, agent: &Path, hash: &str) -> Result<()> {
        let [root, at] = [&*self.root.to_string_lossy(), hash].map(quoted);
        let script = format!(
            "umask 077; cd {root}/{AGENTS} || exit\n\
             right() {{ {{ sha256sum \"$1\" 2>/dev/null || shasum -a 256 \"$1\"; }} | grep -q \"^{hash}\"; }}\n\
             [ -x {at} ] && right {at} && echo there && exit\n\
             echo send\n\
             new=.new-$$; trap 'rm -f \"$new\"' EXIT HUP TERM\n\
             cat > \"$new\" && chmod 700 \"$new\" && right \"$new\" && mv \"$new\" {at} && echo there\n"
        );
        let mut talk = Talk::start(&self.launcher, &self.name, self.connection.command(&script))?;
        let mut line = talk.line(PATIENCE)?;
        if line.as_deref() == Some("send") {
            let bytes = fs::read(agent).map_err(|source| Error::local(agent, source))?;
            talk.send(&bytes)?;
            talk.close();
            line = talk.line(LONG)?;
        }
        match line.as_deref() {
            Some("there") => Ok(()),
            None if talk.is_open() => Err(Error::Late {
                node: self.name.clone(),
                what: "taken the agent",
                limit: LONG,
            }),
            _ => {
                talk.end(PATIENCE)?;
                let said = talk.said();
                let node = self.name.clone();
                Err(match said.contains("No space left") {
                    true => Error::Full {
                        node,
                        message: said,
                    },
                    false => Error::Agent { node, said },
                })
            }
        }
    }
}

/// Makes the node's stage, and checks that the node is like this machine. Returns the
/// stage's path.
fn prepare(
    launcher: &Launcher,
    connection: &Connection,
    node: &Node,
    ours: &str,
) -> Result<PathBuf> {
    let stage = node.stage.clone().unwrap_or_else(|| STAGE.into());
    let stage = stage.to_string_lossy().into_owned();
    let quoted = quoted(&stage);
    // A folder of a user's own: nobody else can have put a program there.
    let script = format!(
        "uname -sm; cd && umask 077 && mkdir -p -- {quoted} && cd -- {quoted} || exit\n\
         [ -O . ] || {{ ls -ld . >&2; exit {OTHERS_STAGE}; }}\n\
         mkdir -p {AGENTS} && : > {AGENTS}/.new-$$ && rm {AGENTS}/.new-$$ || exit\n\
         pwd -P\n"
    );
    let mut talk = Talk::start(launcher, &node.name, connection.command(&script))?;
    talk.close();
    let theirs = talk.line(PATIENCE)?.unwrap_or_default();
    if theirs.is_empty() && talk.is_open() {
        return Err(Error::Late {
            node: node.name.clone(),
            what: "described itself",
            limit: PATIENCE,
        });
    }
    let root = talk.line(PATIENCE)?;
    let death = talk.end(PATIENCE)?;
    if theirs.is_empty() {
        return Err(Error::Lost {
            node: node.name.clone(),
            what: "described itself",
            said: talk.said(),
        });
    }
    if theirs != ours {
        return Err(Error::OtherSystem {
            node: node.name.clone(),
            theirs,
            ours: ours.to_owned(),
        });
    }
    match root {
        Some(root) => Ok(root.into()),
        None => Err(Error::Stage {
            node: node.name.clone(),
            stage,
            said: match death {
                Some(Death::Exited(OTHERS_STAGE)) => {
                    format!("another user owns it ({})", talk.said())
                }
                _ => talk.said(),
            },
        }),
    }
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("a message is plain data")
}

/// A few characters that no other launcher has at this moment.
fn random() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    format!("{:x}", now.as_nanos())
}

/// The hash of a file.
pub(crate) fn hash_of(path: &Path) -> Result<String> {
    let hash = File::open(path).and_then(sha256);
    hash.map_err(|source| Error::local(path, source))
}
