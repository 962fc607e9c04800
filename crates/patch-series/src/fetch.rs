//! How pinned sources are had: by whoever knows the ways.

use std::{fmt, path::PathBuf};

use pins::{Kind, ObjectId, SourcePin};

/// A verified source tree in the store.
#[derive(Debug, Clone)]
pub struct SourceTree {
    /// Its folder; read only by convention, verified at every use.
    pub path: PathBuf,
    /// Its git tree id.
    pub tree: ObjectId,
    /// Whether it was there already.
    pub current: bool,
}

/// Gets pinned sources.
pub trait Fetch: Send + Sync {
    /// The tree of this pin, every byte of it.
    ///
    /// # Errors
    /// When it cannot be had, or is not the pinned one.
    fn fetch(&self, pin: &SourcePin) -> Result<SourceTree, FetchError>;
}

/// Why pinned sources cannot be had, in the words of the one who fetches.
#[derive(Debug)]
pub struct FetchError {
    /// Whose matter it is.
    pub kind: Kind,
    /// What to do next, where it is known.
    pub help: Option<String>,
    /// The error itself.
    pub error: Box<dyn std::error::Error + Send + Sync>,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
