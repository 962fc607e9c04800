//! The trees that patches were made from, to merge a patch with another tree.

use std::{cell::RefCell, path::Path};

use launch::Launcher;
use pins::ObjectId;
use tempfile::TempDir;

use crate::{
    Patch,
    error::{IoContext, Result},
    repository::Repository,
};

/// A series on its own base, made when first asked.
pub(crate) struct Origin<'a> {
    base: &'a Path,
    patches: &'a [Patch],
    launcher: &'a Launcher,
    made: RefCell<Option<Made>>,
}

struct Made {
    repository: Repository,
    /// The base, then what each patch makes of it as far as it applies.
    trees: Vec<ObjectId>,
    /// Holds the repository.
    _scratch: TempDir,
}

impl<'a> Origin<'a> {
    pub(crate) fn new(base: &'a Path, patches: &'a [Patch], launcher: &'a Launcher) -> Self {
        Origin {
            base,
            patches,
            launcher,
            made: RefCell::new(None),
        }
    }

    /// Whether `folder` has the change of the patch at `position`: a three-way
    /// merge leaves it as it is.
    pub(crate) fn has(&self, folder: &Path, position: usize) -> Result<bool> {
        let mut made = self.made.borrow_mut();
        let Made {
            repository, trees, ..
        } = match made.take() {
            Some(ready) => made.insert(ready),
            None => made.insert(self.make()?),
        };
        let change = (trees[position], trees[position + 1]);
        if change.0 == change.1 {
            return Ok(false);
        }
        let here = repository.tree_of(folder)?;
        Ok(repository
            .replay(change, here)?
            .is_ok_and(|merged| merged == here))
    }

    fn make(&self) -> Result<Made> {
        let scratch = tempfile::tempdir().at("create a folder in", std::env::temp_dir())?;
        let repository = Repository::init(scratch.path().to_path_buf(), self.launcher)?;
        let mut tree = repository.tree_of(self.base)?;
        let mut trees = vec![tree];
        for patch in self.patches {
            tree = repository.apply(&patch.file, tree)?.unwrap_or(tree);
            trees.push(tree);
        }
        Ok(Made {
            repository,
            trees,
            _scratch: scratch,
        })
    }
}
