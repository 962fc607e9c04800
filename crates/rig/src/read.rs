//! A rig from its file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Rig, RigError};

/// Why a rig file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadRigError {
    /// The file cannot be read.
    #[error("cannot read the rig {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file contains an error.
    #[error("invalid rig {}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The error and its line.
        #[source]
        source: RigError,
    },
}

impl Rig {
    /// Reads a `rig.toml`.
    ///
    /// # Errors
    /// Names the file, and the line of an error in it.
    pub fn read(path: &Path) -> Result<Self, ReadRigError> {
        let text = fs::read_to_string(path).map_err(|source| ReadRigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|source| ReadRigError::Invalid {
            path: path.to_owned(),
            source,
        })
    }
}
