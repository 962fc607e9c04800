//! Finds a model by the name that a user gives.
//!
//! | name | model |
//! |---|---|
//! | `smollm2` | the real model that [`smollm2`](crate::smollm2) makes |
//! | a folder | what is in it |
//! | `org/name` | exo's copy, else Hugging Face's |
//!
//! A folder of exo's is `org--name` in `EXO_MODELS_READ_ONLY_DIRS`, `EXO_DEFAULT_MODELS_DIR`
//! or else its data folder's `models`, and `EXO_MODELS_DIRS` (`exo/shared/constants.py`).
//! Hugging Face's is `models--org--name/snapshots/REVISION` in `HF_HUB_CACHE`, or else in
//! `hub` of `HF_HOME`; the revision is that of `refs/main`
//! (`huggingface_hub/constants.py`).

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    smollm2,
};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A folder. Nothing in it was checked, but that there is a config.
    Folder(PathBuf),
    /// The real model, which the caller must have made; see [`crate::smollm2`].
    SmolLm2,
}

/// The folders in which downloaded models are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caches {
    /// exo's, the first one first.
    pub exo: Vec<PathBuf>,
    /// Hugging Face's.
    pub hugging_face: Option<PathBuf>,
}

impl Caches {
    /// Those of the user, by the environment of this process.
    pub fn of_user() -> Self {
        Self::of(|name| env::var_os(name), cfg!(target_os = "linux"))
    }

    /// Those of an environment.
    fn of(variable: impl Fn(&str) -> Option<OsString>, is_linux: bool) -> Self {
        let set = |name: &str| variable(name).filter(|it| !it.is_empty());
        let home = set("HOME").map(PathBuf::from);
        let expand = |path: OsString| {
            let path = PathBuf::from(path);
            match (path.strip_prefix("~"), &home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => path,
            }
        };
        let folder = |name: &str| set(name).map(expand);
        let folders = |name: &str| -> Vec<PathBuf> {
            let value = set(name).unwrap_or_default();
            let paths = env::split_paths(&value).filter(|it| !it.as_os_str().is_empty());
            paths.map(|it| expand(it.into())).collect()
        };
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let data = || match (set("EXO_HOME"), is_linux) {
            (Some(own), _) => home.as_ref().map(|home| home.join(own)),
            (None, false) => below_home(".exo"),
            (None, true) => match folder("XDG_DATA_HOME") {
                Some(data) => Some(data.join("exo")),
                None => below_home(".local/share/exo"),
            },
        };
        let default = folder("EXO_DEFAULT_MODELS_DIR").or_else(|| Some(data()?.join("models")));
        let mut exo = folders("EXO_MODELS_READ_ONLY_DIRS");
        exo.extend(default);
        exo.extend(folders("EXO_MODELS_DIRS"));
        // Of versions before the folders above.
        exo.extend(folder("EXO_MODELS_DIR"));
        exo.extend(below_home(".exo/models"));
        let mut seen = Vec::new();
        exo.retain(|it| {
            !seen.contains(it) && {
                seen.push(it.clone());
                true
            }
        });

        let cache = || folder("XDG_CACHE_HOME").or_else(|| below_home(".cache"));
        let hf_home = || folder("HF_HOME").or_else(|| Some(cache()?.join("huggingface")));
        let hub = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE"));
        Caches {
            exo,
            hugging_face: hub.or_else(|| Some(hf_home()?.join("hub"))),
        }
    }

    /// The folder of a model, and every folder in which it was looked for.
    fn find(&self, organisation: &str, model: &str) -> (Option<PathBuf>, Vec<PathBuf>) {
        let is_model = |folder: &PathBuf| folder.join("config.json").is_file();
        let exo = self.exo.iter();
        let of_exo: Vec<_> = exo
            .map(|it| it.join(format!("{organisation}--{model}")))
            .collect();
        let of_hub = (self.hugging_face.as_ref())
            .map(|it| it.join(format!("models--{organisation}--{model}")));
        let found = of_exo.iter().find(|it| is_model(it)).cloned();
        let found = found.or_else(|| snapshot(of_hub.as_deref()?).filter(is_model));
        let looked = of_exo.into_iter().chain(of_hub).collect();
        (found, looked)
    }
}

/// The snapshot of Hugging Face's main branch.
fn snapshot(folder: &Path) -> Option<PathBuf> {
    let revision = fs::read_to_string(folder.join("refs/main")).ok()?;
    Some(folder.join("snapshots").join(revision.trim()))
}

/// What `name` stands for: `smollm2`, a folder, or a model that was downloaded. The names of
/// presets are the caller's.
///
/// # Errors
/// [`Error::NoConfig`] for a folder without one, [`Error::Absent`] for a model that is in no
/// cache, [`Error::NoSuchModel`] for any other name.
pub fn resolve(name: &str, caches: &Caches) -> Result<Found> {
    if name == smollm2::NAME {
        return Ok(Found::SmolLm2);
    }
    let folder = Path::new(name);
    if folder.is_dir() {
        let folder = folder.to_owned();
        return match folder.join("config.json").is_file() {
            true => Ok(Found::Folder(folder)),
            false => Err(Error::NoConfig { folder }),
        };
    }
    let Some((organisation, model)) = name.split_once('/').filter(|it| is_name(it)) else {
        let name = name.to_owned();
        return Err(Error::NoSuchModel { name });
    };
    match caches.find(organisation, model) {
        (Some(folder), _) => Ok(Found::Folder(folder)),
        (None, looked) => Err(Error::Absent {
            name: name.to_owned(),
            looked,
        }),
    }
}

/// Whether both parts are what Hugging Face allows, rather than parts of a path.
fn is_name((organisation, model): &(&str, &str)) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(allowed)
    };
    is_part(organisation) && is_part(model)
}
