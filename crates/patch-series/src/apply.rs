//! A series applied: patched trees in the store.

use std::{fs, path::Path};

use pins::{Listing, ObjectId, PIN_FILE, Part, Pin, Series, Trees, journal::Change, tree::is_tree};
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
    /// trees of MLX.
    ///
    /// # Errors
    /// As [`Workshop::patch`], but a differing record is what this mends.
    pub fn record(&self, pin: &Pin) -> Result<Trees> {
        let trees = self.apply_every_series(pin)?;
        let record = pin.with_record(trees, Some(self.apply_mlx_c(pin)?))?;
        let written = record.map(|text| (PIN_FILE.to_owned(), text));
        Change {
            written: written.into_iter().collect(),
            removed: Vec::new(),
        }
        .publish(&pin.folder)?;
        Ok(trees)
    }

    /// What each series gives, whatever is recorded.
    pub(crate) fn apply_every_series(&self, pin: &Pin) -> Result<Trees> {
        Ok(Trees {
            stock: self.apply(pin, Series::Stock)?.tree,
            patched: self.apply(pin, Series::Patched)?.tree,
            tuned: self.apply(pin, Series::Tuned)?.tree,
        })
    }

    /// The tree that mlx-c's series gives, whatever is recorded.
    fn apply_mlx_c(&self, pin: &Pin) -> Result<ObjectId> {
        let mlx_c = pin.of_mlx_c();
        match self.patches(&mlx_c, Series::Patched)?.is_empty() {
            true => Ok(pin.mlx_c.tree),
            false => Ok(self.apply(&mlx_c, Series::Patched)?.tree),
        }
    }

    /// The tree of a series without some of its fixes and performance patches, in the store;
    /// no pin records it. Those at the end of the series are not applied, and others are
    /// taken out again.
    ///
    /// # Errors
    /// As [`Workshop::patch`]; [`Error::UnknownPatch`] when a name is no fix and no performance
    /// patch of the series; [`Error::Entangled`] when a patch behind one changed its lines.
    pub fn patch_without(&self, pin: &Pin, series: Series, names: &[String]) -> Result<SourceTree> {
        let patches = self.patches(pin, series)?;
        let left_out = chosen(pin, &patches, names)?;
        let whole = self.patch(pin, series)?;
        let is_left_out = |patch: &Patch| names.contains(&patch.name);
        let applied = (patches.iter())
            .rposition(|patch| !is_left_out(patch))
            .map_or(0, |last| last + 1);
        let what = format!("{} ({series} without {})", pin.mlx.name, names.join(", "));
        self.derive(&key_without(whole.tree, &left_out), &what, |folder| {
            let applied = &patches[..applied];
            if applied.len() == patches.len() {
                Listing::of_folder(&whole.path)?.sync(&whole.path, folder)?;
            } else {
                self.apply_to(pin, applied, folder)?;
            }
            for patch in applied.iter().rev().filter(|patch| is_left_out(patch)) {
                unapply(folder, patch, &self.launcher)?.map_err(|hunks| Error::Entangled {
                    patch: patch.name.clone(),
                    pin: pin.version.clone(),
                    hunks,
                })?;
            }
            refuse_edited(&patches)
        })
    }

    /// What the tree of a series without these patches was when it was made last, if it was.
    pub fn known_without(
        &self,
        pin: &Pin,
        series: Series,
        left_out: &[&Patch],
    ) -> Option<ObjectId> {
        let key = key_without(series.recorded(pin), left_out);
        self.store().noted(Kind::Series, &key)?.trim().parse().ok()
    }

    /// What has to be left out of which series to see what a patch does.
    ///
    /// # Errors
    /// [`Error::UnknownPatch`] when `name` is no fix and no performance patch of the pin.
    pub fn sides(&self, pin: &Pin, name: &str) -> Result<Sides> {
        let patches = self.patches(pin, Series::Tuned)?;
        let patch = chosen(pin, &patches, &[name.to_owned()])?[0];
        Ok(Sides::of(patch, &patches))
    }

    pub(crate) fn apply(&self, pin: &Pin, series: Series) -> Result<SourceTree> {
        let patches = self.patches(pin, series)?;
        let inputs: Vec<&str> = patches.iter().map(|p| p.sha256.as_str()).collect();
        let key = sha256(format!("{}\n{}", pin.mlx.tree, inputs.join("\n")));
        let what = format!("{} ({series})", pin.mlx.name);
        self.derive(&key, &what, |folder| {
            self.apply_to(pin, &patches, folder)?;
            refuse_edited(&patches)
        })
    }

    /// Makes `folder` the pristine tree with these patches.
    fn apply_to(&self, pin: &Pin, patches: &[Patch], folder: &Path) -> Result<()> {
        let pristine = self.pristine(pin)?;
        pin.mlx.listing.sync(&pristine.path, folder)?;
        let tree = PatchTree::new(folder, &pristine.path, patches, &self.launcher);
        self.apply_all(pin, patches, &tree)
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

/// Two trees of a series that differ in one patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides {
    /// The series.
    pub series: Series,
    /// What is left out of it in the tree without the patch.
    pub without: Vec<String>,
    /// What is left out of it in the tree with the patch.
    pub with: Vec<String>,
}

impl Sides {
    /// A fix is taken out of the patched series by itself. A performance patch may build on
    /// those before it, so those behind it are left out on both sides.
    fn of(patch: &Patch, patches: &[Patch]) -> Self {
        if patch.class != Class::Performance {
            return Sides {
                series: Series::Patched,
                without: vec![patch.name.clone()],
                with: Vec::new(),
            };
        }
        let without: Vec<String> = (patches.iter())
            .skip_while(|other| other.name != patch.name)
            .filter(|other| other.class == Class::Performance)
            .map(|other| other.name.clone())
            .collect();
        Sides {
            series: Series::Tuned,
            with: without[1..].to_vec(),
            without,
        }
    }
}

/// The patches of these names, in the order of the series. What lets jaccl compile cannot be
/// left out.
fn chosen<'a>(pin: &Pin, patches: &'a [Patch], names: &[String]) -> Result<Vec<&'a Patch>> {
    let known = || (patches.iter()).filter(|patch| patch.class != Class::Portability);
    let is_known = |name: &&String| known().any(|patch| patch.name == **name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        return Err(Error::UnknownPatch {
            wanted: unknown.clone(),
            pin: pin.version.clone(),
            known: known().map(|patch| patch.name.clone()).collect(),
        });
    }
    Ok(known()
        .filter(|patch| names.contains(&patch.name))
        .collect())
}

/// Names the tree of a series without some patches.
fn key_without(whole: ObjectId, left_out: &[&Patch]) -> String {
    let left_out: Vec<&str> = (left_out.iter())
        .map(|patch| patch.sha256.as_str())
        .collect();
    sha256(format!("{whole} without {}", left_out.join(" ")))
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
