//! A series applied: patched trees in the store.

use std::{fs, path::Path, slice};

use pins::{Listing, ObjectId, PIN_FILE, Part, Pin, Series, journal::Change, tree::is_tree};
use store::{Kind, sha256};

use crate::{
    Class, Patch, State,
    error::{Error, IoContext, Result},
    fetch::SourceTree,
    order::Order,
    patch_tree::{PatchTree, unapply},
    snapshot::read_series,
    workshop::Workshop,
};

impl Workshop {
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
            .filter(|patch| patch.class.is_in(series))
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

    /// mlx-c with its own series applied, in the store.
    ///
    /// # Errors
    /// As [`Workshop::patch`].
    pub fn patch_mlx_c(&self, pin: &Pin) -> Result<SourceTree> {
        let mlx_c = pin.of_mlx_c();
        match self.patches(&mlx_c, Series::Patched)?.is_empty() {
            // Nothing is made of it.
            true if pin.mlx_c_patched == pin.mlx_c.tree => self.pristine(&mlx_c),
            _ => self.patch(&mlx_c, Series::Patched),
        }
    }

    /// Writes what each series gives into the pin's file, that of mlx-c too, and returns the
    /// trees of MLX (stock, patched).
    ///
    /// # Errors
    /// As [`Workshop::patch`], but a differing record is what this mends.
    pub fn record(&self, pin: &Pin) -> Result<(ObjectId, ObjectId)> {
        let stock = self.apply(pin, Series::Stock)?.tree;
        let patched = self.apply(pin, Series::Patched)?.tree;
        let record = pin.with_record(stock, patched, Some(self.apply_mlx_c(pin)?))?;
        let written = record.map(|text| (PIN_FILE.to_owned(), text));
        Change {
            written: written.into_iter().collect(),
            removed: Vec::new(),
        }
        .publish(&pin.folder)?;
        Ok((stock, patched))
    }

    /// The tree that mlx-c's series gives, whatever is recorded.
    fn apply_mlx_c(&self, pin: &Pin) -> Result<ObjectId> {
        let mlx_c = pin.of_mlx_c();
        match self.patches(&mlx_c, Series::Patched)?.is_empty() {
            true => Ok(pin.mlx_c.tree),
            false => Ok(self.apply(&mlx_c, Series::Patched)?.tree),
        }
    }

    /// The patched tree with one fix taken out again, in the store; no pin records
    /// it.
    ///
    /// # Errors
    /// As [`Workshop::patch`]; [`Error::UnknownPatch`] when `name` is no fix of the pin;
    /// [`Error::Entangled`] when a patch behind it changed its lines.
    pub fn patch_without(&self, pin: &Pin, name: &str) -> Result<SourceTree> {
        let fix = self.fix(pin, name)?;
        let patched = self.patch(pin, Series::Patched)?;
        let key = key_without(patched.tree, &fix);
        let what = format!("{} (patched without {name})", pin.mlx.name);
        self.derive(&key, &what, |folder| {
            Listing::of_folder(&patched.path)?.sync(&patched.path, folder)?;
            unapply(folder, &fix, &self.launcher)?.map_err(|hunks| Error::Entangled {
                patch: name.to_owned(),
                pin: pin.version.clone(),
                hunks,
            })?;
            refuse_edited(slice::from_ref(&fix))
        })
    }

    /// What the patched tree without `fix` was when it was made last, if it was.
    pub fn known_without(&self, pin: &Pin, fix: &Patch) -> Option<ObjectId> {
        let key = key_without(pin.recorded.patched, fix);
        self.store().noted(Kind::Series, &key)?.trim().parse().ok()
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

    pub(crate) fn apply(&self, pin: &Pin, series: Series) -> Result<SourceTree> {
        let patches = self.patches(pin, series)?;
        let inputs: Vec<&str> = patches.iter().map(|p| p.sha256.as_str()).collect();
        let key = sha256(format!("{}\n{}", pin.mlx.tree, inputs.join("\n")));
        let what = format!("{} ({series})", pin.mlx.name);
        self.derive(&key, &what, |folder| {
            let pristine = self.pristine(pin)?;
            pin.mlx.listing.sync(&pristine.path, folder)?;
            let tree = PatchTree::new(folder, &pristine.path, &patches, &self.launcher);
            self.apply_all(pin, &patches, &tree)?;
            refuse_edited(&patches)
        })
    }

    fn apply_all(&self, pin: &Pin, patches: &[Patch], tree: &PatchTree<'_>) -> Result<()> {
        let part = pin.part;
        for (done, patch) in patches.iter().enumerate() {
            match tree.state(done)? {
                State::Applies => tree.apply(done)?,
                State::AlreadyApplied | State::AlreadyUpstream => {
                    self.progress
                        .note(&format!("{} is in {} already", patch.name, pin.mlx.name));
                }
                State::Conflicts { hunks } => {
                    let (patch, pin) = (patch.name.clone(), pin.version.clone());
                    return Err(match part {
                        Part::Mlx => Error::Conflict { patch, pin, hunks },
                        Part::MlxC => Error::ConflictOfMlxC { patch, pin, hunks },
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
        // Before the shared lock, the tree could be collected while it is read.
        let shared = self.shared()?;
        if let Some(current) = self.remembered(key) {
            return Ok(current);
        }
        let _lock = self.waiting(|wait| shared.lock(Kind::Series, key, wait))?;
        if let Some(current) = self.remembered(key) {
            return Ok(current);
        }
        self.progress.step("Patching", what);
        let scratch = shared.scratch()?;
        let folder = scratch.path().join("tree");
        make(&folder)?;
        let tree = Listing::of_folder(&folder)?.tree_id();
        let id = tree.to_string();
        let check = |entry: &Path| Ok::<_, Error>(is_tree(entry, tree)?);
        let keep = |_: &Path| Ok((folder, ()));
        let stored = self.waiting(|wait| shared.make(Kind::Source, &id, wait, check, keep))?;
        shared.note(Kind::Series, key, &id)?;
        self.progress.finish();
        Ok(SourceTree {
            path: stored.path,
            tree,
            current: false,
        })
    }

    /// The tree that the note `key` names, if the store still has it whole.
    fn remembered(&self, key: &str) -> Option<SourceTree> {
        let tree: ObjectId = self.store().noted(Kind::Series, key)?.trim().parse().ok()?;
        let path = self.store().entry(Kind::Source, &tree.to_string()).ok()?;
        // An error is the tree's: another process may be replacing it. It is made again,
        // and looked at again under its lock.
        is_tree(&path, tree).ok()?.map(|()| SourceTree {
            path,
            tree,
            current: true,
        })
    }
}

/// Names the patched tree without a fix.
fn key_without(patched: ObjectId, fix: &Patch) -> String {
    sha256(format!("{patched} without {}", fix.sha256))
}

/// git reads the patch files itself, after they were hashed. A tree must not be noted as
/// that of patches which it was not made from.
fn refuse_edited(patches: &[Patch]) -> Result<()> {
    for patch in patches {
        if fs::read(&patch.file).at("read", &patch.file).map(sha256)? != patch.sha256 {
            return Err(Error::Edited {
                path: patch.file.clone(),
            });
        }
    }
    Ok(())
}
