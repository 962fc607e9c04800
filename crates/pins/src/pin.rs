//! Pins: exactly which sources, and where to get them.
//!
//! `patches/<version>/pin.toml` names the MLX and the mlx-c that belongs to it.
//! The listing beside it (`mlx.lst`, as `git ls-tree -r` prints it) must hash to
//! the tree id that the pin states, so it can add nothing to the pin but detail.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use semver::Version;
use serde::Deserialize;
use toml_edit::{DocumentMut, Item, TableLike, Value};

use crate::{
    error::{Error, IoContext, Result},
    journal,
    official::{self, OfficialWheel, WHEELS_FILE},
    series::Trees,
    tree::{Listing, ObjectId},
};

/// The file in a pin's folder that says what it is.
pub const PIN_FILE: &str = "pin.toml";

/// An exact MLX.
#[derive(Debug, Clone)]
pub struct Pin {
    /// The version, which is also the folder's name.
    pub version: String,
    /// `patches/<version>`.
    pub folder: PathBuf,
    /// Upstream's tag.
    pub tag: String,
    /// MLX itself.
    pub mlx: SourcePin,
    /// The `mlx/` folder of mlx-c.
    pub mlx_c: SourcePin,
    /// The tree that mlx-c's own series gives; the pristine one until something is recorded.
    pub mlx_c_patched: ObjectId,
    /// The tree each series gives; the pristine one until something is recorded.
    pub recorded: Recorded,
    /// The official wheels of this MLX that are known.
    pub wheels: Vec<OfficialWheel>,
    /// Which of the sources patches are applied to.
    pub part: Part,
}

/// The sources of a pin, each of which has a series of patches of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// MLX.
    Mlx,
    /// mlx-c.
    MlxC,
}

/// What stands above a pin's `[series]` when it is written first.
const ABOVE_SERIES: &str = "
# What each series must give. `cargo xtask patch record` writes these, and raises a revision
# with each other tree: the N of a wheel's version, X+rails.N of patched, X+tuned.N of tuned.
";

/// The folder in a pin's folder that holds mlx-c's series.
pub const MLX_C: &str = "mlx-c";

/// The trees a pin records: same inputs, same tree, on every machine.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What each series gives.
    pub trees: Trees,
    /// Which patched tree of this MLX it is, from 1: the N of a wheel's version
    /// `X+rails.N`. It rises with each other tree that is recorded, so that no two trees
    /// have a version in common.
    pub revision: u32,
    /// Which tuned tree it is, from 1: the N of a wheel's version `X+tuned.N`.
    pub tuned_revision: u32,
}

/// What a pin that counts no trees yet is at.
const FIRST_REVISION: u32 = 1;

/// `[series]`, as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RecordedFile {
    stock: ObjectId,
    patched: ObjectId,
    revision: Option<u32>,
    /// A pin without performance patches need not name it.
    tuned: Option<ObjectId>,
    tuned_revision: Option<u32>,
}

impl From<RecordedFile> for Recorded {
    fn from(file: RecordedFile) -> Self {
        Recorded {
            trees: Trees {
                stock: file.stock,
                patched: file.patched,
                tuned: file.tuned.unwrap_or(file.patched),
            },
            revision: file.revision.unwrap_or(FIRST_REVISION),
            tuned_revision: file.tuned_revision.unwrap_or(FIRST_REVISION),
        }
    }
}

impl Recorded {
    /// Every series gives this tree, and nothing was counted.
    fn all(tree: ObjectId) -> Self {
        Recorded {
            trees: Trees::all(tree),
            revision: FIRST_REVISION,
            tuned_revision: FIRST_REVISION,
        }
    }
}

/// One verified source tree and its transports.
#[derive(Debug, Clone)]
pub struct SourcePin {
    /// For people, for example `MLX 0.31.2`.
    pub name: String,
    /// The git tree id that decides.
    pub tree: ObjectId,
    /// Every file of it.
    pub listing: Listing,
    /// In the package registry, if somebody vendors it there.
    pub registry: Option<Crate>,
    /// At its origin.
    pub upstream: Option<Upstream>,
    /// Where the origin keeps each file, when the tree is a selection laid out
    /// anew; empty when the tree is the origin's folder as it is.
    pub layout: BTreeMap<String, String>,
}

/// A folder inside a crate of the package registry, or inside an archive in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crate {
    /// The crate's name.
    #[serde(rename = "crate")]
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// An archive in it, which is unpacked first. It holds the tree, or one folder that is
    /// the tree.
    pub archive: Option<String>,
    /// The folder in the archive, or else in the crate, that holds the tree; empty for all.
    #[serde(default)]
    pub path: String,
}

/// A folder at a commit of a git repository.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The repository's URL.
    pub git: String,
    /// A commit, or a tag where the commit is not known; the tree id decides.
    pub revision: String,
    /// The folder in it; empty for all.
    #[serde(default)]
    pub path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinFile {
    tag: String,
    mlx: SourceFile,
    #[serde(rename = "mlx-c")]
    mlx_c: MlxCFile,
    series: Option<RecordedFile>,
}

/// As [`SourceFile`]; serde cannot flatten one that denies unknown fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MlxCFile {
    tree: ObjectId,
    series: Option<RecordedMlxC>,
    registry: Option<Crate>,
    upstream: Option<Upstream>,
    #[serde(default)]
    layout: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedMlxC {
    patched: ObjectId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceFile {
    tree: ObjectId,
    registry: Option<Crate>,
    upstream: Option<Upstream>,
    #[serde(default)]
    layout: BTreeMap<String, String>,
}

impl Pin {
    /// Reads `patches/<version>`.
    ///
    /// # Errors
    /// Unknown versions, with the known ones; a pin file that does not parse; a
    /// listing that is not of the pinned tree.
    pub fn load(patches: &Path, version: &str) -> Result<Self> {
        let known = Self::versions(patches)?;
        if !known.iter().any(|v| v == version) {
            return Err(Error::UnknownPin {
                wanted: version.to_owned(),
                known,
                patches: patches.to_path_buf(),
            });
        }
        let folder = patches.join(version);
        // A command that changed the pin may have been killed in the middle.
        journal::finish(&folder)?;
        let file = folder.join(PIN_FILE);
        let text = fs::read_to_string(&file).at("read", &file)?;
        let parsed: PinFile = toml::from_str(&text).map_err(|e| Error::malformed(&file, e))?;
        let pristine = Recorded::all(parsed.mlx.tree);
        Ok(Pin {
            version: version.to_owned(),
            tag: parsed.tag,
            mlx: parsed
                .mlx
                .load(format!("MLX {version}"), &folder.join("mlx.lst"))?,
            mlx_c_patched: match &parsed.mlx_c.series {
                Some(series) => series.patched,
                None => parsed.mlx_c.tree,
            },
            mlx_c: SourceFile::from(parsed.mlx_c).load(
                format!("mlx-c for MLX {version}"),
                &folder.join("mlx-c.lst"),
            )?,
            recorded: parsed.series.map_or(pristine, Recorded::from),
            wheels: official::load(&folder.join(WHEELS_FILE))?,
            folder,
            part: Part::Mlx,
        })
    }

    /// This pin for what is done with the patches of mlx-c: its MLX is mlx-c, and its folder
    /// that of mlx-c's series. All of that series is applied to every build.
    pub fn of_mlx_c(&self) -> Pin {
        Pin {
            folder: self.folder.join(MLX_C),
            mlx: self.mlx_c.clone(),
            recorded: Recorded::all(self.mlx_c_patched),
            part: Part::MlxC,
            ..self.clone()
        }
    }

    /// The versions there are, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn versions(patches: &Path) -> Result<Vec<String>> {
        let listed = fs::read_dir(patches).map_err(|error| Error::Input {
            input: patches.display().to_string(),
            problem: format!("cannot be read ({error})"),
            remedy: "run `cargo xtask` in a whole checkout of mlx-rails".into(),
        })?;
        let mut versions = Vec::new();
        for entry in listed {
            let folder = entry.at("read", patches)?.path();
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            // A folder that is hidden is one that is still being made.
            if name.starts_with('.') || !folder.join(PIN_FILE).is_file() {
                continue;
            }
            let version = version(&name).map_err(|problem| {
                Error::malformed(&folder, format!("the folder's name {problem}"))
            })?;
            versions.push((version, name.into_owned()));
        }
        versions.sort();
        Ok(versions.into_iter().map(|(_, name)| name).collect())
    }

    /// The text of the pin's file with these trees recorded, when it does not say so yet.
    /// Where it records another patched or tuned tree, that one's revision rises by one.
    /// `mlx_c` is the tree of mlx-c's series; without one, what is recorded of it stays.
    ///
    /// # Errors
    /// When the file cannot be read or does not parse.
    pub fn with_record(&self, trees: Trees, mlx_c: Option<ObjectId>) -> Result<Option<String>> {
        let file = self.file();
        let text = fs::read_to_string(&file).at("read", &file)?;
        let mut document: DocumentMut = text.parse().map_err(|e| Error::malformed(&file, e))?;
        if !document.contains_key("series") {
            let mut series = toml_edit::Table::new();
            series.decor_mut().set_prefix(ABOVE_SERIES);
            document.insert("series", Item::Table(series));
        }
        let series = table(document.as_table_mut(), "series", &file)?;
        let recorded = |name| series.get(name).and_then(Item::as_str);
        let other_than = |recorded: Option<&str>, tree: ObjectId| {
            u32::from(recorded.is_some_and(|recorded| recorded != tree.to_string()))
        };
        let patched = recorded("patched");
        let revision = self.recorded.revision + other_than(patched, trees.patched);
        let tuned = recorded("tuned").or(patched);
        let tuned_revision = self.recorded.tuned_revision + other_than(tuned, trees.tuned);
        set(series, "stock", trees.stock.to_string().into());
        set(series, "patched", trees.patched.to_string().into());
        set(series, "revision", i64::from(revision).into());
        set(series, "tuned", trees.tuned.to_string().into());
        set(series, "tuned-revision", i64::from(tuned_revision).into());
        // A series without patches gives the pinned tree, which needs no record.
        if let Some(tree) = mlx_c.filter(|tree| *tree != self.mlx_c_patched) {
            let mlx_c = table(document.as_table_mut(), "mlx-c", &file)?;
            let series = table(mlx_c, "series", &file)?;
            set(series, "patched", tree.to_string().into());
        }
        let after = document.to_string();
        Ok((after != text).then_some(after))
    }

    /// The text of a file for another MLX with the mlx-c of this pin, and with nothing
    /// recorded of the series of MLX.
    ///
    /// # Errors
    /// When the file of this pin cannot be read or does not parse.
    pub fn file_of_another(&self, tag: &str, mlx: &SourcePin) -> Result<String> {
        let file = self.file();
        let text = fs::read_to_string(&file).at("read", &file)?;
        let ours: DocumentMut = text.parse().map_err(|e| Error::malformed(&file, e))?;
        let mut other = format!(
            "tag = {}\n\n[mlx]\ntree = \"{}\"\n",
            Value::from(tag),
            mlx.tree
        );
        if let Some(Upstream { git, revision, .. }) = &mlx.upstream {
            let (git, revision) = (Value::from(git), Value::from(revision));
            other += &format!("\n[mlx.upstream]\ngit = {git}\nrevision = {revision}\n");
        }
        other += &format!(
            "\n# The mlx-c of MLX {}, until there is one for this MLX.\n",
            self.version
        );
        let mut mlx_c = DocumentMut::new();
        let mut section = ours.get("mlx-c").cloned().unwrap_or_default();
        if let Some(table) = section.as_table_mut() {
            table.decor_mut().clear();
        }
        mlx_c.insert("mlx-c", section);
        Ok(other + mlx_c.to_string().trim_start())
    }

    /// The pin's file.
    pub fn file(&self) -> PathBuf {
        match self.part {
            Part::Mlx => self.folder.join(PIN_FILE),
            Part::MlxC => self.folder.with_file_name(PIN_FILE),
        }
    }
}

/// The table of this name, made when there is none.
fn table<'a>(
    within: &'a mut dyn TableLike,
    name: &str,
    file: &Path,
) -> Result<&'a mut dyn TableLike> {
    within
        .entry(name)
        .or_insert(toml_edit::table())
        .as_table_like_mut()
        .ok_or_else(|| Error::malformed(file, format!("`{name}` is no table")))
}

/// Sets a value of a table. The spaces and the comment around it stay, and so does a value
/// that is equal.
fn set(table: &mut dyn TableLike, name: &str, new: Value) {
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(value) if value.as_str() == new.as_str() && value.as_integer() == new.as_integer() => {
        }
        Some(value) => {
            let decor = value.decor().clone();
            *value = new;
            *value.decor_mut() = decor;
        }
        None => {
            table.insert(name, Item::Value(new));
        }
    }
}

/// A release of MLX, to compare it by. A build before one (`0.32.0rc1`) is none, and
/// is refused lest it be taken for the release.
///
/// # Errors
/// A text that is no release, in words.
pub fn version(text: &str) -> Result<Version, String> {
    match Version::parse(text) {
        Ok(version) if version.pre.is_empty() && version.build.is_empty() => Ok(version),
        _ => Err(format!(
            "{text:?} is no release of MLX, which is three numbers, such as 0.31.2"
        )),
    }
}

impl SourcePin {
    /// Reads a pin that stands alone, `<name>.toml` with `<name>.lst` beside it.
    ///
    /// # Errors
    /// As [`Pin::load`].
    pub fn load(name: &str, file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).at("read", file)?;
        let parsed: SourceFile = toml::from_str(&text).map_err(|e| Error::malformed(file, e))?;
        parsed.load(name.to_owned(), &file.with_extension("lst"))
    }
}

impl From<MlxCFile> for SourceFile {
    fn from(file: MlxCFile) -> Self {
        SourceFile {
            tree: file.tree,
            registry: file.registry,
            upstream: file.upstream,
            layout: file.layout,
        }
    }
}

impl SourceFile {
    /// Reads the listing and holds it against the tree id.
    fn load(self, name: String, listing_file: &Path) -> Result<SourcePin> {
        let tree = self.tree;
        let text = fs::read_to_string(listing_file).at("read", listing_file)?;
        let listing = Listing::parse(&text).map_err(|e| Error::malformed(listing_file, e))?;
        if listing.tree_id() != tree {
            return Err(Error::malformed(
                listing_file,
                format!(
                    "lists tree {}, the pin says {tree}; make it anew with `git ls-tree -r {tree}`",
                    listing.tree_id()
                ),
            ));
        }
        Ok(SourcePin {
            name,
            tree,
            listing,
            registry: self.registry,
            upstream: self.upstream,
            layout: self.layout,
        })
    }
}
