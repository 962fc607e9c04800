//! The place of one rank on a node.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use crate::{Host, Run, Staged};

/// The place of one rank on a node: what was staged for it, and a folder of its own, which
/// ends with it.
#[derive(Clone)]
pub struct Seat {
    host: Arc<Host>,
    staged: Staged,
    name: String,
    folder: PathBuf,
    files: Vec<(String, String)>,
    follow: Option<String>,
}

impl Seat {
    /// The place of the next rank on a node.
    pub fn new(host: &Arc<Host>, staged: &Staged) -> Self {
        let (name, folder) = host.folder();
        Seat {
            host: Arc::clone(host),
            staged: staged.clone(),
            name,
            folder,
            files: vec![],
            follow: None,
        }
    }

    /// The node.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Adds a file to the rank's folder. Returns its path on the node.
    pub fn add(&mut self, name: &str, text: String) -> String {
        self.files.push((name.to_owned(), text));
        self.folder.join(name).display().to_string()
    }

    /// Makes the agent report a file that the rank writes into its folder
    /// ([`Run::follow`]). Returns its path on the node.
    pub fn follow(&mut self, name: &str) -> String {
        self.follow = Some(name.to_owned());
        self.folder.join(name).display().to_string()
    }

    /// Where a file of this machine is on the node ([`Staged::there`]).
    pub fn there(&self, local: &Path) -> PathBuf {
        self.staged.there(local)
    }

    /// Folders of the staged parts, as a variable of the environment lists them.
    pub fn folders(&self, names: &[&str]) -> String {
        let folder = |name: &&str| self.staged.path(name).display().to_string();
        names.iter().map(folder).collect::<Vec<_>>().join(":")
    }

    /// The command that runs the rank on the node, and what it reads first; for
    /// [`launch::Ranks::start_far`]. The program and its arguments are files of this machine
    /// where they were staged.
    pub fn order(
        &self,
        program: &Path,
        args: &[String],
        env: Vec<(String, String)>,
    ) -> (Command, String) {
        let there = |arg: &String| self.there(arg.as_ref()).display().to_string();
        self.host.order(Run {
            program: self.there(program),
            args: args.iter().map(there).collect(),
            env,
            folder: self.name.clone(),
            files: self.files.clone(),
            follow: self.follow.clone(),
        })
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.folder.display(), self.host.name)
    }
}
