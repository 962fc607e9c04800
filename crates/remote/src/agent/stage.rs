//! The stage: the folder on a node with what ranks need.
//!
//! ```text
//! agents/SHA256         the agents
//! blobs/SHA256[-x]      contents of files; -x: a program
//! trees/KEY/...         folders of files, which are links to blobs
//! scratch/NAME/         a rank's folder, or files that arrive; ends with its agent
//! ```
//!
//! An entry of the first three appears by rename, after its hash was verified.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

use super::{At, Problem, Result};

/// The folder of agents.
pub(crate) const AGENTS: &str = "agents";
/// The folder of contents.
pub(crate) const BLOBS: &str = "blobs";
/// The folder of trees.
pub(crate) const TREES: &str = "trees";
/// The folder of what ends with an agent.
pub(crate) const SCRATCH: &str = "scratch";

/// An agent locks this file of its scratch folder for as long as it lives; the system
/// unlocks it however the agent ends.
const OWNER: &str = ".owner";

pub(crate) struct Stage {
    root: PathBuf,
}

/// A folder that is removed with its value. One whose agent was killed is removed by the
/// next agent.
pub(crate) struct Scratch {
    path: PathBuf,
    _owner: File,
}

impl Stage {
    pub(crate) fn at(root: PathBuf) -> Self {
        Stage { root }
    }

    /// A folder of the stage, made if it is not there.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).at(&path)?;
        Ok(path)
    }

    /// Bytes that are free.
    pub(crate) fn free(&self) -> Result<u64> {
        let system = rustix::fs::statvfs(&self.root).map_err(std::io::Error::from);
        let system = system.at(&self.root)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    /// A new scratch folder. Those of agents that are gone are removed first.
    pub(crate) fn scratch(&self, name: &str) -> Result<Scratch> {
        if Path::new(name).file_name() != Some(OsStr::new(name)) {
            return Err(Problem::Words(format!("{name:?} is no name of a folder")));
        }
        let parent = self.folder(SCRATCH)?;
        self.sweep(&parent);
        // The folder gets its name after it is locked; otherwise another agent that sweeps
        // meanwhile would take it for one whose agent is gone.
        let new = parent.join(format!(".new-{}", std::process::id()));
        let path = parent.join(name);
        let _ = fs::remove_dir_all(&new);
        DirBuilder::new().mode(0o700).create(&new).at(&new)?;
        let owner = File::create(new.join(OWNER)).at(&new)?;
        if owner.try_lock().is_err() || path.exists() {
            let _ = fs::remove_dir_all(&new);
            return Err(Problem::Words(format!("{} is in use", path.display())));
        }
        fs::rename(&new, &path).at(&path)?;
        Ok(Scratch {
            path,
            _owner: owner,
        })
    }

    /// Removes the scratch folders of agents that are gone. Returns whether others are left.
    fn sweep(&self, parent: &Path) -> bool {
        let mut left = false;
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with(".new-") {
                continue;
            }
            match File::open(path.join(OWNER)) {
                Ok(owner) if owner.try_lock().is_err() => left = true,
                // Another agent may sweep at the same time.
                _ => drop(fs::remove_dir_all(&path)),
            }
        }
        left
    }

    /// Removes everything that agents have put into the stage.
    pub(crate) fn clean(&self) -> Result<u64> {
        let scratch = self.root.join(SCRATCH);
        if self.sweep(&scratch) {
            let root = self.root.display();
            return Err(Problem::Words(format!("{root} is in use by a run")));
        }
        let mut bytes = 0;
        for name in [SCRATCH, TREES, BLOBS, AGENTS] {
            let path = self.root.join(name);
            // A tree's files are links to the blobs.
            if name != TREES {
                let files = WalkDir::new(&path).into_iter().flatten();
                let files = files.filter(|entry| entry.file_type().is_file());
                bytes += files.filter_map(|it| it.metadata().ok()).map(|it| it.len()).sum::<u64>();
            }
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error).at(&path)?,
                _ => {}
            }
        }
        // It stays if there is anything of somebody else in it.
        let _ = fs::remove_dir(&self.root);
        Ok(bytes)
    }
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
