//! What can be wrong with a wheel or a library in it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every message names the file. The system's reason is the error's source, and what to do
/// next is [`Error::help`]; neither is repeated in the message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is no wheel, or a damaged one.
    #[error("{}: {problem}", .file.display())]
    Damaged {
        /// The wheel.
        file: PathBuf,
        /// What is wrong, and where in it.
        problem: String,
    },

    /// The wheel is whole, but nothing can be put into it.
    #[error("{}: {problem}", .file.display())]
    Unfit {
        /// The wheel, or the file in a folder.
        file: PathBuf,
        /// Why not.
        problem: String,
        /// What to give instead.
        remedy: String,
    },

    /// A library is not one that this crate can read.
    #[error("{name}: {problem}")]
    Library {
        /// The library, as a path in its wheel.
        name: String,
        /// What is wrong with it.
        problem: String,
    },

    /// The file system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// The verb, for example "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// Whether the caller gave something else than what is needed, rather than that the
    /// system refused.
    pub fn is_input(&self) -> bool {
        !matches!(self, Error::Io { .. })
    }

    /// What to do next, where it is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Error::Damaged { .. } => Some("get the wheel again".into()),
            Error::Unfit { remedy, .. } => Some(remedy.clone()),
            Error::Library { .. } | Error::Io { .. } => None,
        }
    }

    pub(crate) fn damaged(file: &Path, problem: impl ToString) -> Self {
        Error::Damaged {
            file: file.to_owned(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn library(name: &str, problem: impl ToString) -> Self {
        Error::Library {
            name: name.to_owned(),
            problem: problem.to_string(),
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
