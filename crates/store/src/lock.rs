//! Locks: the right to use the store, and the exclusive right to make an entry.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use crate::{
    Error, Kind, Store, disk,
    error::{IoContext, Result},
    is_key,
};

/// The pause between two tries to get a lock that another process holds.
const PAUSE: Duration = Duration::from_millis(100);

/// The lock file of the store as a whole.
const USE: &str = ".lock";

/// Backup programs recognise a folder that they may skip by this line at the start of the
/// file (<https://bford.info/cachedir/>).
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
                   # This folder is a cache of mlx-rails: `cargo xtask gc` frees it.\n\
                   # For information about cache directory tags, see:\n\
                   #\thttps://bford.info/cachedir/\n";

/// How a caller handles other processes, and waits while another process holds a lock.
#[derive(Clone, Copy)]
pub struct Wait<'a> {
    /// Receives one sentence when a wait begins, and one when an entry is broken.
    pub note: &'a dyn Fn(&str),
    /// Called several times a second during a wait, which ends with [`Error::Stopped`]
    /// when it returns true.
    pub stop: &'a dyn Fn() -> bool,
}

impl Wait<'static> {
    /// Reports nothing and waits without limit.
    pub fn silently() -> Self {
        Wait {
            note: &|_| {},
            stop: &|| false,
        }
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wait")
    }
}

impl Wait<'_> {
    fn until(&self, what: &str, mut locked: impl FnMut() -> Result<bool>) -> Result<()> {
        let mut is_noted = false;
        while !locked()? {
            if !is_noted {
                (self.note)(&format!("waiting for another process that {what}"));
                is_noted = true;
            }
            if (self.stop)() {
                return Err(Error::Stopped);
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// The right to use the store: nothing is collected as long as a clone of it lives.
#[derive(Debug, Clone)]
pub struct Shared {
    store: Store,
    root: PathBuf,
    _held: Arc<Lock>,
}

/// The exclusive right of one process to a name; it ends on drop and with the process.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that another thread is starting has a
        // copy of the descriptor until it executes its own program.
        let _ = self.file.unlock();
    }
}

impl Store {
    /// Begins to use the store, which is created if it does not exist. Waits while
    /// another process collects.
    ///
    /// # Errors
    /// [`Error::NoPlace`]; [`Error::Io`] when the store cannot be made or locked;
    /// [`Error::Stopped`].
    pub fn share(&self, wait: &Wait<'_>) -> Result<Shared> {
        let root = self.root()?;
        fs::create_dir_all(root).at("create", root)?;
        refuse_other(root)?;
        let path = root.join(USE);
        let file = lock_file(&path)?;
        wait.until("frees the store", || {
            is_locked(file.try_lock_shared(), &path)
        })?;
        let held = Lock { file };
        mark(&root.join("CACHEDIR.TAG"));
        Ok(Shared {
            store: self.clone(),
            root: root.to_path_buf(),
            _held: Arc::new(held),
        })
    }

    /// Excludes every other process from the store.
    pub(crate) fn seize(&self) -> Result<Lock> {
        let root = self.root()?;
        refuse_other(root)?;
        let path = root.join(USE);
        let file = lock_file(&path)?;
        if is_locked(file.try_lock(), &path)? {
            Ok(Lock { file })
        } else {
            Err(Error::InUse {
                root: root.to_path_buf(),
            })
        }
    }
}

/// Refuses a folder that other programs use, such as a home directory: it may contain
/// folders named `work/` and `tmp/`, which are removed from a store.
fn refuse_other(root: &Path) -> Result<()> {
    let ours = [
        Kind::Source,
        Kind::Tools,
        Kind::Build,
        Kind::Wheel,
        Kind::Model,
        Kind::Series,
    ];
    // Looked at once: another process may be making the store.
    let names = disk::names(root);
    let is_ours = |name: &String| name == USE || ours.iter().any(|kind| name == kind.folder());
    match names.is_empty() || names.iter().any(is_ours) {
        true => Ok(()),
        false => Err(Error::NotAStore {
            root: root.to_path_buf(),
        }),
    }
}

impl Shared {
    /// The store in use.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Waits until no other process, and no other thread of this one, has the lock of the
    /// entry `key` of `kind`.
    ///
    /// [`Shared::make`] takes the lock of the entry that it makes. A lock taken here is
    /// for something that several entries share: a work folder, or a note with the tree
    /// that it names.
    ///
    /// # Errors
    /// [`Error::BadKey`]; [`Error::Io`] when the store cannot be written;
    /// [`Error::Stopped`].
    pub fn lock(&self, kind: Kind, key: &str, wait: &Wait<'_>) -> Result<Lock> {
        if !is_key(key) {
            return Err(Error::BadKey { key: key.into() });
        }
        let locks = self.root.join("locks");
        fs::create_dir_all(&locks).at("create", &locks)?;
        let path = locks.join(format!("{}-{key}", kind.folder()));
        let file = lock_file(&path)?;
        let what = format!("makes the {} {key}", kind.name());
        wait.until(&what, || is_locked(file.try_lock(), &path))?;
        Ok(Lock { file })
    }
}

/// Marks the store as a cache. A store that cannot be written is used without the mark.
fn mark(tag: &Path) {
    let signature = TAG.lines().next().unwrap_or_default();
    // A process that was killed may have left half of the file.
    let is_marked = fs::read_to_string(tag).is_ok_and(|text| text.starts_with(signature));
    if !is_marked {
        let _ = fs::write(tag, TAG);
    }
}

/// Opens a lock file, and creates it if it is absent. A file that this user may only read
/// can be locked as well, so a store that another user fills can be used.
fn lock_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.create(true).append(true);
    match options.open(path) {
        Err(error) if is_read_only(&error) && path.exists() => File::open(path),
        opened => opened,
    }
    .at("open", path)
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn is_locked(tried: Result<(), TryLockError>, path: &Path) -> Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).at("lock", path),
    }
}
