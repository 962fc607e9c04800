//! What a person does with patches: edit, add, refresh, export, drop.
//!
//! Each either leaves `patches/<version>` with a whole series whose trees are
//! recorded, or as it was.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pins::{ObjectId, Pin};

use crate::{
    Class, State,
    error::{Error, IoContext, Result},
    header::replace,
    publish::Exported,
    snapshot::Snapshot,
    stack::{Layer, Stack, is_name},
    working_copy::{Import, WorkingCopy},
    workshop::Workshop,
};

/// A working copy that is ready for edits.
#[derive(Debug)]
pub struct Editable {
    /// Where it is.
    pub folder: PathBuf,
    /// Patches that did not apply, with why; each waits to be made by hand.
    pub pending: Vec<(String, State)>,
}

/// What became of edits.
#[derive(Debug)]
pub enum Refreshed {
    /// They are in the patch files.
    Exported(Exported),
    /// They are in the working copy, until these patches that did not apply are
    /// made too.
    Pending(Vec<String>),
}

impl Workshop {
    /// A working copy of the tuned tree in `folder`: a git repository in which
    /// each patch is a commit. One that is there already stays as it is, unless
    /// nothing was done in it and the patches changed since.
    ///
    /// A patch that does not apply becomes a commit that changes nothing.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder holds something else, or a working copy
    /// that is older than the patches.
    pub fn edit_patches(&self, pin: &Pin, folder: &Path) -> Result<Editable> {
        let folder = std::path::absolute(folder).at("resolve", folder)?;
        let occupied = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            if !WorkingCopy::read(pin, &folder, &self.launcher)?.is_spent(pin)? {
                WorkingCopy::open(pin, &folder, &self.launcher)?;
                return Ok(Editable {
                    folder,
                    pending: Vec::new(),
                });
            }
            fs::remove_dir_all(&folder).at("remove", &folder)?;
        }
        let pending = self.import(pin, &folder)?.skipped;
        Ok(Editable {
            folder,
            pending: pending.into_iter().map(|(p, s)| (p.name, s)).collect(),
        })
    }

    /// As [`Workshop::edit_patches`], with a patch `name` begun: a commit without changes
    /// whose fields are to be filled in. It is the last one of the series, and before the
    /// performance patches if it is none.
    ///
    /// # Errors
    /// [`Error::Input`] for a name that is taken or cannot be a file's, and those
    /// of [`Workshop::edit_patches`].
    pub fn new_patch(
        &self,
        pin: &Pin,
        name: &str,
        class: Class,
        folder: &Path,
    ) -> Result<Editable> {
        let refuse = |problem: &str, remedy: String| {
            Err(Error::Input {
                input: name.to_owned(),
                problem: problem.to_owned(),
                remedy,
            })
        };
        if !is_name(name) {
            let remedy = "use lower-case words joined by hyphens: ring-recv-prefill".to_owned();
            return refuse("cannot be a patch's name", remedy);
        }
        let taken = "is a patch already";
        let remedy = format!(
            "change it: `cargo xtask patch edit --mlx {0}`, then `cargo xtask patch refresh {name} --mlx {0}`",
            pin.version
        );
        if Snapshot::load(&pin.folder)?.patches.contains_key(name) {
            return refuse(taken, remedy);
        }
        let editable = self.edit_patches(pin, folder)?;
        let mut copy = WorkingCopy::open(pin, &editable.folder, &self.launcher)?;
        if copy.stack.position(name).is_some() {
            return refuse(taken, remedy);
        }
        let mut stack = copy.stack.clone();
        let position = match class {
            Class::Performance => stack.layers.len(),
            Class::Portability | Class::Fix => stack.before_performance(),
        };
        let begun = Layer {
            name: name.to_owned(),
            head: template(class),
            tree: stack.tree_before(position),
        };
        stack.layers.insert(position, begun);
        copy.keep(pin, stack)?;
        Ok(editable)
    }

    /// Takes the edits of the working copy in `folder` into patch `name`, and
    /// exports.
    ///
    /// # Errors
    /// [`Error::UnknownPatch`]; [`Error::Input`] when nothing was edited;
    /// [`Error::EditsOfAnother`] when the edits are in lines of a patch behind it.
    /// Nothing is changed then.
    pub fn refresh_patch(&self, pin: &Pin, name: &str, folder: &Path) -> Result<Refreshed> {
        let folder = std::path::absolute(folder).at("resolve", folder)?;
        let mut copy = WorkingCopy::open(pin, &folder, &self.launcher)?;
        let position = position(pin, &copy.stack, name)?;
        let edited = self.edited(&copy)?;
        if edited == copy.stack.top() {
            return Err(Error::Input {
                input: folder.display().to_string(),
                problem: "nothing in it was edited since its last commit".into(),
                remedy:
                    "edit files there; what is committed is taken by `cargo xtask patch export`"
                        .into(),
            });
        }
        let folded = copy.stack.fold(&copy.repository, position, edited)?;
        let folded = folded.map_err(|misfit| Error::EditsOfAnother {
            patch: name.to_owned(),
            other: misfit.layer,
            hunks: misfit.places,
        })?;
        if folded.is_empty(position) {
            return Err(Error::Input {
                input: name.to_owned(),
                problem: "nothing would be left of it with these edits".into(),
                remedy: format!("to be rid of it, run `cargo xtask patch drop {name}`"),
            });
        }
        let mut stack = copy.with_fields(pin, &folded)?;
        let layer = &mut stack.layers[position];
        layer.head = replace(&layer.head, "Last-Update", &today());
        let pending = unmade(&copy, &stack);
        if !pending.is_empty() {
            copy.keep(pin, stack)?;
            return Ok(Refreshed::Pending(pending));
        }
        let exported = self.publish(pin, &copy.repository, &stack)?;
        copy.settle(pin, stack)?;
        Ok(Refreshed::Exported(exported))
    }

    /// Writes the series that the commits of the working copy in `folder` are.
    ///
    /// # Errors
    /// [`Error::Input`] when there are edits that no commit has, or a patch that
    /// changes nothing.
    pub fn export_patches(&self, pin: &Pin, folder: &Path) -> Result<Exported> {
        let folder = std::path::absolute(folder).at("resolve", folder)?;
        let mut copy = WorkingCopy::open(pin, &folder, &self.launcher)?;
        let refuse = |problem: String, remedy: String| {
            Err(Error::Input {
                input: folder.display().to_string(),
                problem,
                remedy,
            })
        };
        if self.edited(&copy)? != copy.stack.top() {
            return refuse(
                "it has edits that are in no commit".into(),
                "take them into a patch with `cargo xtask patch refresh NAME`".into(),
            );
        }
        let stack = copy.with_fields(pin, &copy.stack)?;
        if let Some(name) = unmade(&copy, &stack).first() {
            return refuse(
                format!("patch {name} changes nothing there"),
                format!("make its change, or `cargo xtask patch drop {name}`"),
            );
        }
        let exported = self.publish(pin, &copy.repository, &stack)?;
        copy.settle(pin, stack)?;
        Ok(exported)
    }

    /// Takes patches out of the series.
    ///
    /// # Errors
    /// [`Error::UnknownPatch`]; [`Error::Needed`] when a patch behind one needs it;
    /// [`Error::Conflict`] or [`Error::Input`] when another does not apply, or is
    /// in MLX already. Nothing is changed then.
    pub fn drop_patches(&self, pin: &Pin, names: &[String]) -> Result<Exported> {
        let scratch = self.scratch()?;
        let Import { copy, skipped } = self.import(pin, &scratch.path().join("copy"))?;
        let mut stack = copy.stack.clone();
        for name in names {
            let position = position(pin, &stack, name)?;
            let without = stack.without(&copy.repository, position)?;
            stack = without.map_err(|misfit| Error::Needed {
                patch: name.clone(),
                other: misfit.layer,
                hunks: misfit.places,
            })?;
        }
        let mut others = skipped
            .into_iter()
            .filter(|(p, _)| !names.contains(&p.name));
        match others.next() {
            None => self.publish(pin, &copy.repository, &copy.with_fields(pin, &stack)?),
            Some((patch, State::Conflicts { hunks })) => Err(Error::Conflict {
                patch: patch.name,
                pin: pin.version.clone(),
                hunks,
            }),
            Some((patch, state)) => Err(Error::Input {
                input: patch.name.clone(),
                problem: format!("is in the series too, and {state}"),
                remedy: format!(
                    "drop both: `cargo xtask patch drop {} {}`",
                    names.join(" "),
                    patch.name
                ),
            }),
        }
    }

    /// The tree of the working copy's files, with a word on those it leaves out.
    fn edited(&self, copy: &WorkingCopy) -> Result<ObjectId> {
        let hidden = copy.repository.hidden_files()?;
        if !hidden.is_empty() {
            self.progress.note(&format!(
                "left out, because MLX's .gitignore names them: {} (`git add --force` takes one in)",
                hidden.join(", ")
            ));
        }
        copy.repository.edited_tree()
    }
}

fn position(pin: &Pin, stack: &Stack, name: &str) -> Result<usize> {
    stack.position(name).ok_or_else(|| Error::UnknownPatch {
        wanted: name.to_owned(),
        pin: pin.version.clone(),
        known: stack.layers.iter().map(|l| l.name.clone()).collect(),
    })
}

/// The patches of the series that are still to be made.
fn unmade(copy: &WorkingCopy, stack: &Stack) -> Vec<String> {
    let names = stack.layers.iter().map(|layer| &layer.name).enumerate();
    names
        .filter(|(at, name)| stack.is_empty(*at) && copy.imported.patches.contains_key(*name))
        .map(|(_, name)| name.clone())
        .collect()
}

/// The fields of a patch that was just begun. `lint` refuses every TODO.
fn template(class: Class) -> String {
    let proof = match class {
        Class::Portability => "X-Verdicts: TODO none; what it makes possible",
        Class::Fix => "X-Verdicts: TODO hang -> pass: --op recv --backend ring --ranks 2",
        Class::Performance => {
            "X-Gain: TODO time 1 -> 0.30: --op all_sum --backend ring --ranks 2 --cables 3 \
             --bytes 8192 --frames small,big"
        }
    };
    format!(
        "Description: TODO what it does, in one line\n \
         TODO why: what goes wrong without it, when, and what it costs\n\
         Origin: vendor, mlx-rails\n\
         Bug: TODO where the defect is described\n\
         Forwarded: no\n\
         Applied-Upstream: no\n\
         Last-Update: {}\n\
         X-Class: {}\n\
         {proof}\n",
        today(),
        class.name()
    )
}

/// The day, by Greenwich.
pub(crate) fn today() -> String {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    now.date().to_string()
}
