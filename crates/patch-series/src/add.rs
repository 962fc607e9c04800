//! A new pin from the one that fits best: its folder, and what becomes of each patch.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pins::{Listing, MLX_C, ObjectId, PIN_FILE, Pin, Series, SourcePin};
use semver::Version;
use serde::Serialize;

use crate::{
    Check, Kind, Patch,
    error::{Error, IoContext, Result},
    fields::applied,
    header::replace,
    lifecycle::today,
    order::Order,
    patch_tree::Places,
    publish::render,
    repository::Repository,
    snapshot::{Snapshot, patch_file},
    stack::{Layer, Stack},
    trial::checks,
    workshop::Workshop,
};

/// What a pin is made of that no pin has yet.
#[derive(Debug, Clone)]
pub struct NewPin {
    /// The release that it is, and the name of its folder.
    pub version: String,
    /// Upstream's tag, or the commit where there is none.
    pub tag: String,
    /// The pristine MLX, which [`Fetch`](crate::Fetch) must find.
    pub mlx: SourcePin,
}

/// A pin that was made.
#[derive(Debug, Clone, Serialize)]
pub struct Added {
    /// Its version.
    pub mlx: String,
    /// The tree id of its MLX.
    pub tree: ObjectId,
    /// Its folder.
    pub folder: PathBuf,
    /// The pin whose patches and mlx-c it was given.
    pub from: String,
    /// Each patch of that pin, in order.
    pub patches: Vec<Moved>,
    /// Whether the trees of the series are recorded: not when a patch conflicts.
    pub recorded: bool,
}

/// What became of a patch.
#[derive(Debug, Clone, Serialize)]
pub struct Moved {
    /// Its name.
    pub patch: String,
    /// How it stands to the new MLX.
    #[serde(flatten)]
    pub fate: Fate,
    /// By behaviour: commands that show whether the defect is still there.
    pub checks: Vec<Check>,
}

/// How a patch of another pin stands to a new MLX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
pub enum Fate {
    /// It applies, and is in the new series.
    Applies,
    /// git merged it with what changed around it. It is in the new series, for a person to
    /// look at.
    Rebased,
    /// The new MLX has it, so it was left out.
    Upstream,
    /// It says itself that the new MLX has it, so it was left out.
    SaysUpstream,
    /// It is in the new series as it was, to be made by hand.
    Conflicts {
        /// `file:line` of each place that git refused.
        hunks: Vec<String>,
    },
}

impl Added {
    /// Whether a patch has to be made by hand.
    pub fn has_conflict(&self) -> bool {
        self.patches.iter().any(Moved::conflicts)
    }
}

impl Moved {
    fn conflicts(&self) -> bool {
        matches!(self.fate, Fate::Conflicts { .. })
    }
}

/// The series of another pin on a new tree.
struct Rebase {
    after: Snapshot,
    patches: Vec<Moved>,
    /// The tree of the whole series, when no patch conflicts.
    tree: Option<ObjectId>,
}

impl Rebase {
    fn conflicts(&self) -> usize {
        self.patches
            .iter()
            .filter(|moved| moved.conflicts())
            .count()
    }
}

impl Workshop {
    /// Makes the folder of a pin, with the mlx-c and the patches of the pin whose patches fit
    /// best, of several the one with the nearest version. A patch that git can merge is
    /// rebased, one that upstream has is left out, and one that conflicts is taken as it is.
    /// The folder appears whole, with the trees recorded, or not at all.
    ///
    /// # Errors
    /// [`Error::Input`] when the version is no release, or has a folder already; when no
    /// pin has a series; those of [`Workshop::patch`].
    pub fn add_pin(&self, new: &NewPin) -> Result<Added> {
        let version = self.free_version(&new.version)?;
        self.progress.step("Adding", &new.mlx.name);
        let (from, rebase) = self.fitting_series(new, &version)?;
        let scratch = self.scratch()?;
        let staged = scratch.path().join(&new.version);
        stage(new, &from, &rebase, &staged)?;
        let pin = Pin::load(scratch.path(), &new.version)?;
        if let Some(tree) = rebase.tree {
            let trees = self.apply_every_series(&pin)?;
            if trees.tuned != tree {
                let problem = format!("its patches give tree {}, not {tree}", trees.tuned);
                return Err(Error::inconsistent(&new.mlx.name, problem));
            }
            if let Some(text) = pin.with_record(trees, None)? {
                fs::write(pin.file(), text).at("write", pin.file())?;
            }
        }
        let folder = self.patches_folder().join(&new.version);
        self.launcher
            .cancel()
            .check()
            .map_err(|_| Error::Interrupted)?;
        self.appear(&staged, &new.version)?;
        self.progress.finish();
        Ok(Added {
            mlx: new.version.clone(),
            tree: new.mlx.tree,
            folder,
            from: from.version,
            recorded: rebase.tree.is_some(),
            patches: rebase.patches,
        })
    }

    /// The release that a version is, if no pin has it yet.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no release, or has a folder already.
    pub fn free_version(&self, version: &str) -> Result<Version> {
        let parsed = pins::version(version).map_err(|problem| Error::Input {
            input: version.to_owned(),
            problem,
            remedy: "name the tag or the commit of a release, such as v0.32.0".into(),
        })?;
        let folder = self.patches_folder().join(version);
        match folder.symlink_metadata() {
            Ok(_) => Err(Error::Input {
                input: self.shown(&folder).display().to_string(),
                problem: "is there already".into(),
                remedy: format!(
                    "`cargo xtask patch try --mlx {version}` holds the nearest series against \
                     it; to make it anew, remove it first"
                ),
            }),
            Err(_) => Ok(parsed),
        }
    }

    /// The series of the pins, each on the new tree; gives the one with the fewest conflicts.
    fn fitting_series(&self, new: &NewPin, version: &Version) -> Result<(Pin, Rebase)> {
        let mut best: Option<(usize, Pin, Rebase)> = None;
        let mut refused = None;
        for candidate in self.series_by_distance(version, true)? {
            let from = self.pin(&candidate)?;
            match self.rebase(new, version, &from) {
                Ok(rebase) => {
                    let conflicts = rebase.conflicts();
                    if best.as_ref().is_none_or(|(least, ..)| conflicts < *least) {
                        best = Some((conflicts, from, rebase));
                    }
                    if conflicts == 0 {
                        break;
                    }
                }
                // A pin that is itself unfinished, or whose sources cannot be had now,
                // only has nothing to give.
                Err(error @ (Error::Conflict { .. } | Error::Fetch(_)))
                    if error.kind() != Kind::Interrupted =>
                {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match best {
            Some((_, from, rebase)) => Ok((from, rebase)),
            None => Err(refused.unwrap_or_else(|| self.no_series())),
        }
    }

    /// Replays the series of a pin on another tree, in a repository that has both.
    fn rebase(&self, new: &NewPin, version: &Version, from: &Pin) -> Result<Rebase> {
        let tree = self.sources.fetch(&new.mlx)?;
        let pristine = self.pristine(from)?;
        let scratch = self.scratch()?;
        let folder = scratch.path().join("repository");
        fs::create_dir(&folder).at("create", &folder)?;
        let repository = Repository::init(folder, &self.launcher)?;
        let mut old = repository.tree_of(&pristine.path)?;
        let base = repository.tree_of(&tree.path)?;
        let before = Snapshot::load(&from.folder)?;
        let mut stack = Stack {
            base,
            layers: Vec::new(),
        };
        let mut moved = Vec::new();
        for patch in self.patches(from, Series::Tuned)? {
            let change = match repository.apply(&patch.file, old)? {
                Ok(after) => (old, after),
                Err(hunks) => {
                    return Err(Error::Conflict {
                        patch: patch.name,
                        pin: from.version.clone(),
                        hunks,
                    });
                }
            };
            old = change.1;
            let here = stack.top();
            let (fate, tree) = move_patch(&repository, &patch, change, here, version)?;
            let mut head = before.head(&patch.name).unwrap_or_default().to_owned();
            if fate == Fate::Rebased {
                head = replace(&head, "Last-Update", &today());
            }
            stack.layers.push(Layer {
                name: patch.name.clone(),
                head,
                tree,
            });
            moved.push(Moved {
                fate,
                checks: checks(&patch, version)?,
                patch: patch.name,
            });
        }
        let mut after = render(&repository, &stack, &before)?;
        let conflicting = |moved: &&Moved| moved.conflicts();
        for Moved { patch, .. } in moved.iter().filter(conflicting) {
            let text = before.patches.get(patch).cloned().unwrap_or_default();
            after.patches.insert(patch.clone(), text);
        }
        let order = Order::parse(&before.series);
        let files: Vec<String> = (moved.iter())
            .filter(|moved| after.patches.contains_key(&moved.patch))
            .map(|moved| patch_file(&moved.patch))
            .collect();
        after.series = order.arranged(&files).to_string();
        Ok(Rebase {
            tree: (!moved.iter().any(Moved::conflicts)).then(|| stack.top()),
            after,
            patches: moved,
        })
    }

    /// Puts a folder that is whole at its place in the checkout.
    fn appear(&self, staged: &Path, version: &str) -> Result<()> {
        let patches = self.patches_folder();
        // The store may be on another disk, which a rename cannot leave. What a process
        // that was killed left here is no pin.
        let begun = patches.join(format!(".adding-{version}"));
        if begun.exists() {
            fs::remove_dir_all(&begun).at("remove", &begun)?;
        }
        let folder = patches.join(version);
        let made = Listing::of_folder(staged)?
            .sync(staged, &begun)
            .map_err(Error::from)
            .and_then(|()| fs::rename(&begun, &folder).at("create", &folder));
        if made.is_err() {
            let _ = fs::remove_dir_all(&begun);
        }
        made
    }
}

/// What becomes of a patch on the tree `here`, and the tree with it.
fn move_patch(
    repository: &Repository,
    patch: &Patch,
    change: (ObjectId, ObjectId),
    here: ObjectId,
    version: &Version,
) -> Result<(Fate, ObjectId)> {
    let claim = applied(patch.header.get("Applied-Upstream"));
    let says_so = claim.is_some_and(|since| since <= *version);
    let merged: Result<ObjectId, Places> = repository.replay(change, here)?;
    Ok(match (repository.apply(&patch.file, here)?, merged) {
        (_, Ok(merged)) if merged == here => (Fate::Upstream, here),
        _ if says_so => (Fate::SaysUpstream, here),
        (Ok(tree), _) => (Fate::Applies, tree),
        (Err(_), Ok(tree)) => (Fate::Rebased, tree),
        (Err(hunks), Err(_)) => (Fate::Conflicts { hunks }, here),
    })
}

/// Writes the files of the new pin.
fn stage(new: &NewPin, from: &Pin, rebase: &Rebase, folder: &Path) -> Result<()> {
    rebase.after.save(folder)?;
    let write = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).at("write", &file)
    };
    write("mlx.lst", new.mlx.listing.to_string())?;
    write("mlx-c.lst", from.mlx_c.listing.to_string())?;
    let series = from.folder.join(MLX_C);
    if series.is_dir() {
        Listing::of_folder(&series)?.sync(&series, &folder.join(MLX_C))?;
    }
    write(PIN_FILE, from.file_of_another(&new.tag, &new.mlx)?)
}
