//! A series applied: patched trees in the store.

use std::{fs, path::Path};

use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    fetch::{Source, SourceTree},
    pin::Pin,
    series::{
        Class, Patch, Series, State,
        git::{PatchTree, unapply},
        order::Order,
        publish::replace_files,
        snapshot::read_series,
    },
    store::{Kind, sha256},
    tree::{Listing, ObjectId},
};

impl Toolchain {
    /// The patches of a series, in order.
    ///
    /// # Errors
    /// A series that names a file that is not there, or a patch without its
    /// DEP-3 fields.
    pub fn patches(&self, pin: &Pin, series: Series) -> Result<Vec<Patch>> {
        let patches = Order::parse(&read_series(&pin.folder)?)
            .files()
            .map(|file| Patch::load(pin.folder.join(file)))
            .collect::<Result<Vec<_>>>()?;
        Ok(patches
            .into_iter()
            .filter(|p| series.includes(p.class))
            .collect())
    }

    /// The pin's tree with a series applied, in the store.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a patch that does not apply;
    /// [`Error::Unrecorded`] when the result is not the tree the pin records.
    pub fn patch(&self, pin: &Pin, series: Series) -> Result<SourceTree> {
        let made = self.apply(pin, series)?;
        let recorded = series.recorded(pin);
        if made.tree != recorded {
            return Err(Error::Unrecorded {
                pin: pin.version.clone(),
                series: series.name(),
                got: made.tree.to_string(),
                recorded: recorded.to_string(),
                file: pin.file(),
            });
        }
        Ok(made)
    }

    /// Writes what each series gives into the pin's file, and returns the trees
    /// (stock, patched).
    ///
    /// # Errors
    /// As [`Toolchain::patch`], but a differing record is what this mends.
    pub fn record(&self, pin: &Pin) -> Result<(ObjectId, ObjectId)> {
        let stock = self.apply(pin, Series::Stock)?.tree;
        let patched = self.apply(pin, Series::Patched)?.tree;
        let record = pin.with_record(stock, patched)?;
        replace_files(record.as_slice())?;
        Ok((stock, patched))
    }

    /// The patched tree with one fix taken out again, in the store; no pin records
    /// it.
    ///
    /// # Errors
    /// As [`Toolchain::patch`]; [`Error::UnknownPatch`] when `name` is no fix of the pin;
    /// [`Error::Entangled`] when a patch behind it changed its lines.
    pub fn patch_without(&self, pin: &Pin, name: &str) -> Result<SourceTree> {
        let fix = self.fix(pin, name)?;
        let patched = self.patch(pin, Series::Patched)?;
        let key = sha256(format!("{} without {}", patched.tree, fix.sha256));
        let what = format!("{} (patched without {name})", pin.mlx.name);
        self.derive(&key, &what, |folder| {
            Listing::of_folder(&patched.path)?.sync(&patched.path, folder)?;
            unapply(folder, &fix, &self.cancel)?.map_err(|hunks| Error::Entangled {
                patch: name.to_owned(),
                pin: pin.version.clone(),
                hunks,
            })
        })
    }

    /// The fix of this name.
    fn fix(&self, pin: &Pin, name: &str) -> Result<Patch> {
        let mut fixes = self.patches(pin, Series::Patched)?;
        fixes.retain(|patch| patch.class == Class::Fix);
        let names: Vec<_> = fixes.iter().map(|fix| fix.name.clone()).collect();
        fixes
            .into_iter()
            .find(|fix| fix.name == name)
            .ok_or_else(|| Error::UnknownPatch {
                wanted: name.to_owned(),
                pin: pin.version.clone(),
                known: names,
            })
    }

    pub(super) fn apply(&self, pin: &Pin, series: Series) -> Result<SourceTree> {
        let patches = self.patches(pin, series)?;
        let inputs: Vec<&str> = patches.iter().map(|p| p.sha256.as_str()).collect();
        let key = sha256(format!("{}\n{}", pin.mlx.tree, inputs.join("\n")));
        let what = format!("{} ({series})", pin.mlx.name);
        self.derive(&key, &what, |folder| {
            let pristine = self.fetch(&pin.mlx, &Source::Auto)?;
            pin.mlx.listing.sync(&pristine.path, folder)?;
            let tree = PatchTree::new(folder, &pristine.path, &patches, &self.cancel);
            self.apply_all(pin, &patches, &tree)
        })
    }

    fn apply_all(&self, pin: &Pin, patches: &[Patch], tree: &PatchTree<'_>) -> Result<()> {
        for (done, patch) in patches.iter().enumerate() {
            match tree.state(done)? {
                State::Applies => tree.apply(done)?,
                State::AlreadyApplied | State::AlreadyUpstream => {
                    self.progress
                        .note(&format!("{} is in MLX {} already", patch.name, pin.version));
                }
                State::Conflicts { hunks } => {
                    return Err(Error::Conflict {
                        patch: patch.name.clone(),
                        pin: pin.version.clone(),
                        hunks,
                    });
                }
            }
            self.progress
                .advance(done as u64 + 1, patches.len() as u64, "patches");
        }
        Ok(())
    }

    /// The tree that `make` writes into a folder, in the store. `key` is a hash
    /// of everything it depends on; what it gave before is not made again.
    fn derive(
        &self,
        key: &str,
        what: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<SourceTree> {
        let memo = self.store.root().join("series").join(key);
        if let Some(current) = self.remembered(&memo)? {
            return Ok(current);
        }
        let _lock = self
            .store
            .lock(&format!("series-{key}"), &*self.progress, &self.cancel)?;
        if let Some(current) = self.remembered(&memo)? {
            return Ok(current);
        }
        self.progress.step("Patching", what);
        let scratch = self.store.scratch()?;
        let folder = scratch.path().join("tree");
        make(&folder)?;
        let tree = Listing::of_folder(&folder)?.tree_id();
        let path = self
            .store
            .publish(Kind::Source, &tree.to_string(), &folder)?;
        write_memo(&memo, tree)?;
        self.progress.finish();
        Ok(SourceTree {
            path,
            tree,
            current: false,
        })
    }

    /// The tree that a memo names, if the store still has it.
    fn remembered(&self, memo: &Path) -> Result<Option<SourceTree>> {
        let id = fs::read_to_string(memo).ok();
        match id.and_then(|id| id.trim().parse().ok()) {
            Some(tree) => self.stored(tree),
            None => Ok(None),
        }
    }
}

fn write_memo(memo: &Path, tree: ObjectId) -> Result<()> {
    if let Some(folder) = memo.parent() {
        fs::create_dir_all(folder).at("create", folder)?;
    }
    let made = memo.with_extension("new");
    fs::write(&made, tree.to_string()).at("write", &made)?;
    fs::rename(&made, memo).at("create", memo)
}
