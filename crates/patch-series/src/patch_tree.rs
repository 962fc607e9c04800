//! What git makes of a series in a folder.

use std::path::Path;

use launch::Launcher;

use crate::{
    Patch, State,
    error::{Error, Result},
    git::{Answer, ask, git},
    origin::Origin,
};

/// Where git refused a patch, `file:line` of each place.
pub(crate) type Places = Vec<String>;

/// A folder that git applies a series to.
pub(crate) struct PatchTree<'a> {
    folder: &'a Path,
    patches: &'a [Patch],
    origin: Origin<'a>,
    launcher: &'a Launcher,
}

impl<'a> PatchTree<'a> {
    /// `base` is the tree that the patches were made from.
    pub(crate) fn new(
        folder: &'a Path,
        base: &'a Path,
        patches: &'a [Patch],
        launcher: &'a Launcher,
    ) -> Self {
        PatchTree {
            folder,
            patches,
            origin: Origin::new(base, patches, launcher),
            launcher,
        }
    }

    /// How the patch at `position` stands to the folder, which has those before
    /// it as far as they apply.
    pub(crate) fn state(&self, position: usize) -> Result<State> {
        let patch = &self.patches[position];
        let Err(hunks) = self.git_apply(patch, &["--check"])? else {
            return Ok(State::Applies);
        };
        if self.unapplies(position)?.is_ok() {
            return Ok(State::AlreadyApplied);
        }
        // Plain `--reverse` misses a fix whose neighbourhood changed since.
        if self.origin.has(self.folder, position)? {
            return Ok(State::AlreadyUpstream);
        }
        Ok(State::Conflicts { hunks })
    }

    /// Applies a patch that [`State::Applies`].
    pub(crate) fn apply(&self, position: usize) -> Result<()> {
        let patch = &self.patches[position];
        self.git_apply(patch, &[])?.map_err(|places| {
            let problem = format!(
                "git checked it and then refused it at {}",
                places.join(", ")
            );
            Error::inconsistent(&patch.name, problem)
        })
    }

    /// Whether a patch can be taken out; the error is the places git refuses.
    pub(crate) fn unapplies(&self, position: usize) -> Result<Result<(), Places>> {
        self.git_apply(&self.patches[position], &["--check", "--reverse"])
    }

    fn git_apply(&self, patch: &Patch, arguments: &[&str]) -> Result<Result<(), Places>> {
        git_apply(self.folder, patch, arguments, self.launcher)
    }
}

/// Takes a patch out of a folder again; the error is the places git refused.
pub(crate) fn unapply(
    folder: &Path,
    patch: &Patch,
    launcher: &Launcher,
) -> Result<Result<(), Places>> {
    git_apply(folder, patch, &["--reverse"], launcher)
}

fn git_apply(
    folder: &Path,
    patch: &Patch,
    arguments: &[&str],
    launcher: &Launcher,
) -> Result<Result<(), Places>> {
    let mut command = git(folder, &["apply", "--whitespace=nowarn"]);
    command.args(arguments).arg(&patch.file);
    Ok(
        match ask(&format!("applying {}", patch.name), command, launcher)? {
            Answer::Taken => Ok(()),
            Answer::Refused(said) => Err(refused_hunks(&said)),
        },
    )
}

/// `error: patch failed: mlx/ring.h:42` names a place; a missing file has none.
pub(crate) fn refused_hunks(stderr: &str) -> Places {
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
