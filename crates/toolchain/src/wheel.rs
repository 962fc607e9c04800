//! Python wheels: that of `rail-matrix`, and those of MLX with a patched jaccl.

mod linux;
pub(crate) mod macos;
pub(crate) mod pack;
mod rail_matrix;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pins::{ObjectId, Pin, Series};
use serde::{Deserialize, Serialize};
use wheel::{Check, FileName, Wheel, overlay::Replaced};

pub(crate) use pack::whole_wheel;
pub(crate) use rail_matrix::maturin_set;

use crate::error::{Error, IoContext, Result};

/// The `schema` of a list of [`Built`] wheels.
pub const SCHEMA: &str = "mlx-rails/wheel/2";

/// The file beside a wheel in the store that says what it is.
const REPORT: &str = "report.json";

/// What a wheel is made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Base {
    /// The official wheel of the pin.
    #[default]
    Official,
    /// This file.
    File(PathBuf),
}

/// Which wheel to make.
#[derive(Debug, Clone)]
pub struct WheelRequest<'a> {
    /// The MLX.
    pub pin: &'a Pin,
    /// The patches of what goes in.
    pub series: Series,
    /// The wheel that it goes into.
    pub base: Base,
}

/// A wheel that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    /// The distribution's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its tags, such as `py3-none-macosx_26_0_arm64`.
    pub tag: String,
    /// The SHA-256 of its bytes, as a lock file wants it.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// The wheel that it is but for what was replaced.
    pub base: Option<BaseFile>,
    /// The files that were replaced.
    pub replaced: Vec<Replaced>,
    /// What was looked at before it was written.
    pub checks: Vec<Check>,
    /// The pin's version.
    pub mlx: Option<String>,
    /// The patches.
    pub series: Option<Series>,
    /// The git tree id of the sources that were compiled.
    pub patched_tree: Option<ObjectId>,
}

/// The wheel that another one was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseFile {
    /// Its file.
    pub path: PathBuf,
    /// The SHA-256 of its bytes.
    pub sha256: String,
}

impl Built {
    /// A wheel at `path` that replaces nothing.
    fn whole(path: PathBuf) -> Result<Self> {
        let name = FileName::of(&path)?;
        let (sha256, bytes) = Wheel::sha256(&path)?;
        Ok(Built {
            path,
            name: name.name,
            version: name.version.to_string(),
            tag: name.tag.to_string(),
            sha256,
            bytes,
            base: None,
            replaced: Vec::new(),
            checks: Vec::new(),
            mlx: None,
            series: None,
            patched_tree: None,
        })
    }

    fn load(file: &Path) -> Result<Self> {
        let text = fs::read(file).at("read", file)?;
        serde_json::from_slice(&text).map_err(|error| Error::malformed(file, error))
    }

    fn save(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::malformed(file, e))?;
        fs::write(file, text + "\n").at("write", file)
    }

    /// This wheel as a file in `out`, copied there from the store unless it is there.
    fn handed_to(self, out: &Path) -> Result<Self> {
        let out = &std::path::absolute(out).at("resolve", out)?;
        fs::create_dir_all(out).at("create", out)?;
        let path = out.join(self.path.file_name().unwrap_or_default());
        let is_there = path.is_file() && Wheel::sha256(&path)?.0 == self.sha256;
        if !is_there {
            let mut from = fs::File::open(&self.path).at("open", &self.path)?;
            let mut copy = new_file_in(out)?;
            io::copy(&mut from, copy.as_file_mut()).at("write", copy.path())?;
            publish(copy, &path)?;
        }
        Ok(Built { path, ..self })
    }
}

/// Replaces a file by `content`, with its own mode.
pub(crate) fn publish_beside(file: &Path, content: &[u8]) -> Result<()> {
    let mode = fs::metadata(file).at("read", file)?.permissions();
    let made = new_file_in(file.parent().unwrap_or(file))?;
    fs::write(made.path(), content).at("write", made.path())?;
    fs::set_permissions(made.path(), mode).at("change the mode of", made.path())?;
    let persisted = made.persist(file).map_err(|error| error.error);
    persisted.map(|_| ()).at("replace", file)
}

/// Refuses a folder that no file can be put into, before anything is compiled for it. One that
/// is not there yet is not created.
pub(crate) fn refuse_unwritable(folder: &Path, remedy: &str) -> Result<()> {
    let folder = std::path::absolute(folder).at("resolve", folder)?;
    let nearest = folder.ancestors().find(|it| it.exists());
    let nearest = nearest.unwrap_or(&folder);
    let attempt = tempfile::Builder::new().tempfile_in(nearest);
    attempt.map(|_| ()).map_err(|error| Error::Input {
        input: folder.display().to_string(),
        problem: match nearest == folder {
            true => format!("no file can be put there ({error})"),
            false => format!("{} cannot be written ({error})", nearest.display()),
        },
        remedy: remedy.to_owned(),
    })
}

/// What to do where a wheel cannot be put.
const OTHER_FOLDER: &str = "name another folder with --out-dir";

/// A file in `out` that disappears unless it is published.
fn new_file_in(out: &Path) -> Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".making-")
        .tempfile_in(out)
        .at("create a file in", out)
}

/// Gives a finished file its name, and everybody the right to read it.
fn publish(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(file.path(), readable).at("change the mode of", file.path())?;
    let persisted = file.persist(path).map_err(|error| error.error);
    persisted.map(|_| ()).at("create", path)
}
