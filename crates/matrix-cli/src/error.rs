//! Why a step failed.

use std::fmt::Display;

use rail_matrix::{DialectError, PlanError, SelectError, check::CheckError, read::ReadError};
use terminal::Kind;

use crate::{CheckFlagsError, DiscoverError, InputError, SaveError};

/// Why a step failed. [`Error::help`] is the remedy, which the message does not repeat.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error, and where it is.
    #[error("{place}")]
    At {
        /// The file, or the matrix in it.
        place: String,
        /// The error.
        #[source]
        source: Box<Error>,
    },
    /// Flags of `check` that exclude each other.
    #[error(transparent)]
    CheckFlags(#[from] CheckFlagsError),
    /// A description cannot be opened.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A node cannot be asked.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// A report cannot be kept.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A document is not what it should be.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no node of this name.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// There is no such plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan cannot be written in this format.
    #[error(transparent)]
    Dialect(#[from] DialectError),
    /// Matrix and nodes do not belong together.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A process cannot be started or watched.
    #[error(transparent)]
    Process(launch::Error),
    /// There is no shell to start processes with.
    #[error(transparent)]
    Shell(#[from] xshell::Error),
    /// The caller asked to stop.
    #[error(transparent)]
    Interrupted(#[from] launch::Interrupted),
}

impl From<launch::Error> for Error {
    fn from(error: launch::Error) -> Self {
        match error {
            launch::Error::Interrupted(interrupted) => interrupted.into(),
            error => Self::Process(error),
        }
    }
}

impl Error {
    /// Whose matter it is, which decides the exit code.
    pub fn kind(&self) -> Kind {
        match self {
            Self::At { source, .. } => source.kind(),
            Self::Interrupted(_) => Kind::Interrupted,
            Self::Process(_) | Self::Shell(_) => Kind::Ours,
            Self::Discover(error) => Kind::input_if(error.is_input()),
            Self::CheckFlags(_)
            | Self::Input(_)
            | Self::Save(_)
            | Self::Read(_)
            | Self::Select(_)
            | Self::Plan(_)
            | Self::Dialect(_)
            | Self::Check(_) => Kind::Input,
        }
    }

    /// The remedy.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::At { source, .. } => source.help(),
            Self::CheckFlags(error) => error.help(),
            Self::Input(error) => error.help(),
            Self::Discover(error) => error.help(),
            Self::Save(error) => error.help(),
            _ => None,
        }
    }
}

/// Adds the place of an error.
pub(crate) trait At<T> {
    fn at<P: Display>(self, place: impl FnOnce() -> P) -> Result<T, Error>;
}

impl<T, E: Into<Error>> At<T> for Result<T, E> {
    fn at<P: Display>(self, place: impl FnOnce() -> P) -> Result<T, Error> {
        self.map_err(|error| Error::At {
            place: place().to_string(),
            source: Box::new(error.into()),
        })
    }
}
