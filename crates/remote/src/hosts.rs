//! The nodes of a rig, all connected.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
};

use launch::{Launcher, Progress};
use rig::Node;

use crate::{Error, Host, Part, Result, Staged, host::hash_of, tree::Tree};

/// The nodes of a rig.
#[derive(Clone)]
pub struct Hosts {
    hosts: Vec<Arc<Host>>,
}

impl Hosts {
    /// Connects to every node of a rig at once, and brings the agent there: the program
    /// `rails-agent` at this path.
    ///
    /// # Errors
    /// The problem of the first node that has one, in the order of the rig.
    pub fn connect(
        launcher: &Launcher,
        progress: &dyn Progress,
        nodes: &[Node],
        agent: &Path,
    ) -> Result<Self> {
        let names: Vec<_> = nodes.iter().map(|node| &*node.name).collect();
        progress.step("Connecting", &names.join(", "));
        let hash = hash_of(agent)?;
        let system = own_system(launcher)?;
        let connect = |node| Host::connect(launcher, node, (agent, &hash), &system);
        let hosts = thread::scope(|scope| {
            let started: Vec<_> = nodes
                .iter()
                .map(|node| scope.spawn(move || connect(node)))
                .collect();
            let hosts = started.into_iter().map(|host| match host.join() {
                Ok(host) => host.map(Arc::new),
                Err(panic) => std::panic::resume_unwind(panic),
            });
            // All of them are waited for, so that the first problem is that of the rig.
            hosts.collect::<Vec<_>>()
        });
        progress.finish();
        launcher.cancel().check()?;
        let hosts = hosts.into_iter().collect::<Result<Vec<_>>>()?;
        let mut machines = HashMap::new();
        for host in &hosts {
            if let Some(first) = machines.insert(&host.facts().machine, &host.name) {
                return Err(Error::SameMachine {
                    first: first.clone(),
                    second: host.name.clone(),
                    name: host.facts().name.clone(),
                });
            }
        }
        Ok(Hosts { hosts })
    }

    /// Checks that every node has its address, and that the others reach it there.
    ///
    /// # Errors
    /// The first problem.
    pub fn check_addresses(&self) -> Result<()> {
        for (at, host) in self.hosts.iter().enumerate() {
            let others = self.hosts.iter().enumerate();
            let others = others.filter(|(other, _)| *other != at);
            let others: Vec<_> = others.map(|(_, other)| &**other).collect();
            host.check_reached(&others)?;
        }
        Ok(())
    }

    /// Brings files to every node: those that it does not have. Returns, by node, where they
    /// are.
    ///
    /// # Errors
    /// When a file cannot be read here, or a node cannot take them.
    pub fn stage(
        &self,
        parts: &[Part],
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, Staged>> {
        progress.step("Hashing", "what the nodes need");
        let (tree, sources) = Tree::of(parts, |done, all| {
            progress.advance(done >> 20, all >> 20, "MB");
        })?;
        progress.finish();
        let stage = |host: &Arc<Host>| {
            let staged = host.stage(parts, (&tree, &sources), progress)?;
            Ok((host.name.clone(), staged))
        };
        self.hosts.iter().map(stage).collect()
    }

    /// All nodes, in the order of the rig.
    pub fn all(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    /// A node by its name.
    ///
    /// # Panics
    /// The rig has no such node.
    pub fn host(&self, name: &str) -> &Arc<Host> {
        let mut hosts = self.hosts.iter();
        let found = hosts.find(|host| host.name == name);
        found.expect("the name is of a node of the rig")
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.hosts.iter().map(|host| &host.name))
            .finish()
    }
}

/// `uname -sm` of this machine.
fn own_system(launcher: &Launcher) -> Result<String> {
    let mut uname = Command::new("uname");
    uname.arg("-sm");
    match launch::capture(launcher, "naming this system", uname) {
        Ok(said) => Ok(said.trim_end().to_owned()),
        Err(launch::Error::Interrupted(interrupted)) => Err(interrupted.into()),
        Err(error) => Err(Error::local(
            Path::new("uname"),
            std::io::Error::other(error),
        )),
    }
}
