//! Where sources, tools and builds live: outside every clone, by content.
//!
//! ```text
//! sources/<tree id>/           a verified or patched source tree
//! tools/<key>/                 CMake, Ninja, libclang, OpenBLAS ...
//! builds/<key>/                prefix/, build.log, manifest.json
//! work/<key>/                  Ninja's folder, kept so that a change of series
//!                              or an interruption rebuilds only what it must
//! tmp/                         entries being made
//! locks/                       one file an entry being made
//! ```
//! An entry appears by rename when it is whole and is never changed again.
//! `work/` is the exception: nothing but Ninja reads it, and Ninja checks.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
};

use fs4::fs_std::FileExt;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    error::{Error, IoContext, Result},
    process::Cancel,
    progress::Progress,
};

/// The environment variable that names the store.
pub const STORE_ENV: &str = "MLX_RAILS_STORE";

/// A content-addressed folder tree shared by every clone of one user.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// `$MLX_RAILS_STORE`, else the user's cache folder
    /// (`$XDG_CACHE_HOME`, `~/Library/Caches` or `~/.cache`) + `mlx-rails`.
    ///
    /// # Errors
    /// When none of them is set. Nothing is created yet.
    pub fn open() -> Result<Self> {
        if let Some(root) = env::var_os(STORE_ENV).filter(|v| !v.is_empty()) {
            let root = std::path::absolute(&root).at("resolve", Path::new(&root))?;
            return Ok(Store { root });
        }
        let home = || {
            env::var_os("HOME")
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let cache = env::var_os("XDG_CACHE_HOME")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
            .or_else(|| {
                let below = if cfg!(target_os = "macos") {
                    "Library/Caches"
                } else {
                    ".cache"
                };
                home().map(|h| h.join(below))
            });
        match cache {
            Some(cache) => Ok(Store {
                root: cache.join("mlx-rails"),
            }),
            None => Err(Error::MissingTool {
                tool: "a place for the store",
                why: "neither HOME nor XDG_CACHE_HOME is set",
                remedy: format!("set {STORE_ENV}=DIR"),
            }),
        }
    }

    /// A store at a given place.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Store { root: root.into() }
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entry `name` of `kind`, whether or not it exists.
    pub fn entry(&self, kind: Kind, name: &str) -> PathBuf {
        self.root.join(kind.folder()).join(name)
    }

    /// A folder on the store's disk that disappears unless it is published.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn scratch(&self) -> Result<TempDir> {
        let tmp = self.root.join("tmp");
        fs::create_dir_all(&tmp).at("create", &tmp)?;
        tempfile::Builder::new()
            .prefix("making-")
            .tempdir_in(&tmp)
            .at("create a folder in", &tmp)
    }

    /// Makes `made` the entry `name` of `kind` in one step.
    ///
    /// # Errors
    /// When the rename fails for another reason than the entry being there.
    pub fn publish(&self, kind: Kind, name: &str, made: &Path) -> Result<PathBuf> {
        let entry = self.entry(kind, name);
        let folder = self.root.join(kind.folder());
        fs::create_dir_all(&folder).at("create", &folder)?;
        match fs::rename(made, &entry) {
            // Somebody else was first; by construction theirs is the same.
            Err(_) if entry.is_dir() => Ok(entry),
            renamed => renamed.at("create", &entry).map(|()| entry),
        }
    }

    /// Waits until this process alone may make `name`.
    ///
    /// # Errors
    /// When the store cannot be written, or on cancellation while waiting.
    pub fn lock(&self, name: &str, progress: &dyn Progress, cancel: &Cancel) -> Result<Lock> {
        let locks = self.root.join("locks");
        fs::create_dir_all(&locks).at("create", &locks)?;
        let path = locks.join(name);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .at("open", &path)?;
        let mut told = false;
        while !FileExt::try_lock_exclusive(&file).at("lock", &path)? {
            if !told {
                progress.note(&format!("waiting for another process that makes {name}"));
                told = true;
            }
            cancel.check()?;
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        Ok(Lock { _file: file })
    }

    /// Removes what no current pin needs: everything in `tmp/` and `work/`, and
    /// the entries that `keep` does not name. Gives the bytes freed; with
    /// `dry_run` only counts them.
    ///
    /// # Errors
    /// When another process is making an entry, whose folders these may be; when
    /// a folder cannot be read or removed.
    pub fn collect(&self, keep: impl Fn(Kind, &str) -> bool, dry_run: bool) -> Result<u64> {
        let _locks = self.lock_all()?;
        let mut freed = 0;
        let mut drop_below = |folder: &Path, keep: &dyn Fn(&str) -> bool| -> Result<()> {
            let Ok(entries) = fs::read_dir(folder) else {
                return Ok(());
            };
            for entry in entries.flatten() {
                let path = entry.path();
                if keep(&entry.file_name().to_string_lossy()) {
                    continue;
                }
                freed += walkdir::WalkDir::new(&path)
                    .into_iter()
                    .filter_map(|e| e.ok()?.metadata().ok())
                    .filter(fs::Metadata::is_file)
                    .map(|m| m.len())
                    .sum::<u64>();
                if !dry_run {
                    fs::remove_dir_all(&path).at("remove", &path)?;
                }
            }
            Ok(())
        };
        for folder in ["tmp", "work"] {
            drop_below(&self.root.join(folder), &|_| false)?;
        }
        for kind in [Kind::Source, Kind::Tools, Kind::Build] {
            drop_below(&self.root.join(kind.folder()), &|name| keep(kind, name))?;
        }
        Ok(freed)
    }

    /// Holds every lock there is, or names the one that somebody else holds.
    fn lock_all(&self) -> Result<Vec<Lock>> {
        let Ok(locks) = fs::read_dir(self.root.join("locks")) else {
            return Ok(Vec::new());
        };
        locks
            .flatten()
            .map(|entry| {
                let path = entry.path();
                let file = File::options().append(true).open(&path).at("open", &path)?;
                if FileExt::try_lock_exclusive(&file).at("lock", &path)? {
                    return Ok(Lock { _file: file });
                }
                Err(Error::Input {
                    input: self.root.display().to_string(),
                    problem: format!(
                        "another process is making {}",
                        entry.file_name().to_string_lossy()
                    ),
                    remedy: "run this again when it is done".into(),
                })
            })
            .collect()
    }
}

/// What an entry of the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A source tree, named by its git tree id.
    Source,
    /// A tool set, named by the hash of its requirements.
    Tools,
    /// A build, named by the hash of its inputs.
    Build,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Kind::Source => "sources",
            Kind::Tools => "tools",
            Kind::Build => "builds",
        }
    }
}

/// Held while an entry is made; freed on drop, also by a crash.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// A SHA-256 in hex.
pub fn sha256(content: impl AsRef<[u8]>) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
