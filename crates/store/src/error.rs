//! The errors of a store.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::place::STORE_ENV;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The remedy for a full disk.
pub const MAKE_ROOM: &str = "free about 1.5 GB there, run `cargo xtask gc`, or put the store \
                             elsewhere with MLX_RAILS_STORE=DIR (and temporary files with \
                             TMPDIR=DIR)";

/// The remedy for an error of the file system, if one is known.
pub fn hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        // A file is in the place of the store's folder.
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::NotADirectory => Some("choose a writable store with MLX_RAILS_STORE=DIR"),
        io::ErrorKind::Unsupported => {
            Some("choose a store on a local disk with MLX_RAILS_STORE=DIR")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(MAKE_ROOM),
        _ => None,
    }
}

/// An error of the store. The remedy is not part of the message: [`Error::help`] returns
/// it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment names no place for the store.
    #[error("there is no place for the store: neither HOME nor XDG_CACHE_HOME is set")]
    NoPlace,

    /// The file system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// The verb, for example "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },

    /// The folder contains files that are not the store's. A collection would remove them.
    #[error("{} is not empty, and is no store", .root.display())]
    NotAStore {
        /// The folder.
        root: PathBuf,
    },

    /// Other processes use the store, so nothing may be removed from it.
    #[error("another process uses the store {}", .root.display())]
    InUse {
        /// The store's folder.
        root: PathBuf,
    },

    /// The caller asked to stop while it waited for another process.
    #[error("stopped while waiting for another process")]
    Stopped,

    /// A name that some disk cannot keep apart from others.
    #[error("{key:?} cannot name an entry of the store: keys are a-z, 0-9 and -")]
    BadKey {
        /// The name.
        key: String,
    },
}

impl Error {
    /// The remedy for the user.
    pub fn help(&self) -> Option<String> {
        match self {
            Error::NoPlace => Some(format!("set {STORE_ENV}=DIR")),
            Error::NotAStore { .. } => Some(format!("name an empty folder with {STORE_ENV}=DIR")),
            Error::InUse { .. } => Some("run the command again when the other is done".into()),
            Error::Io { source, .. } => hint(source).map(str::to_owned),
            Error::Stopped | Error::BadKey { .. } => None,
        }
    }
}

/// Attaches the verb and the path to an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Io {
            action,
            path: path.as_ref().to_path_buf(),
            source,
        })
    }
}
