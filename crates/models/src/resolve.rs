//! Finds a model by the name that a user gives.
//!
//! | name | model |
//! |---|---|
//! | `smollm2` | the real model that [`smollm2`] makes |
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
    let Some((organisation, model)) = name.split_once('/').filter(is_name) else {
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn caches(variables: &[(&str, &str)], is_linux: bool) -> Caches {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).into())
        };
        Caches::of(value, is_linux)
    }

    fn paths(paths: &[&str]) -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn caches_are_where_exo_and_hugging_face_have_them() {
        let home = ("HOME", "/u");
        let linux = caches(&[home], true);
        assert_eq!(
            linux.exo,
            paths(&["/u/.local/share/exo/models", "/u/.exo/models"])
        );
        let hub = |variables: &[_]| caches(variables, true).hugging_face;
        assert_eq!(linux.hugging_face, Some("/u/.cache/huggingface/hub".into()));
        assert_eq!(caches(&[home], false).exo, paths(&["/u/.exo/models"]));

        let own = ("EXO_HOME", ".mine");
        assert_eq!(
            caches(&[home, own], true).exo[0],
            Path::new("/u/.mine/models")
        );
        let several = [
            home,
            ("EXO_MODELS_READ_ONLY_DIRS", "/nfs:~/read"),
            ("EXO_DEFAULT_MODELS_DIR", "~/default"),
            ("EXO_MODELS_DIRS", "/more:/nfs"),
            ("EXO_MODELS_DIR", "/older"),
        ];
        assert_eq!(
            caches(&several, true).exo,
            paths(&[
                "/nfs",
                "/u/read",
                "/u/default",
                "/more",
                "/older",
                "/u/.exo/models"
            ])
        );

        assert_eq!(hub(&[home, ("HF_HOME", "/h")]), Some("/h/hub".into()));
        let both = [home, ("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")];
        assert_eq!(hub(&both), Some("/c".into()));
        let xdg = [home, ("XDG_CACHE_HOME", "/x")];
        assert_eq!(hub(&xdg), Some("/x/huggingface/hub".into()));
        assert_eq!(caches(&[], true), Caches::default());
    }

    /// A folder with a config.
    fn model(folder: PathBuf) -> PathBuf {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        folder
    }

    #[test]
    fn a_name_is_looked_for_in_every_cache() {
        let root = TempDir::new().unwrap();
        let path = |path: &str| root.path().join(path);
        let caches = Caches {
            exo: vec![path("exo"), path("more")],
            hugging_face: Some(path("hub")),
        };
        let find = || resolve("org/a.model-4bit", &caches);
        let error = find().unwrap_err();
        let help = error.help().unwrap();
        assert!(
            help.starts_with("fetch it with `hf download org/a.model-4bit`"),
            "{help}"
        );
        assert!(help.contains("exo/org--a.model-4bit"), "{help}");
        assert!(help.contains("hub/models--org--a.model-4bit"), "{help}");

        let hub = path("hub/models--org--a.model-4bit");
        let snapshot = model(hub.join("snapshots/0123abcd"));
        assert!(find().is_err(), "no branch names the snapshot");
        fs::create_dir_all(hub.join("refs")).unwrap();
        fs::write(hub.join("refs/main"), "0123abcd\n").unwrap();
        assert_eq!(find().unwrap(), Found::Folder(snapshot));
        let of_exo = model(path("more/org--a.model-4bit"));
        assert_eq!(find().unwrap(), Found::Folder(of_exo));
    }

    #[test]
    fn a_folder_is_itself_and_other_names_are_refused() {
        let root = TempDir::new().unwrap();
        let caches = Caches::default();
        let empty = root.path().to_string_lossy().into_owned();
        let error = resolve(&empty, &caches).unwrap_err();
        assert!(matches!(error, Error::NoConfig { .. }), "{error}");
        let folder = model(root.path().join("a"));
        let found = resolve(&folder.to_string_lossy(), &caches).unwrap();
        assert_eq!(found, Found::Folder(folder));
        assert_eq!(resolve("smollm2", &caches).unwrap(), Found::SmolLm2);
        for name in ["", "qwen", "a/b/c", "../a", "/absent/b", "a/", "org/ b"] {
            let error = resolve(name, &caches).unwrap_err();
            assert!(
                matches!(error, Error::NoSuchModel { .. }),
                "{name}: {error}"
            );
            assert!(error.is_input() && error.help().is_some());
        }
    }
}
