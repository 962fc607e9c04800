//! One way to make an entry.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    Kind, Lock, Shared, Wait, disk,
    error::{Error, IoContext, Result},
};

/// A folder on the store's disk that is removed on drop. An entry is made here before it
/// is published. Nothing is collected while it lives.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _shared: Shared,
}

impl Scratch {
    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A complete entry.
#[derive(Debug)]
pub struct Entry<T> {
    /// Its path.
    pub path: PathBuf,
    /// What the check or the maker returned for it.
    pub value: T,
    /// Whether it existed already.
    pub current: bool,
}

impl Shared {
    /// A folder to work in.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn scratch(&self) -> Result<Scratch> {
        self.scratch_named("making-")
    }

    fn scratch_named(&self, prefix: &str) -> Result<Scratch> {
        let tmp = self.root().join(Kind::Scratch.folder());
        fs::create_dir_all(&tmp).at("create", &tmp)?;
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(&tmp)
            .at("create a folder in", &tmp)?;
        Ok(Scratch {
            folder,
            _shared: self.clone(),
        })
    }

    /// The entry `key` of `kind`, made if it is absent or broken. If several processes
    /// need it, one makes it and the others wait.
    ///
    /// * `check` looks at an entry and returns `Some` if it is complete, `None` if it is
    ///   absent or broken. It is called before the lock is taken, so that a complete
    ///   entry needs no lock, and again under the lock. Only the result under the lock
    ///   can declare an entry broken.
    /// * `make` gets an empty folder and returns the path in it that is to become the
    ///   entry. It runs under the lock. It must not make the same entry.
    ///
    /// A broken entry is moved away before `make` runs.
    ///
    /// # Errors
    /// Those of `check` and `make`; those of [`Shared::lock`]; [`Error::Io`].
    pub fn make<T, E: From<Error>>(
        &self,
        kind: Kind,
        key: &str,
        wait: &Wait<'_>,
        check: impl Fn(&Path) -> Result<Option<T>, E>,
        make: impl FnOnce(&Path) -> Result<(PathBuf, T), E>,
    ) -> Result<Entry<T>, E> {
        let path = self.store().entry(kind, key)?;
        let current = |value| Entry {
            path: path.clone(),
            value,
            current: true,
        };
        // Another process may be replacing the entry, so an error is not yet conclusive.
        if let Ok(Some(value)) = check(&path) {
            return Ok(current(value));
        }
        let _lock = self.lock(kind, key, wait)?;
        if let Some(value) = check(&path)? {
            return Ok(current(value));
        }
        if self.discard(&path)? {
            let name = kind.name();
            (wait.note)(&format!(
                "the stored {name} {key} is broken; making it anew"
            ));
        }
        let scratch = self.scratch()?;
        let (made, value) = make(scratch.path())?;
        let folder = self.root().join(kind.folder());
        fs::create_dir_all(&folder).at("create", &folder)?;
        fs::rename(&made, &path).at("create", &path)?;
        Ok(Entry {
            path,
            value,
            current: false,
        })
    }

    /// The work folder `key`, which several builds use in turn, and the result of
    /// `inputs` for it.
    ///
    /// `inputs` returns the folder's key and a value. It reads files that a user may edit
    /// while this process waits for the folder, so it is called under the lock. If the
    /// key has changed by then, the other folder is taken.
    ///
    /// # Errors
    /// Those of `inputs`; those of [`Shared::lock`]; [`Error::Io`].
    pub fn work<T, E: From<Error>>(
        &self,
        mut key: String,
        wait: &Wait<'_>,
        inputs: impl Fn() -> Result<(String, T), E>,
    ) -> Result<Work<T>, E> {
        loop {
            let lock = self.lock(Kind::Work, &key, wait)?;
            let (now, value) = inputs()?;
            if now == key {
                let path = self.store().entry(Kind::Work, &key)?;
                fs::create_dir_all(&path).at("create", &path)?;
                return Ok(Work {
                    path,
                    value,
                    _lock: lock,
                });
            }
            key = now;
        }
    }

    /// Writes a note. It replaces one of the same key in one step.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn note(&self, kind: Kind, key: &str, text: &str) -> Result<()> {
        let path = self.store().entry(kind, key)?;
        let folder = self.root().join(kind.folder());
        fs::create_dir_all(&folder).at("create", &folder)?;
        let scratch = self.scratch()?;
        let made = scratch.path().join("note");
        fs::write(&made, text).at("write", &made)?;
        fs::rename(&made, &path).at("create", &path)
    }

    /// Frees the name in one step, and deletes its content afterwards. Returns whether
    /// there was any.
    fn discard(&self, path: &Path) -> Result<bool> {
        if !disk::exists(path) {
            return Ok(false);
        }
        let scratch = self.scratch_named("gone-")?;
        let gone = scratch.path().join("entry");
        fs::rename(path, &gone).at("move away", path)?;
        // Content that cannot be deleted has lost its name; `collect` tries again.
        let _ = disk::remove(&gone);
        Ok(true)
    }
}

/// A work folder, locked.
#[derive(Debug)]
pub struct Work<T> {
    /// Its path.
    pub path: PathBuf,
    /// The result of `inputs`, read under the lock.
    pub value: T,
    _lock: Lock,
}
