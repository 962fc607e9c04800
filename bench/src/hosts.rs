//! Ranks on the nodes of a rig that are machines of their own.

use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::Arc};

use launch::Progress;
use meter::{FILE_VARIABLE, NEXT_VARIABLE};
use remote::{Error, Host, Part, Run, Staged};

use crate::{
    engine::Engine,
    launch::{RankProgram, RankStart},
    protocol::{Job, JobModel},
};

/// The folders of an engine's parts in which a loader finds libraries, in this order: the
/// meter under the name of the verbs library, the emulated cables' verbs library, and the
/// libraries of the engine's program.
pub const LIBRARIES: [&str; 3] = ["meter", "cables", "lib"];

/// The name of a rank's job among its files.
const JOB: &str = "job.json";

/// The name of the meter's file in a rank's folder.
const COUNTERS: &str = "counters";

/// The nodes of a rig, with the engines' programs on them.
pub struct Hosts {
    hosts: remote::Hosts,
    /// By engine and node.
    staged: BTreeMap<(Engine, String), Staged>,
}

impl Hosts {
    /// Connected nodes, without programs yet.
    pub fn new(hosts: remote::Hosts) -> Self {
        Hosts {
            hosts,
            staged: BTreeMap::new(),
        }
    }

    /// Brings the program of an engine to every node: all local files that its
    /// [`RankProgram`] names, and those in [`LIBRARIES`].
    ///
    /// # Errors
    /// When a node cannot take them.
    pub fn stage(
        &mut self,
        engine: Engine,
        parts: &[Part],
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        for host in self.hosts.all() {
            let staged = host.stage(parts, progress)?;
            self.staged.insert((engine, host.name.clone()), staged);
        }
        Ok(())
    }

    /// The place of the next rank on a node.
    ///
    /// # Panics
    /// The rig has no such node, or the engine was not staged.
    pub(crate) fn seat(&self, engine: Engine, node: &str) -> Seat {
        let host = Arc::clone(self.hosts.host(node));
        let staged = self.staged.get(&(engine, node.to_owned()));
        let (name, folder) = host.folder();
        Seat {
            staged: staged.expect("every engine was staged").clone(),
            host,
            name,
            folder,
            files: vec![],
        }
    }

    /// An address and a port at which the rank on a node can listen for the others.
    pub(crate) fn coordinator(&self, node: &str) -> Result<String, Error> {
        Ok(self.hosts.host(node).free_port()?.to_string())
    }
}

/// The place of one rank on a node.
#[derive(Clone)]
pub struct Seat {
    host: Arc<Host>,
    staged: Staged,
    name: String,
    folder: PathBuf,
    files: Vec<(String, String)>,
}

impl Seat {
    /// Adds a file to the rank's folder. Returns its path on the node.
    pub(crate) fn add(&mut self, name: &str, text: String) -> String {
        self.files.push((name.to_owned(), text));
        self.folder.join(name).display().to_string()
    }

    /// The job as it is on the node.
    pub(crate) fn job(&self, mut job: Job) -> Job {
        if let JobModel::Folder(folder) = &mut job.model {
            *folder = self.host.model(folder);
        }
        job
    }

    /// The command that runs the rank, and what it reads first.
    pub(crate) fn order(&self, program: &RankProgram, start: &RankStart) -> (Command, String) {
        let mut seat = self.clone();
        let job = serde_json::to_string(&start.job).expect("a job is plain data");
        let job = seat.add(JOB, job);
        let there = |arg: &String| self.staged.there(arg.as_ref()).display().to_string();
        let mut args: Vec<_> = program.args.iter().map(there).collect();
        args.extend(["--job".to_owned(), job]);
        // The folders of this machine's libraries are not there.
        let env = program.env.iter().chain(&start.env).cloned();
        let mut env: Vec<_> = env
            .filter(|(name, _)| name != softrail::LIBRARY_PATH)
            .collect();
        let libraries = LIBRARIES.map(|name| self.staged.path(name).display().to_string());
        env.push((softrail::LIBRARY_PATH.to_owned(), libraries.join(":")));
        let mut follow = None;
        for (name, value) in &mut env {
            match &**name {
                FILE_VARIABLE => {
                    *value = seat.folder.join(COUNTERS).display().to_string();
                    follow = Some(COUNTERS.to_owned());
                }
                NEXT_VARIABLE => *value = there(value),
                _ => {}
            }
        }
        self.host.order(Run {
            program: self.staged.there(&program.path),
            args,
            env,
            folder: seat.name,
            files: seat.files,
            follow,
        })
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.folder.display(), self.host.name)
    }
}
