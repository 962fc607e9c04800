//! The store as the toolchain uses it, and how far it trusts what is stored.
//!
//! What is in the store was whole when it was put there. It may have been changed since,
//! by a person or by a disk. An entry is held against its name at three levels, each as
//! strict as its use can pay for:
//!
//! | entry | at each use | by `doctor --verify` |
//! |---|---|---|
//! | source tree | every byte: its git tree id is its name. A series is applied to it and a build compiled from it, so a changed byte would be in all that follows. It takes a fraction of a second | the same |
//! | build | `manifest.json` is that of the key, and every file of the prefix has its recorded size. Nothing is made from a build but programs that load it; hashing 80 MB for each of them would take longer than many of them run | every file by its SHA-256, and files that the manifest does not name |
//! | wheel | every byte: it is named by its SHA-256, or its report has it, and it is handed on | the same |
//! | model | its config and tokenizer are understood, and the file of its weights is as long as its head says, as its maker checks it | every file against the listing that was written when it was made |
//! | tool set | the programs and libraries that are used exist. pip held every file against its hash when it installed them, and 4000 files take seconds to read | every file against the listing that was written at the installation |
//!
//! An entry that fails at its use is replaced. `doctor --verify` only reports: it may be
//! evidence.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use ::store::{Entry, Shared, Wait};
pub use ::store::{Freed, Kind, STORE_ENV, Scratch, Store, sha256};
use patch_series::{Class, Patch};
use pins::{Listing, ObjectId, Pin, Series};

use crate::{
    Toolchain,
    build::Request,
    compiler::Compilers,
    doctor::{Check, Status},
    dylib,
    error::{IoContext, Result},
    manifest::{Artefact, Component, Manifest, SCHEMA},
    mlx_lm,
    of_wheel::official_for_macos,
    official,
    platform::{Platform, System},
    wheel,
};

/// The listing of a tool set's or a model's files, in its own folder, as `git ls-tree -r` prints it.
const LISTING: &str = ".listing";

/// How an entry of the store stands to its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub key: String,
    /// Where it is.
    pub path: PathBuf,
    /// What was found.
    pub outcome: Outcome,
}

impl Verified {
    /// How many files of a broken entry the doctor names.
    const SHOWN: usize = 3;

    fn into_check(self) -> Check {
        let remove = || Some(format!("rm -r '{}'", self.path.display()));
        let (status, detail, remedy) = match &self.outcome {
            Outcome::Whole => (Status::Present, "every file is as it was made".into(), None),
            Outcome::Differs(files) => {
                let mut detail = files[..files.len().min(Self::SHOWN)].join(", ");
                if files.len() > Self::SHOWN {
                    detail += &format!(" and {} more", files.len() - Self::SHOWN);
                }
                (Status::Broken, detail, remove())
            }
            Outcome::Unrecorded => (
                Status::OnDemand,
                "made by an older version, which wrote no listing of it".into(),
                remove(),
            ),
        };
        Check {
            name: format!("{} {}", self.kind.name(), self.key),
            status,
            detail,
            remedy,
        }
    }
}

/// What a comparison of an entry's files found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every file is as it was when the entry was made.
    Whole,
    /// It differs, one line a file.
    Differs(Vec<String>),
    /// Nothing says how it was made: an older version did not write it down.
    Unrecorded,
}

impl Toolchain {
    /// The right to use the store, taken at the first call and kept for as long as a clone
    /// of this toolchain lives.
    pub(crate) fn shared(&self) -> Result<Shared> {
        Ok(self.waiting(|wait| self.lease.shared(wait))?)
    }

    /// Tells the progress of a wait, and ends it when the command is cancelled.
    pub(crate) fn waiting<T>(&self, act: impl FnOnce(&Wait<'_>) -> T) -> T {
        act(&Wait {
            note: &|text| self.progress.note(text),
            stop: &|| self.launcher.cancel().is_cancelled(),
        })
    }

    /// A folder on the store's disk that disappears on drop.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        Ok(self.shared()?.scratch()?)
    }

    /// An entry of the store, made when it is absent or broken; see [`Shared::make`].
    pub(crate) fn make_entry<T>(
        &self,
        kind: Kind,
        key: &str,
        check: impl Fn(&Path) -> Result<Option<T>>,
        make: impl FnOnce(&Path) -> Result<(PathBuf, T)>,
    ) -> Result<Entry<T>> {
        let shared = self.shared()?;
        self.waiting(|wait| shared.make(kind, key, wait, check, make))
    }

    /// Removes from the store what no pin of this checkout needs, and gives what it
    /// removed; with `dry_run` what it would remove.
    ///
    /// It keeps the source trees of the pins, stock, patched, and patched without one fix;
    /// the tool sets of this version; the builds of these trees that are current by all
    /// their inputs, with the compiler and the environment that the command is run in; the
    /// official wheels of the pins, and what was made of these trees for a Mac, as wheels and
    /// as environments of mlx-lm; of the models those with these keys.
    ///
    /// # Errors
    /// When a pin cannot be read; when there is no compiler, by which builds are current;
    /// when another process uses the store, unless `dry_run`; when something cannot be
    /// removed.
    pub fn collect_garbage(&self, models: &[String], dry_run: bool) -> Result<Vec<Freed>> {
        let needed = self.needed()?;
        let keep = |kind: Kind, key: &str| match kind {
            Kind::Series => (self.store().noted(kind, key))
                .is_some_and(|tree| needed.contains(&(Kind::Source, tree.trim().to_owned()))),
            Kind::Model => models.iter().any(|it| it == key),
            kind => {
                needed.contains(&(kind, key.to_owned())) || self.is_of_wheels(kind, key, &needed)
            }
        };
        Ok(self.lease.collect(keep, dry_run)?)
    }

    /// The entries that the pins of this checkout need. Nothing is made for the answer.
    fn needed(&self) -> Result<HashSet<(Kind, String)>> {
        let system = Platform::HERE.system;
        let mut trees = vec![self.verbs_pin()?.tree];
        if system == System::MacOs {
            trees.push(self.metal_cpp_pin()?.tree);
        }
        let (mut builds, mut wheels) = (Vec::new(), Vec::new());
        let compilers = Compilers::detect(&self.environment)?;
        for version in Pin::versions(&self.patches_folder())? {
            let pin = self.pin(&version)?;
            trees.extend([pin.mlx.tree, pin.mlx_c.tree, pin.mlx_c_patched]);
            wheels.extend(pin.wheels.iter().map(|it| official::key(it).to_owned()));
            for (request, tree) in self.requests(&pin)? {
                trees.push(tree);
                let mut components = vec![Component::Mlx, Component::Jaccl];
                if system == System::MacOs && official_for_macos(&pin).is_ok() {
                    components.push(Component::MlxOfWheel);
                }
                for component in components {
                    let request = Request {
                        component,
                        ..request.clone()
                    };
                    let inputs = self.inputs_with(&request, tree, compilers.clone())?;
                    builds.push(inputs.key());
                }
            }
        }
        let tools = [
            self.tools_if_present().key,
            wheel::maturin_set().key,
            dylib::zig_set().key,
            crate::tools::uv_set().key,
        ];
        Ok(trees
            .iter()
            .map(|tree| (Kind::Source, tree.to_string()))
            .chain(tools.map(|key| (Kind::Tools, key)))
            .chain(mlx_lm::package_keys().map(|key| (Kind::Tools, key)))
            .chain(builds.into_iter().map(|key| (Kind::Build, key)))
            .chain(wheels.into_iter().map(|key| (Kind::Wheel, key)))
            .collect())
    }

    /// Whether an entry belongs to the wheels of the pins' trees. What goes into a wheel
    /// depends on its base too, which may be a file of the user's; so it is told by the tree
    /// that it was made of, and for a library by the recipe and the tools besides.
    fn is_of_wheels(&self, kind: Kind, key: &str, needed: &HashSet<(Kind, String)>) -> bool {
        let is_needed = |kind, key: &dyn ToString| needed.contains(&(kind, key.to_string()));
        let Ok(path) = self.store().entry(kind, key) else {
            return false;
        };
        match kind {
            Kind::Wheel => wheel::whole_wheel(&path)
                .and_then(|made| made.patched_tree)
                .is_some_and(|tree| is_needed(Kind::Source, &tree)),
            Kind::Tools => mlx_lm::Made::of(&path).is_some_and(|made| {
                is_needed(Kind::Source, &made.patched_tree)
                    && is_needed(Kind::Tools, &made.packages)
            }),
            Kind::Build => whole_build(&path, key).is_some_and(|Manifest { inputs, .. }| {
                inputs.component == Component::Dylib
                    && is_needed(Kind::Source, &inputs.patched_tree)
                    && is_needed(Kind::Tools, &inputs.tools)
                    && self
                        .recipe_of_dylib()
                        .is_ok_and(|recipe| recipe == inputs.recipe)
            }),
            _ => false,
        }
    }

    /// What can be built of a pin, and of which tree. Of the trees without some patches, only
    /// those that were made have an id yet.
    fn requests<'a>(&self, pin: &'a Pin) -> Result<Vec<(Request<'a>, ObjectId)>> {
        let whole = |series: Series| (Request::mlx(pin, series), series.recorded(pin));
        let mut requests: Vec<_> = Series::ALL.map(whole).into();
        let workshop = self.series();
        let patches = workshop.patches(pin, Series::Tuned)?;
        for patch in &patches {
            if patch.class == Class::Portability {
                continue;
            }
            let sides = workshop.sides(pin, &patch.name)?;
            for without in [sides.without, sides.with] {
                let left_out: Vec<&Patch> = (patches.iter())
                    .filter(|patch| without.contains(&patch.name))
                    .collect();
                let tree = workshop.known_without(pin, sides.series, &left_out);
                let request = Request {
                    without,
                    ..Request::mlx(pin, sides.series)
                };
                requests.extend(tree.map(|tree| (request, tree)));
            }
        }
        Ok(requests)
    }

    /// [`Toolchain::verify_store`] as lines of the doctor's report.
    ///
    /// # Errors
    /// As [`Toolchain::verify_store`].
    pub fn verify_checks(&self) -> Result<Vec<Check>> {
        let verified = self.verify_store()?;
        Ok(verified.into_iter().map(Verified::into_check).collect())
    }

    /// Holds every entry of the store against the record of its making, byte by byte.
    ///
    /// # Errors
    /// When the store cannot be used or a file cannot be read.
    pub fn verify_store(&self) -> Result<Vec<Verified>> {
        let shared = self.shared()?;
        let kinds = [
            Kind::Source,
            Kind::Tools,
            Kind::Build,
            Kind::Wheel,
            Kind::Model,
        ];
        let entries: Vec<_> = kinds
            .into_iter()
            .flat_map(|kind| {
                self.store()
                    .keys(kind)
                    .into_iter()
                    .map(move |key| (kind, key))
            })
            .collect();
        self.progress.step("Verifying", "the store");
        let mut verified = Vec::with_capacity(entries.len());
        let total = entries.len() as u64;
        for (kind, key) in entries {
            // Another process may be replacing it.
            let _lock = self.waiting(|wait| shared.lock(kind, &key, wait))?;
            let path = self.store().entry(kind, &key)?;
            if path.is_dir() {
                self.launcher.cancel().check()?;
                let outcome = match kind {
                    Kind::Source => verify_tree(&path, &key)?,
                    Kind::Build => verify_build(&path, &key)?,
                    Kind::Wheel => verify_wheel(&path, &key)?,
                    _ => verify_listed(&path)?,
                };
                verified.push(Verified {
                    kind,
                    key,
                    path,
                    outcome,
                });
            }
            self.progress
                .advance(verified.len() as u64, total, "entries");
        }
        self.progress.finish();
        Ok(verified)
    }
}

/// The manifest of a build that has it, and every file that it names in its size.
pub(crate) fn whole_build(entry: &Path, key: &str) -> Option<Manifest> {
    let manifest = Manifest::load(&entry.join("manifest.json")).ok()?;
    let has_size = |artefact: &Artefact| {
        fs::symlink_metadata(entry.join("prefix").join(&artefact.path))
            .is_ok_and(|meta| meta.len() == artefact.bytes)
    };
    (manifest.key == key && manifest.artefacts.iter().all(has_size)).then_some(manifest)
}

/// Writes down what a tool set or a model consists of, for [`Toolchain::verify_store`].
pub(crate) fn write_listing(folder: &Path) -> Result<()> {
    let file = folder.join(LISTING);
    let listing = Listing::of_folder(folder)?;
    fs::write(&file, listing.to_string()).at("write", &file)
}

fn outcome(differences: Vec<String>) -> Outcome {
    if differences.is_empty() {
        Outcome::Whole
    } else {
        Outcome::Differs(differences)
    }
}

fn verify_tree(folder: &Path, key: &str) -> Result<Outcome> {
    let found = Listing::of_folder(folder)?.tree_id();
    Ok(outcome(if found.to_string() == key {
        Vec::new()
    } else {
        vec![format!("its files are the tree {found}")]
    }))
}

fn verify_listed(folder: &Path) -> Result<Outcome> {
    let Ok(text) = fs::read_to_string(folder.join(LISTING)) else {
        return Ok(Outcome::Unrecorded);
    };
    let Ok(installed) = Listing::parse(&text) else {
        return Ok(Outcome::Differs(vec![format!("{LISTING}: not a listing")]));
    };
    let found = Listing::of_folder(folder)?.without(LISTING);
    Ok(outcome(installed.differences(&found)))
}

/// An official wheel is named by its content, one that was made has a report.
fn verify_wheel(entry: &Path, key: &str) -> Result<Outcome> {
    if wheel::whole_wheel(entry).is_some() {
        return Ok(Outcome::Whole);
    }
    let mut differences = Vec::new();
    for file in fs::read_dir(entry).at("read", entry)?.flatten() {
        let (sha256, _) = ::wheel::Wheel::sha256(&file.path())?;
        if !sha256.starts_with(key) {
            let name = file.file_name();
            differences.push(format!("{}: content differs", name.to_string_lossy()));
        }
    }
    Ok(outcome(differences))
}

fn verify_build(entry: &Path, key: &str) -> Result<Outcome> {
    let Ok(manifest) = Manifest::load(&entry.join("manifest.json")) else {
        return Ok(Outcome::Differs(vec![
            "manifest.json: not a manifest".into(),
        ]));
    };
    if manifest.schema != SCHEMA {
        return Ok(Outcome::Unrecorded);
    }
    let mut differences = Vec::new();
    if manifest.key != key {
        differences.push(format!("manifest.json: of the build {}", manifest.key));
    }
    let found = Artefact::of_folder(&entry.join("prefix"))?;
    for recorded in &manifest.artefacts {
        match found.iter().find(|found| found.path == recorded.path) {
            None => differences.push(format!("{}: missing", recorded.path)),
            Some(found) if found != recorded => {
                differences.push(format!("{}: content differs", recorded.path));
            }
            Some(_) => {}
        }
    }
    let is_recorded = |path: &str| manifest.artefacts.iter().any(|a| a.path == path);
    let strays = found.iter().filter(|found| !is_recorded(&found.path));
    differences.extend(strays.map(|stray| format!("{}: not in the manifest", stray.path)));
    Ok(outcome(differences))
}
