//! git, told nothing by the user's configuration, and what it does to a folder.

use std::{path::Path, process::Command};

use crate::{
    error::{Error, IoContext, Result},
    process,
    series::{Patch, State},
    tools::git_version,
    tree::Listing,
};

/// A folder that git applies patches to.
pub(crate) struct PatchTree<'a> {
    folder: &'a Path,
    /// The tree the patches were made from.
    base: &'a Path,
}

impl<'a> PatchTree<'a> {
    /// Makes sure first that there is a git, lest its absence be taken for its
    /// refusal of a patch.
    pub(crate) fn new(folder: &'a Path, base: &'a Path) -> Result<Self> {
        git_version()?;
        Ok(PatchTree { folder, base })
    }

    /// How `patch` stands to the folder, which has the patches `before` it.
    pub(crate) fn state(&self, patch: &Patch, before: &[Patch]) -> Result<State> {
        let refused = match git_apply(self.folder, patch, &["--check"]) {
            Ok(()) => return Ok(State::Applies),
            Err(refused) => refused,
        };
        if git_apply(self.folder, patch, &["--check", "--reverse"]).is_ok() {
            return Ok(State::AlreadyApplied);
        }
        if self.changes_nothing(patch, before)? {
            return Ok(State::AlreadyUpstream);
        }
        Ok(State::Conflicts {
            hunks: refused_hunks(&refused),
        })
    }

    /// Applies a patch that [`State::Applies`].
    pub(crate) fn apply(&self, patch: &Patch) -> Result<()> {
        git_apply(self.folder, patch, &[]).map_err(|tail| Error::Command {
            what: format!("applying {}", patch.name),
            status: "git apply".into(),
            tail,
            log: None,
        })
    }

    /// Takes a patch out again; the error is the places git refused.
    pub(crate) fn unapply(&self, patch: &Patch) -> Result<(), Vec<String>> {
        git_apply(self.folder, patch, &["--reverse"]).map_err(|refused| refused_hunks(&refused))
    }

    /// Whether a three-way merge of the patch leaves the tree as it is. Plain
    /// `--reverse` misses a fix whose neighbourhood changed since.
    fn changes_nothing(&self, patch: &Patch, before: &[Patch]) -> Result<bool> {
        let scratch = tempfile::tempdir().at("create a folder in", std::env::temp_dir())?;
        let copy = scratch.path();
        let run = |arguments: &[&str]| process::capture("git", &mut git(copy, arguments));
        // The merge looks for the blob the patch was made from: the base with
        // the patches before it.
        Listing::of_folder(self.base)?.sync(self.base, copy)?;
        run(&["init", "--quiet"])?;
        run(&["add", "--all", "--force"])?;
        for earlier in before {
            let _ = git_apply(copy, earlier, &["--index"]);
        }
        Listing::of_folder(self.folder)?.sync(self.folder, copy)?;
        run(&["add", "--all", "--force"])?;
        let tree = run(&["write-tree"])?;
        let merged = git_apply(copy, patch, &["--3way", "--index"]);
        Ok(merged.is_ok() && run(&["write-tree"])? == tree)
    }
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
pub(super) fn refused_hunks(stderr: &str) -> Vec<String> {
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
