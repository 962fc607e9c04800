//! Ranks on the nodes of a rig that are machines of their own.

use std::{collections::BTreeMap, process::Command};

use launch::Progress;
use meter::{FILE_VARIABLE, NEXT_VARIABLE};
use remote::{Error, Part, Seat, Staged};

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
    staged: BTreeMap<Engine, BTreeMap<String, Staged>>,
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
        let staged = self.hosts.stage(parts, progress)?;
        self.staged.insert(engine, staged);
        Ok(())
    }

    /// The place of the next rank on a node.
    ///
    /// # Panics
    /// The rig has no such node, or the engine was not staged.
    pub(crate) fn seat(&self, engine: Engine, node: &str) -> Seat {
        let staged = self.staged.get(&engine);
        let staged = staged.expect("every engine was staged");
        Seat::new(self.hosts.host(node), &staged[node])
    }

    /// An address and a port at which the rank on a node can listen for the others.
    pub(crate) fn coordinator(&self, node: &str) -> Result<String, Error> {
        Ok(self.hosts.host(node).free_port()?.to_string())
    }
}

/// The job as it is on the node of a rank.
pub(crate) fn job_there(seat: &Seat, mut job: Job) -> Job {
    if let JobModel::Folder(folder) = &mut job.model {
        *folder = seat.host().model(folder);
    }
    job
}

/// The command that runs a rank on its node, and what it reads first.
pub(crate) fn order(seat: &Seat, program: &RankProgram, start: &RankStart) -> (Command, String) {
    let mut seat = seat.clone();
    let job = serde_json::to_string(&start.job).expect("a job is plain data");
    let job = seat.add(JOB, job);
    let mut args = program.args.clone();
    args.extend(["--job".to_owned(), job]);
    // The folders of this machine's libraries are not there.
    let env = program.env.iter().chain(&start.env).cloned();
    let mut env: Vec<_> = env
        .filter(|(name, _)| name != softrail::LIBRARY_PATH)
        .collect();
    env.push((softrail::LIBRARY_PATH.to_owned(), seat.folders(&LIBRARIES)));
    for (name, value) in &mut env {
        match &**name {
            FILE_VARIABLE => *value = seat.follow(COUNTERS),
            NEXT_VARIABLE => *value = seat.there(value.as_ref()).display().to_string(),
            _ => {}
        }
    }
    seat.order(&program.path, &args, env)
}
