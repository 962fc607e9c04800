//! git, told nothing by the user's configuration, and what it does to a folder.

use std::{path::Path, process::Command};

use crate::{
    error::{Error, Result},
    series::{Patch, State, origin::Origin},
    tools::git_version,
};

/// Where git refused a patch, `file:line` of each place.
pub(super) type Places = Vec<String>;

/// A folder that git applies a series to.
pub(super) struct PatchTree<'a> {
    folder: &'a Path,
    patches: &'a [Patch],
    origin: Origin<'a>,
}

impl<'a> PatchTree<'a> {
    /// `base` is the tree that the patches were made from.
    ///
    /// Makes sure first that there is a git, lest its absence be taken for its
    /// refusal of a patch.
    pub(super) fn new(folder: &'a Path, base: &'a Path, patches: &'a [Patch]) -> Result<Self> {
        git_version()?;
        Ok(PatchTree {
            folder,
            patches,
            origin: Origin::new(base, patches),
        })
    }

    /// How the patch at `position` stands to the folder, which has those before
    /// it as far as they apply.
    pub(super) fn state(&self, position: usize) -> Result<State> {
        let patch = &self.patches[position];
        let refused = match git_apply(self.folder, patch, &["--check"]) {
            Ok(()) => return Ok(State::Applies),
            Err(refused) => refused,
        };
        if self.unapplies(position).is_ok() {
            return Ok(State::AlreadyApplied);
        }
        // Plain `--reverse` misses a fix whose neighbourhood changed since.
        if self.origin.has(self.folder, position)? {
            return Ok(State::AlreadyUpstream);
        }
        Ok(State::Conflicts {
            hunks: refused_hunks(&refused),
        })
    }

    /// Applies a patch that [`State::Applies`].
    pub(super) fn apply(&self, position: usize) -> Result<()> {
        let patch = &self.patches[position];
        git_apply(self.folder, patch, &[]).map_err(|tail| Error::Command {
            what: format!("applying {}", patch.name),
            status: "git apply".into(),
            tail,
            log: None,
        })
    }

    /// Whether a patch can be taken out; the error is the places git refuses.
    pub(super) fn unapplies(&self, position: usize) -> Result<(), Places> {
        let patch = &self.patches[position];
        git_apply(self.folder, patch, &["--check", "--reverse"])
            .map_err(|refused| refused_hunks(&refused))
    }
}

/// Takes a patch out of a folder again; the error is the places git refused.
pub(super) fn unapply(folder: &Path, patch: &Patch) -> Result<(), Places> {
    git_apply(folder, patch, &["--reverse"]).map_err(|refused| refused_hunks(&refused))
}

/// The error is what git said.
fn git_apply(folder: &Path, patch: &Patch, arguments: &[&str]) -> Result<(), String> {
    let mut command = git(folder, &["apply", "--whitespace=nowarn"]);
    command.args(arguments).arg(&patch.file);
    let output = command.output().map_err(|e| format!("git: {e}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A git in `folder` that gives the same for everybody: no configuration but the
/// repository's own, one author, one date, English messages.
pub(super) fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(folder)
        // A folder inside somebody's repository must not be taken for it.
        .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("LC_ALL", "C");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "LANGUAGE"] {
        command.env_remove(variable);
    }
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "mlx-rails")
            .env(format!("GIT_{who}_EMAIL"), "mlx-rails@localhost")
            .env(format!("GIT_{who}_DATE"), "2026-01-01T00:00:00Z");
    }
    command
}

/// `error: patch failed: mlx/ring.h:42` names a place; a missing file has none.
pub(super) fn refused_hunks(stderr: &str) -> Places {
    let places: Vec<String> = stderr
        .lines()
        .filter_map(|l| l.strip_prefix("error: patch failed: "))
        .map(str::to_owned)
        .collect();
    if places.is_empty() {
        stderr.lines().map(str::to_owned).collect()
    } else {
        places
    }
}
