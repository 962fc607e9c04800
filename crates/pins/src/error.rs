//! What can be wrong with a pin.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every message names the input and the place. The system's reason is the error's
/// source, and what to do next is [`Error::help`]; neither is repeated in the message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No folder below `patches/` has this name.
    #[error("unknown pin {wanted:?} (pins: {})", .known.join(", "))]
    UnknownPin {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
        /// Where pins live.
        patches: PathBuf,
    },

    /// A file of ours (pin, listing) does not say what it must.
    #[error("{}: {problem}", .file.display())]
    Malformed {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong with it and what is expected.
        problem: String,
    },

    /// What was asked for makes no sense here.
    #[error("{input}: {problem}")]
    Input {
        /// What the user gave.
        input: String,
        /// Why it will not do.
        problem: String,
        /// What to give instead.
        remedy: String,
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

/// Whose matter an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A check found something: the sources, the patches or the recorded trees are
    /// not what they should be.
    Check,
    /// The caller's flags, or a file that the caller wrote, will not do.
    Input,
    /// The machine, the network, a program we ran, or we ourselves failed.
    Ours,
    /// The caller stopped it.
    Interrupted,
}

impl Error {
    /// Whose matter it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::UnknownPin { .. } | Error::Malformed { .. } | Error::Input { .. } => Kind::Input,
            Error::Io { .. } => Kind::Ours,
        }
    }

    /// What to do next, where it is known; for a line of its own below the message
    /// and its causes. For an error of the file system it is not: this crate does not know
    /// what the folder is for.
    pub fn help(&self) -> Option<String> {
        match self {
            Error::UnknownPin { patches, .. } => Some(format!(
                "name one of them; a pin is a folder below {}",
                patches.display()
            )),
            Error::Input { remedy, .. } => Some(remedy.clone()),
            Error::Malformed { .. } | Error::Io { .. } => None,
        }
    }

    pub(crate) fn malformed(file: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Error::Malformed {
            file: file.into(),
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
