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
use toml_edit::{DocumentMut, Item};

use crate::{
    error::{Error, IoContext, Result},
    journal,
    official::{self, OfficialWheel, WHEELS_FILE},
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
    /// The version of MLX that the mlx-c is for, where it is not this one: then jaccl
    /// alone can be built.
    pub mlx_c_fits: Option<String>,
    /// The tree each series gives; the pristine one until something is recorded.
    pub recorded: Recorded,
    /// The official wheels of this MLX that are known.
    pub wheels: Vec<OfficialWheel>,
}

/// The patched trees a pin records: same inputs, same tree, on every machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// With only what the platform needs.
    pub stock: ObjectId,
    /// With the whole series.
    pub patched: ObjectId,
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

/// A folder inside a crate of the package registry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crate {
    /// The crate's name.
    #[serde(rename = "crate")]
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// The folder in it that holds the tree.
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
    series: Option<Recorded>,
}

/// As [`SourceFile`]; serde cannot flatten one that denies unknown fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MlxCFile {
    tree: ObjectId,
    /// The version of MLX that this mlx-c is for; the pin's own when not given.
    fits: Option<String>,
    registry: Option<Crate>,
    upstream: Option<Upstream>,
    #[serde(default)]
    layout: BTreeMap<String, String>,
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
        let mut parsed: PinFile = toml::from_str(&text).map_err(|e| Error::malformed(&file, e))?;
        let pristine = Recorded {
            stock: parsed.mlx.tree,
            patched: parsed.mlx.tree,
        };
        Ok(Pin {
            version: version.to_owned(),
            tag: parsed.tag,
            mlx: parsed
                .mlx
                .load(format!("MLX {version}"), &folder.join("mlx.lst"))?,
            mlx_c_fits: parsed.mlx_c.fits.take().filter(|fits| fits != version),
            mlx_c: SourceFile::from(parsed.mlx_c).load(
                format!("mlx-c for MLX {version}"),
                &folder.join("mlx-c.lst"),
            )?,
            recorded: parsed.series.unwrap_or(pristine),
            wheels: official::load(&folder.join(WHEELS_FILE))?,
            folder,
        })
    }

    /// That the whole of MLX can be built of this pin, and not jaccl alone.
    ///
    /// # Errors
    /// [`Error::Input`] with the reason when its mlx-c is for another version of MLX.
    pub fn has_whole_mlx(&self) -> Result<()> {
        match &self.mlx_c_fits {
            None => Ok(()),
            Some(fits) => Err(Error::Input {
                input: format!("MLX {}", self.version),
                problem: format!(
                    "it cannot be built as a whole, because its pinned mlx-c is for MLX {fits}"
                ),
                remedy: format!(
                    "jaccl alone can be built (`cargo xtask verify --mlx {}`); for more, pin an \
                     mlx-c for it in {}",
                    self.version,
                    self.file().display()
                ),
            }),
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
            if !folder.join(PIN_FILE).is_file() {
                continue;
            }
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let version = version(&name).map_err(|problem| {
                Error::malformed(&folder, format!("the folder's name {problem}"))
            })?;
            versions.push((version, name.into_owned()));
        }
        versions.sort();
        Ok(versions.into_iter().map(|(_, name)| name).collect())
    }

    /// The text of the pin's file with these trees recorded, when it does not say so yet.
    ///
    /// # Errors
    /// When the file cannot be read or does not parse.
    pub fn with_record(&self, stock: ObjectId, patched: ObjectId) -> Result<Option<String>> {
        let file = self.file();
        let before = fs::read_to_string(&file).at("read", &file)?;
        let mut document: DocumentMut = before.parse().map_err(|e| Error::malformed(&file, e))?;
        let series = document
            .entry("series")
            .or_insert(toml_edit::table())
            .as_table_like_mut()
            .ok_or_else(|| Error::malformed(&file, "`series` is no table"))?;
        for (name, tree) in [("stock", stock), ("patched", patched)] {
            let tree = tree.to_string();
            match series.get_mut(name).and_then(Item::as_value_mut) {
                // As it is written: spaces and a comment behind it stay.
                Some(value) if value.as_str() == Some(&tree) => {}
                Some(value) => {
                    let decor = value.decor().clone();
                    *value = tree.into();
                    *value.decor_mut() = decor;
                }
                None => {
                    series.insert(name, toml_edit::value(tree));
                }
            }
        }
        let after = document.to_string();
        Ok((after != before).then_some(after))
    }

    /// The pin's file.
    pub fn file(&self) -> PathBuf {
        self.folder.join(PIN_FILE)
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
