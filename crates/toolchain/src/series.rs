//! Patch series: which patches, in which order, and what they make of a tree.
//!
//! `patches/<version>/series` lists patch files, one a line. Each starts with
//! DEP-3 fields (<https://dep-team.pages.debian.net/deps/dep3/>) and is applied
//! by git. `X-Class: portability` marks what jaccl needs to exist on a platform
//! at all; it is part of both series, and inert on macOS.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    fetch::{Source, SourceTree},
    pin::Pin,
    process,
    store::{Kind, sha256},
    tools::git_version,
    tree::{Listing, ObjectId},
};

/// Which patches of a pin are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Series {
    /// Upstream's behaviour: only what lets jaccl compile on this platform.
    Stock,
    /// Everything.
    #[default]
    Patched,
}

impl Series {
    /// `stock` or `patched`.
    pub fn name(self) -> &'static str {
        match self {
            Series::Stock => "stock",
            Series::Patched => "patched",
        }
    }

    fn includes(self, class: Class) -> bool {
        self == Series::Patched || class == Class::Portability
    }

    fn recorded(self, pin: &Pin) -> ObjectId {
        match self {
            Series::Stock => pin.recorded.stock,
            Series::Patched => pin.recorded.patched,
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Series {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "stock" => Ok(Series::Stock),
            "patched" => Ok(Series::Patched),
            _ => Err(format!(
                "unknown series {name:?}; there are stock and patched"
            )),
        }
    }
}

/// Why a patch is in the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Lets jaccl compile and run; changes no behaviour.
    Portability,
    /// Changes what a collective does.
    Fix,
}

/// One patch file.
#[derive(Debug, Clone)]
pub struct Patch {
    /// The file's name without `.patch`.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// From `X-Class`.
    pub class: Class,
    /// The DEP-3 fields, as they stand in the file.
    pub fields: BTreeMap<String, String>,
}

/// DEP-3 fields that every patch must carry, and what they are for.
const REQUIRED: [(&str, &str); 7] = [
    ("Description", "what it does and why"),
    (
        "Origin",
        "upstream, backport, vendor or other, with a reference",
    ),
    ("Bug", "where the defect is described"),
    ("Forwarded", "where it was sent, no, or not-needed"),
    (
        "Applied-Upstream",
        "the version or change that has it, or no",
    ),
    ("Last-Update", "YYYY-MM-DD"),
    ("X-Class", "portability or fix"),
];

impl Patch {
    fn load(file: PathBuf) -> Result<Self> {
        let bytes = fs::read(&file).at("read", &file)?;
        let text = String::from_utf8_lossy(&bytes);
        let fields = fields(&text);
        for (field, meaning) in REQUIRED {
            if fields.get(field).is_none_or(String::is_empty) {
                let problem = format!("the DEP-3 field {field} is missing ({meaning})");
                return Err(Error::malformed(file, problem));
            }
        }
        let class = match fields["X-Class"].as_str() {
            "portability" => Class::Portability,
            "fix" => Class::Fix,
            other => {
                let problem = format!("X-Class is {other:?}; it is portability or fix");
                return Err(Error::malformed(file, problem));
            }
        };
        Ok(Patch {
            name: file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            sha256: sha256(&bytes),
            file,
            class,
            fields,
        })
    }

    /// The first line of the description.
    pub fn summary(&self) -> &str {
        self.fields["Description"]
            .lines()
            .next()
            .unwrap_or_default()
    }
}

/// The fields before the diff. A line that starts with a space continues one.
fn fields(text: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = None;
    for line in text.lines() {
        if line == "---" || line.starts_with("--- ") || line.starts_with("diff ") {
            break;
        }
        if let Some(more) = line.strip_prefix(' ') {
            if let Some(value) = last.as_ref().and_then(|name| fields.get_mut(name)) {
                value.push('\n');
                value.push_str(more);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.insert(name.to_owned(), value.trim().to_owned());
            last = Some(name.to_owned());
        }
    }
    fields
}

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

impl Toolchain {
    /// The patches of a series, in order.
    ///
    /// # Errors
    /// A series that names a file that is not there, or a patch without its
    /// DEP-3 fields.
    pub fn patches(&self, pin: &Pin, series: Series) -> Result<Vec<Patch>> {
        let file = pin.folder.join("series");
        let text = fs::read_to_string(&file).at("read", &file)?;
        let names = text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with('#'));
        let patches = names
            .map(|name| Patch::load(pin.folder.join(name)))
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
        let file = pin.file();
        let text = fs::read_to_string(&file).at("read", &file)?;
        let text = replace_record(&text, "stock", stock);
        let text = replace_record(&text, "patched", patched);
        let made = file.with_extension("toml.new");
        fs::write(&made, text).at("write", &made)?;
        fs::rename(&made, &file).at("replace", &file)?;
        Ok((stock, patched))
    }

    /// How each patch of the whole series stands to the pristine tree at `tree`
    /// (the pin's own when not given).
    ///
    /// # Errors
    /// When the tree cannot be read or git cannot be run.
    pub fn patch_states(&self, pin: &Pin, tree: Option<&Path>) -> Result<Vec<(Patch, State)>> {
        let pristine = self.fetch(&pin.mlx, &Source::Auto)?.path;
        let tree = tree.unwrap_or(&pristine);
        let scratch = self.store.scratch()?;
        let copy = scratch.path().join("tree");
        Listing::of_folder(tree)?.sync(tree, &copy)?;
        let git = PatchTree::new(&copy, &pristine)?;
        let patches = self.patches(pin, Series::Patched)?;
        let mut states = Vec::new();
        for (at, patch) in patches.iter().enumerate() {
            let state = git.state(patch, &patches[..at])?;
            if state == State::Applies {
                git.apply(patch)?;
            }
            states.push((patch.clone(), state));
        }
        Ok(states)
    }

    fn apply(&self, pin: &Pin, series: Series) -> Result<SourceTree> {
        let patches = self.patches(pin, series)?;
        let inputs: Vec<&str> = patches.iter().map(|p| p.sha256.as_str()).collect();
        let key = sha256(format!("{}\n{}", pin.mlx.tree, inputs.join("\n")));
        let memo = self.store.root().join("series").join(&key);
        if let Some(current) = self.remembered(&memo)? {
            return Ok(current);
        }
        let pristine = self.fetch(&pin.mlx, &Source::Auto)?;
        let _lock = self
            .store
            .lock(&format!("series-{key}"), &*self.progress, &self.cancel)?;
        self.progress
            .step("Patching", &format!("{} ({series})", pin.mlx.name));
        let scratch = self.store.scratch()?;
        let made = scratch.path().join("tree");
        pin.mlx.listing.sync(&pristine.path, &made)?;
        let git = PatchTree::new(&made, &pristine.path)?;
        for (done, patch) in patches.iter().enumerate() {
            match git.state(patch, &patches[..done])? {
                State::Applies => git.apply(patch)?,
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
        let tree = Listing::of_folder(&made)?.tree_id();
        let path = self.store.publish(Kind::Source, &tree.to_string(), &made)?;
        write_memo(&memo, tree)?;
        self.progress.finish();
        Ok(SourceTree {
            path,
            tree,
            current: false,
        })
    }

    /// The tree these inputs gave before, if it still hashes to its name.
    fn remembered(&self, memo: &Path) -> Result<Option<SourceTree>> {
        let Some(tree) = fs::read_to_string(memo)
            .ok()
            .and_then(|id| id.trim().parse().ok())
        else {
            return Ok(None);
        };
        let path = self.store.entry(Kind::Source, &ObjectId::to_string(&tree));
        if !path.is_dir() {
            return Ok(None);
        }
        if Listing::of_folder(&path)?.tree_id() != tree {
            self.progress.note(&format!(
                "the stored tree {} was changed; making it anew",
                tree.short()
            ));
            fs::remove_dir_all(&path).at("remove", &path)?;
            return Ok(None);
        }
        Ok(Some(SourceTree {
            path,
            tree,
            current: true,
        }))
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

fn replace_record(text: &str, series: &str, tree: ObjectId) -> String {
    let start = format!("{series} = ");
    text.lines()
        .map(|line| {
            if line.starts_with(&start) {
                format!("{start}\"{tree}\"\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect()
}

/// A working copy that git applies patches to.
struct PatchTree<'a> {
    folder: &'a Path,
    /// The tree the patches were made from.
    base: &'a Path,
}

impl<'a> PatchTree<'a> {
    /// Makes sure first that there is a git, lest its absence be taken for its
    /// refusal of a patch.
    fn new(folder: &'a Path, base: &'a Path) -> Result<Self> {
        git_version()?;
        Ok(PatchTree { folder, base })
    }

    fn state(&self, patch: &Patch, before: &[Patch]) -> Result<State> {
        let refused = match self.git_apply(self.folder, patch, &["--check"]) {
            Ok(()) => return Ok(State::Applies),
            Err(refused) => refused,
        };
        if self
            .git_apply(self.folder, patch, &["--check", "--reverse"])
            .is_ok()
        {
            return Ok(State::AlreadyApplied);
        }
        if self.changes_nothing(patch, before)? {
            return Ok(State::AlreadyUpstream);
        }
        Ok(State::Conflicts {
            hunks: refused_hunks(&refused),
        })
    }

    fn apply(&self, patch: &Patch) -> Result<()> {
        self.git_apply(self.folder, patch, &[])
            .map_err(|tail| Error::Command {
                what: format!("applying {}", patch.name),
                status: "git apply".into(),
                tail,
                log: None,
            })
    }

    /// The error is what git said.
    fn git_apply(&self, folder: &Path, patch: &Patch, arguments: &[&str]) -> Result<(), String> {
        let mut command = self.git(folder, &["apply", "--whitespace=nowarn"]);
        command.args(arguments).arg(&patch.file);
        let output = command.output().map_err(|e| format!("git: {e}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Whether a three-way merge of the patch leaves the tree as it is. Plain
    /// `--reverse` misses a fix whose neighbourhood changed since.
    fn changes_nothing(&self, patch: &Patch, before: &[Patch]) -> Result<bool> {
        let scratch = tempfile::tempdir().at("create a folder in", std::env::temp_dir())?;
        let copy = scratch.path();
        let git = |arguments: &[&str]| process::capture("git", &mut self.git(copy, arguments));
        // The merge looks for the blob the patch was made from: the base with
        // the patches before it.
        Listing::of_folder(self.base)?.sync(self.base, copy)?;
        git(&["init", "--quiet"])?;
        git(&["add", "--all", "--force"])?;
        for earlier in before {
            let _ = self.git_apply(copy, earlier, &["--index"]);
        }
        Listing::of_folder(self.folder)?.sync(self.folder, copy)?;
        git(&["add", "--all", "--force"])?;
        let tree = git(&["write-tree"])?;
        let merged = self.git_apply(copy, patch, &["--3way", "--index"]);
        Ok(merged.is_ok() && git(&["write-tree"])? == tree)
    }

    fn git(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(folder)
            // A store inside somebody's repository must not be taken for it.
            .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder))
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE");
        command
    }
}

/// `error: patch failed: mlx/ring.h:42` names a place; a missing file has none.
fn refused_hunks(stderr: &str) -> Vec<String> {
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
