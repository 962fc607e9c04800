//! The store of sources, tools and builds: outside every clone, addressed by content.
//!
//! ```text
//! <root>/
//!   .lock            shared by every process that uses the store, exclusive for
//!                    the one that collects
//!   CACHEDIR.TAG     backup programs leave the store out
//!   sources/<tree>/  a verified or patched source tree
//!   tools/<key>/     CMake, Ninja, libclang, OpenBLAS ...
//!   builds/<key>/    prefix/, build.log, manifest.json
//!   wheels/<key>/    an official wheel, or one that was made with its report
//!   models/<key>/    a model's folder, made of a file from the package index
//!   series/<key>     a note: which tree a patch series gave
//!   work/<key>/      Ninja's folder
//!   tmp/             what is being made, and what is being deleted
//!   locks/           one file for each entry that was ever made here
//! ```
//!
//! Three rules keep an entry from being wrong:
//!
//! 1. **An entry is complete or absent.** It is made in `tmp/` and appears by rename. It
//!    disappears by rename into `tmp/` too, and is deleted there. A process that is
//!    killed at any moment leaves no incomplete entry under a name.
//! 2. **One lock for each entry**, which follows from its kind and key. Only
//!    [`Shared::make`] takes it, checks the entry, moves a broken one away, makes and
//!    publishes. What a process read before it had the lock, it reads again.
//! 3. **Readers count.** A process holds `.lock` shared as long as it uses the store
//!    ([`Shared`]), so [`Store::collect`] cannot remove what it uses. Only `collect` and
//!    `make` remove anything.
//!
//! The locks are those of [`File::lock`](std::fs::File::lock). The system frees them when
//! a process ends, however it ends. File systems that are not local may not have them;
//! the store then returns an error.
//!
//! `work/` is the exception to the first rule: Ninja changes it in place, under its lock,
//! and checks what it finds there.

#![forbid(unsafe_code)]

mod collect;
mod disk;
mod error;
mod lease;
mod lock;
mod make;
mod place;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use collect::Freed;
pub use error::{Error, MAKE_ROOM, Result, hint};
pub use lease::Lease;
pub use lock::{Lock, Shared, Wait};
pub use make::{Entry, Scratch};
pub use place::STORE_ENV;

/// A folder of entries that are named by their content or by their inputs.
///
/// The value holds only the store's location. Nothing is created, and nothing can fail,
/// before the first use.
#[derive(Debug, Clone)]
pub struct Store {
    /// `None` if the environment names no place.
    root: Option<PathBuf>,
}

impl Store {
    /// `$MLX_RAILS_STORE`, else `mlx-rails` in the user's cache folder
    /// (`$XDG_CACHE_HOME`, `~/Library/Caches` or `~/.cache`).
    pub fn open() -> Self {
        Store {
            root: place::of_user(),
        }
    }

    /// A store at the given path.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Store {
            root: Some(root.into()),
        }
    }

    /// The store's folder, which need not exist.
    ///
    /// # Errors
    /// [`Error::NoPlace`] if the environment names none.
    pub fn root(&self) -> Result<&Path> {
        self.root.as_deref().ok_or(Error::NoPlace)
    }

    /// The path of the entry `key` of `kind`, whether or not it exists.
    ///
    /// # Errors
    /// [`Error::NoPlace`].
    pub fn entry(&self, kind: Kind, key: &str) -> Result<PathBuf> {
        Ok(self.root()?.join(kind.folder()).join(key))
    }

    /// Whether the store has an entry of this name.
    pub fn holds(&self, kind: Kind, key: &str) -> bool {
        self.entry(kind, key).is_ok_and(|path| disk::exists(&path))
    }

    /// The keys of a kind's entries, sorted. Files that do not belong to the store, such
    /// as Finder's `.DS_Store`, do not count.
    pub fn keys(&self, kind: Kind) -> Vec<String> {
        let Ok(folder) = self.entry(kind, "") else {
            return Vec::new();
        };
        let mut keys: Vec<String> = disk::names(&folder)
            .into_iter()
            .filter(|name| is_key(name))
            .filter(|name| kind.holds_notes() != folder.join(name).is_dir())
            .collect();
        keys.sort();
        keys
    }

    /// The text of a note (see [`Shared::note`]), or `None` if there is none.
    pub fn noted(&self, kind: Kind, key: &str) -> Option<String> {
        std::fs::read_to_string(self.entry(kind, key).ok()?).ok()
    }
}

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A source tree, named by its git tree id.
    Source,
    /// A set of tools, named by the hash of its requirements.
    Tools,
    /// A build, named by the hash of its inputs.
    Build,
    /// A wheel: an official one, named by its content, or one that was made, named by the
    /// hash of its inputs.
    Wheel,
    /// A model's folder, named by what it is made of.
    Model,
    /// A note: the tree that a patch series produces, named by the hash of tree and
    /// patches.
    Series,
    /// A build's folder of objects, named by the inputs that builds must have in common
    /// to share it.
    Work,
    /// Something that a process was making or deleting when it was killed.
    Scratch,
}

impl Kind {
    /// All kinds, in the order in which a report lists them.
    pub const ALL: [Kind; 8] = [
        Kind::Source,
        Kind::Tools,
        Kind::Build,
        Kind::Wheel,
        Kind::Model,
        Kind::Series,
        Kind::Work,
        Kind::Scratch,
    ];

    /// The folder below the store's root.
    pub fn folder(self) -> &'static str {
        match self {
            Kind::Source => "sources",
            Kind::Tools => "tools",
            Kind::Build => "builds",
            Kind::Wheel => "wheels",
            Kind::Model => "models",
            Kind::Series => "series",
            Kind::Work => "work",
            Kind::Scratch => "tmp",
        }
    }

    /// The name of one entry of this kind, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Source => "source tree",
            Kind::Tools => "tool set",
            Kind::Build => "build",
            Kind::Wheel => "wheel",
            Kind::Model => "model",
            Kind::Series => "patched tree",
            Kind::Work => "work folder",
            Kind::Scratch => "scratch folder",
        }
    }

    /// Whether its entries are files rather than folders.
    fn holds_notes(self) -> bool {
        self == Kind::Series
    }
}

/// A SHA-256 in hex.
pub fn sha256(content: impl AsRef<[u8]>) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether `key` names one entry on every disk: a disk that ignores case could otherwise
/// hold two entries, or two locks, under one name.
fn is_key(key: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !key.is_empty() && key.chars().all(allowed)
}
