//! How patches stand to a tree.

use std::{fmt, path::Path};

use pins::{Listing, Pin, Series};
use serde::Serialize;

use crate::{Patch, error::Result, patch_tree::PatchTree, workshop::Workshop};

/// How a patch stands to a tree that has the patches before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// Git applies it.
    Applies,
    /// The tree has exactly this change.
    AlreadyApplied,
    /// The tree has the change, though its neighbourhood differs.
    AlreadyUpstream,
    /// Neither; the places git refused.
    Conflicts {
        /// `file:line` of each.
        hunks: Vec<String>,
    },
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Applies => f.write_str("applies"),
            State::AlreadyApplied => f.write_str("already applied"),
            State::AlreadyUpstream => f.write_str("already upstream"),
            State::Conflicts { hunks } => write!(f, "conflicts at {}", hunks.join(", ")),
        }
    }
}

impl Workshop {
    /// How each patch of the whole series stands to the pristine tree at `tree`
    /// (the pin's own when not given).
    ///
    /// # Errors
    /// When the tree cannot be read or git cannot be run.
    pub fn patch_states(&self, pin: &Pin, tree: Option<&Path>) -> Result<Vec<(Patch, State)>> {
        let pristine = self.pristine(pin)?.path;
        let tree = tree.unwrap_or(&pristine);
        let scratch = self.scratch()?;
        let copy = scratch.path().join("tree");
        Listing::of_folder(tree)?.sync(tree, &copy)?;
        let patches = self.patches(pin, Series::Tuned)?;
        let tree = PatchTree::new(&copy, &pristine, &patches, &self.launcher);
        let mut states = Vec::new();
        for (at, patch) in patches.iter().enumerate() {
            let state = tree.state(at)?;
            if state == State::Applies {
                tree.apply(at)?;
            }
            states.push((patch.clone(), state));
        }
        Ok(states)
    }
}
