//! What can go wrong with a patch.

use std::{
    io,
    path::{Path, PathBuf},
};

pub use pins::Kind;

use crate::fetch::FetchError;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every message names the input and the place. The system's reason is the error's
/// source, and what to do next is [`Error::help`]; neither is repeated in the message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A pin is not there or cannot be read.
    #[error(transparent)]
    Pins(#[from] pins::Error),

    /// The sources that patches apply to cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),

    /// No patch of the pin has this name.
    #[error("no such patch of MLX {pin}: {wanted:?} ({})", match .known.as_slice() { [] => "there is none".to_owned(), known => format!("available: {}", known.join(", ")) })]
    UnknownPatch {
        /// What was asked for.
        wanted: String,
        /// The pin's version.
        pin: String,
        /// What there is.
        known: Vec<String>,
    },

    /// A patch, or the folder of its pin, does not say what it must.
    #[error("{}: {problem}", .file.display())]
    Malformed {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong with it and what is expected.
        problem: String,
    },

    /// A patch of the series neither applies nor is in the tree already.
    #[error("{patch} does not apply to MLX {pin} after the patches before it:\n{}", list(.hunks))]
    Conflict {
        /// The patch file's name.
        patch: String,
        /// The pin's version.
        pin: String,
        /// File and line of each hunk git refused.
        hunks: Vec<String>,
    },

    /// A patch of mlx-c's series neither applies nor is in the tree already.
    #[error("mlx-c/{patch} does not apply to the mlx-c for MLX {pin} after the patches before it:\n{}", list(.hunks))]
    ConflictOfMlxC {
        /// The patch file's name.
        patch: String,
        /// The pin's version.
        pin: String,
        /// File and line of each hunk git refused.
        hunks: Vec<String>,
    },

    /// Edits are in lines that a patch behind the one to refresh changes.
    #[error("{patch} cannot take these edits: {other}, behind it, changes the same or neighbouring lines:\n{}", list(.hunks))]
    EditsOfAnother {
        /// The patch that was to take the edits.
        patch: String,
        /// The patch behind it.
        other: String,
        /// File and line of each hunk git refused.
        hunks: Vec<String>,
    },

    /// A patch cannot go because of one behind it.
    #[error("{patch} cannot be dropped: {other}, behind it, changes the same or neighbouring lines:\n{}", list(.hunks))]
    Needed {
        /// The patch that was to be dropped.
        patch: String,
        /// The patch behind it.
        other: String,
        /// File and line of each hunk git refused.
        hunks: Vec<String>,
    },

    /// A patch cannot be taken out of the patched tree again.
    #[error("{patch} cannot be taken out of the patched MLX {pin}, because a patch behind it changes the same or neighbouring lines:\n{}", list(.hunks))]
    Entangled {
        /// The patch's name.
        patch: String,
        /// The pin's version.
        pin: String,
        /// File and line of each hunk git refused.
        hunks: Vec<String>,
    },

    /// The patched tree is not the one the pin records.
    #[error("series {series} of MLX {pin} gives tree {got}, but {} records {recorded}", .file.display())]
    Unrecorded {
        /// The pin's version.
        pin: String,
        /// The series' name.
        series: &'static str,
        /// What the patches give now.
        got: String,
        /// What the pin says.
        recorded: String,
        /// The pin's file.
        file: PathBuf,
    },

    /// There is no git.
    #[error("git is missing, and patches are applied by git")]
    NoGit,

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

    /// git failed for a reason of its own.
    #[error("{what} failed ({status}){}", if .tail.is_empty() { String::new() } else { format!(":\n{}", .tail) })]
    Command {
        /// What it was doing, in words.
        what: String,
        /// How it ended, in words.
        status: String,
        /// What it printed to stderr.
        tail: String,
    },

    /// git cannot be started or listened to.
    #[error(transparent)]
    Launch(launch::Error),

    /// Something that we or git made contradicts itself.
    #[error("{what}: {problem}")]
    Inconsistent {
        /// What was being made or asked.
        what: String,
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

    /// The store cannot be used, or not now.
    #[error(transparent)]
    Store(store::Error),

    /// A patch that was hashed is not the one that git read.
    #[error("{} was edited while it was used", .path.display())]
    Edited {
        /// The file.
        path: PathBuf,
    },

    /// Ctrl-C or a termination signal.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Whose matter it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Pins(error) => error.kind(),
            Error::Fetch(error) => error.kind,
            Error::Conflict { .. }
            | Error::ConflictOfMlxC { .. }
            | Error::Entangled { .. }
            | Error::Unrecorded { .. } => Kind::Check,
            Error::UnknownPatch { .. }
            | Error::Malformed { .. }
            | Error::EditsOfAnother { .. }
            | Error::Needed { .. }
            | Error::Input { .. }
            | Error::Store(store::Error::NoPlace) => Kind::Input,
            Error::NoGit
            | Error::Command { .. }
            | Error::Launch(_)
            | Error::Inconsistent { .. }
            | Error::Io { .. }
            | Error::Store(_)
            | Error::Edited { .. } => Kind::Ours,
            Error::Interrupted => Kind::Interrupted,
        }
    }

    /// What to do next, where it is known; for a line of its own below the message
    /// and its causes.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Error::Pins(pins::Error::Io { source, .. }) | Error::Io { source, .. } => {
                store::hint(source)?.into()
            }
            Error::Pins(error) => error.help()?,
            Error::Fetch(error) => error.help.clone()?,
            Error::Conflict { patch, pin, .. } => format!(
                "to rebase it, run `cargo xtask patch edit --mlx {pin}`, which makes a working \
                 copy without it; make its change there, and run `cargo xtask patch refresh \
                 {patch} --mlx {pin}`"
            ),
            Error::ConflictOfMlxC { pin, .. } => format!(
                "make its change in a copy of the mlx-c that `cargo xtask fetch --mlx {pin}` \
                 prints, and write it with `git diff --full-index --unified=1`"
            ),
            Error::EditsOfAnother { other, .. } => {
                format!("take the edits into {other} instead, or split them")
            }
            Error::Needed { patch, other, .. } => {
                format!("drop {other} first, or make it independent of {patch}")
            }
            Error::Entangled { .. } => {
                "let one patch hold both changes, or move them apart, so that each can be \
                 judged by itself"
                    .into()
            }
            Error::Unrecorded { pin, .. } => format!(
                "if the change is meant, run `cargo xtask patch record --mlx {pin}` and \
                 commit the file"
            ),
            Error::NoGit => format!("to get it: {}", crate::git::REMEDY),
            Error::Input { remedy, .. } => remedy.clone(),
            Error::Launch(launch::Error::DiskFull { .. }) => store::MAKE_ROOM.into(),
            Error::Store(error) => error.help()?,
            Error::Edited { .. } => "run the command again".into(),
            Error::UnknownPatch { .. }
            | Error::Malformed { .. }
            | Error::Command { .. }
            | Error::Launch(_)
            | Error::Inconsistent { .. }
            | Error::Interrupted => return None,
        };
        Some(help)
    }

    pub(crate) fn malformed(file: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Error::Malformed {
            file: file.into(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn inconsistent(what: impl ToString, problem: impl ToString) -> Self {
        Error::Inconsistent {
            what: what.to_string(),
            problem: problem.to_string(),
        }
    }
}

impl From<launch::Error> for Error {
    fn from(error: launch::Error) -> Self {
        match error {
            launch::Error::Interrupted(_) => Error::Interrupted,
            error => Error::Launch(error),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            // Only a cancelled command stops a wait.
            store::Error::Stopped => Error::Interrupted,
            error => Error::Store(error),
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

fn list(lines: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text = lines
        .iter()
        .take(SHOWN)
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n");
    if lines.len() > SHOWN {
        text.push_str(&format!("\n  and {} more", lines.len() - SHOWN));
    }
    text
}
