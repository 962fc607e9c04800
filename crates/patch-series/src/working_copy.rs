//! A folder in which a series can be edited: one commit a patch.

use std::{
    fs,
    path::{Path, PathBuf},
};

use launch::Launcher;
use pins::{Pin, Series};

use crate::{
    Patch, State,
    error::{Error, IoContext, Result},
    header::split,
    patch_tree::PatchTree,
    publish::render,
    repository::Repository,
    snapshot::Snapshot,
    stack::{Layer, Stack},
    workshop::Workshop,
};

/// Inside `.git`: the patch files as they were when last read or written.
const IMPORTED: &str = ".git/rails";

/// A series in a repository of its own.
#[derive(Debug)]
pub(crate) struct WorkingCopy {
    pub(crate) repository: Repository,
    pub(crate) stack: Stack,
    /// The patch files it was made from.
    pub(crate) imported: Snapshot,
}

impl WorkingCopy {
    /// Reads the working copy in `folder`.
    ///
    /// # Errors
    /// When the folder is none, is one of another MLX, or is older than the
    /// pin's patches.
    pub(crate) fn open(pin: &Pin, folder: &Path, launcher: &Launcher) -> Result<Self> {
        let copy = Self::read(pin, folder, launcher)?;
        match copy.outdated(pin)? {
            None => Ok(copy),
            Some(file) => Err(Error::Input {
                input: folder.display().to_string(),
                problem: format!("{} changed since it was made", file.display()),
                remedy: format!(
                    "make another with `cargo xtask patch edit --mlx {} --dir OTHER`, and take \
                     your edits there with `git diff` and `git apply`",
                    pin.version
                ),
            }),
        }
    }

    /// As [`WorkingCopy::open`], however old it is.
    pub(crate) fn read(pin: &Pin, folder: &Path, launcher: &Launcher) -> Result<Self> {
        let refuse = |problem: String, remedy: String| {
            Err(Error::Input {
                input: folder.display().to_string(),
                problem,
                remedy,
            })
        };
        let kept = folder.join(IMPORTED);
        if !kept.is_dir() {
            let (mlx, dir) = (&pin.version, folder.display());
            return refuse(
                "no working copy of patches is there".into(),
                format!("make one with `cargo xtask patch edit --mlx {mlx} --dir {dir}`"),
            );
        }
        let repository = Repository::at(folder.to_path_buf(), launcher);
        let stack = Stack::read(&repository)?;
        if stack.base != pin.mlx.tree {
            return refuse(
                format!(
                    "its first commit is tree {}, not {}",
                    stack.base, pin.mlx.name
                ),
                "name its pin with --mlx, or another folder with --dir".into(),
            );
        }
        Ok(WorkingCopy {
            repository,
            stack,
            imported: Snapshot::load(&kept)?,
        })
    }

    /// The file of the pin's folder that says otherwise than when this was made.
    fn outdated(&self, pin: &Pin) -> Result<Option<PathBuf>> {
        let differing = self
            .imported
            .differing_change(&Snapshot::load(&pin.folder)?);
        Ok(differing.map(|file| pin.folder.join(file)))
    }

    /// Whether it is old and nothing would be lost with it: no edits, no commits,
    /// no branches or stashes, no files beside the tree.
    pub(crate) fn is_spent(&self, pin: &Pin) -> Result<bool> {
        let repository = &self.repository;
        Ok(self.outdated(pin)?.is_some()
            && repository.run(&["for-each-ref"])?.lines().count() == 1
            && repository.hidden_files()?.is_empty()
            && repository.edited_tree()? == self.stack.top()
            && render(repository, &self.stack, &self.imported)? == self.imported)
    }

    /// Makes the commits `stack`, remembering that the pin's folder says the same.
    pub(crate) fn settle(&mut self, pin: &Pin, stack: Stack) -> Result<()> {
        self.imported = Snapshot::load(&pin.folder)?;
        self.imported.save(&self.repository.folder.join(IMPORTED))?;
        self.keep(pin, stack)
    }

    /// Makes the commits `stack`.
    pub(crate) fn keep(&mut self, pin: &Pin, stack: Stack) -> Result<()> {
        stack.write(&self.repository, &pin.mlx.name)?;
        self.stack = stack;
        Ok(())
    }

    /// The layers with the fields that their patch files have: edits of the
    /// fields are taken from the file or from the commit, whichever has them.
    pub(crate) fn with_fields(&self, pin: &Pin, stack: &Stack) -> Result<Stack> {
        let current = Snapshot::load(&pin.folder)?;
        let mut stack = stack.clone();
        for layer in &mut stack.layers {
            let (Some(before), Some(file)) =
                (self.imported.head(&layer.name), current.head(&layer.name))
            else {
                continue;
            };
            let same = |a: &str, b: &str| a.trim_end() == b.trim_end();
            if same(&layer.head, before) || same(&layer.head, file) {
                layer.head = file.to_owned();
            } else if file != before {
                return Err(Error::Input {
                    input: layer.name.clone(),
                    problem: format!(
                        "its fields were changed in {} and in the commit of {}",
                        pin.folder.display(),
                        self.repository.folder.display()
                    ),
                    remedy: "undo one of them".into(),
                });
            }
        }
        Ok(stack)
    }
}

/// A series that was made into a working copy.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) copy: WorkingCopy,
    /// The patches that did not apply; they are commits that change nothing.
    pub(crate) skipped: Vec<(Patch, State)>,
}

impl Workshop {
    /// Where a working copy of the pin is when nobody says otherwise:
    /// `target/patch/<version>` of the checkout.
    pub fn working_copy(&self, pin: &Pin) -> PathBuf {
        self.root.join("target/patch").join(&pin.version)
    }

    /// Makes a working copy in `folder`, which must not exist or be empty. It
    /// appears there when it is whole.
    pub(crate) fn import(&self, pin: &Pin, folder: &Path) -> Result<Import> {
        let pristine = self.pristine(pin)?;
        let patches = self.patches(pin, Series::Tuned)?;
        let parent = folder.parent().unwrap_or(folder);
        fs::create_dir_all(parent).at("create", parent)?;
        let scratch = tempfile::tempdir_in(parent).at("create a folder in", parent)?;
        let made = scratch.path().join("tree");
        pin.mlx.listing.sync(&pristine.path, &made)?;
        let repository = Repository::init(made.clone(), &self.launcher)?;
        let mut stack = Stack {
            base: repository.tree_of_all_files()?,
            layers: Vec::new(),
        };
        if stack.base != pin.mlx.tree {
            let problem = format!("git makes tree {} of tree {}", stack.base, pin.mlx.tree);
            return Err(Error::inconsistent(made.display(), problem));
        }
        let imported = Snapshot::load(&pin.folder)?;
        let mut skipped = Vec::new();
        let tree = PatchTree::new(&made, &pristine.path, &patches, &self.launcher);
        for (at, patch) in patches.iter().enumerate() {
            match tree.state(at)? {
                State::Applies => tree.apply(at)?,
                other => skipped.push((patch.clone(), other)),
            }
            let text = imported.patches.get(&patch.name).map_or("", |text| text);
            stack.layers.push(Layer {
                name: patch.name.clone(),
                head: split(text).0.to_owned(),
                tree: repository.tree_of_all_files()?,
            });
        }
        let mut copy = WorkingCopy {
            repository,
            stack: stack.clone(),
            imported,
        };
        copy.settle(pin, stack)?;
        fs::rename(&made, folder).at("create", folder)?;
        copy.repository.folder = folder.to_path_buf();
        Ok(Import { copy, skipped })
    }
}
