//! What can be wrong with wheels that are to be used, or with the file that names them.

use std::path::{Path, PathBuf};

use super::Place;
use crate::{Error, error};

/// Result of everything in this module.
pub type Result<T, E = SnippetError> = std::result::Result<T, E>;

/// Every message names the file. The system's reason is the error's source, and what to do
/// next is [`SnippetError::help`].
#[derive(Debug, thiserror::Error)]
pub enum SnippetError {
    /// A file is no wheel, or cannot be read or written.
    #[error(transparent)]
    Wheel(#[from] Error),

    /// A wheel without our manifest.
    #[error("{}: is not one of ours: it has no {manifest}", .file.display())]
    NotOurs {
        /// The wheel.
        file: PathBuf,
        /// What it lacks.
        manifest: String,
    },

    /// A wheel for a system that no marker is known for.
    #[error("{}: runs on {platform}, which is neither macOS nor Linux", .file.display())]
    Place {
        /// The wheel.
        file: PathBuf,
        /// Its platform tags.
        platform: String,
    },

    /// There is nothing to write about.
    #[error("no wheel is named")]
    NoWheel,

    /// Two wheels for the same machines.
    #[error("both {} and {} are {distribution} for {place}", .files[0].display(), .files[1].display())]
    Twice {
        /// Their distribution.
        distribution: String,
        /// Where both run.
        place: Place,
        /// The two.
        files: [PathBuf; 2],
    },

    /// Wheels that do not belong together.
    #[error("{first} and {other} were not compiled from the same sources")]
    Mixed {
        /// One, with what it is of.
        first: String,
        /// Another.
        other: String,
    },

    /// A wheel that exo does not install.
    #[error("{}: exo installs no {distribution}, but an mlx that it compiles as a whole", .file.display())]
    NotForExo {
        /// The wheel.
        file: PathBuf,
        /// What it is.
        distribution: String,
    },

    /// The prefix of addresses is none.
    #[error("{prefix:?} {problem}")]
    Prefix {
        /// As it was given.
        prefix: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// The file is TOML, but nothing that uv reads.
    #[error("{}: has neither [project] nor [tool.uv]; nothing was written", .file.display())]
    NoProject {
        /// The file.
        file: PathBuf,
    },

    /// The file is damaged, or an entry is of another kind than uv reads.
    #[error("{}:{line}:{column}: {problem}; nothing was written", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong there.
        problem: String,
    },

    /// Only uv's snippets go into a pyproject.toml.
    #[error("{tool} reads no pyproject.toml for it")]
    NoFile {
        /// The tool.
        tool: &'static str,
    },
}

impl SnippetError {
    /// Whether the caller gave something else than what is needed, rather than that the
    /// system refused.
    pub fn is_input(&self) -> bool {
        match self {
            SnippetError::Wheel(error) => error.is_input(),
            _ => true,
        }
    }

    /// What to do next, where it is known.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            SnippetError::Wheel(error) => return error.help(),
            SnippetError::NotOurs { .. } => "make one of it: `cargo xtask wheel --base FILE`",
            SnippetError::Place { .. } | SnippetError::NoWheel => return None,
            SnippetError::Twice { .. } => "name one of them",
            SnippetError::Mixed { .. } => "make all of them from one pin and series",
            SnippetError::NotForExo { .. } => {
                "put our library into the wheel that exo compiled: `cargo xtask wheel --base \
                 FILE`; a project that takes MLX from the Python index wants `--for uv`"
            }
            SnippetError::Prefix { .. } => "for example https://example.org/wheels",
            SnippetError::NoProject { .. } => "name a pyproject.toml",
            SnippetError::Damaged { .. } => "mend the file and run the command again",
            SnippetError::NoFile { .. } => "leave out --apply, and paste what is printed",
        };
        Some(help.to_owned())
    }

    /// A problem at a byte of a text.
    pub(super) fn at(file: &Path, text: &str, offset: usize, problem: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        SnippetError::Damaged {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            problem: problem.into(),
        }
    }

    pub(super) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> SnippetError {
        let path = path.to_owned();
        move |source| {
            error::Error::Io {
                action,
                path,
                source,
            }
            .into()
        }
    }
}
