//! What can go wrong between a pin and a build.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every message names the input, the place, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No folder below `patches/` has this name.
    #[error("unknown pin {wanted:?}; pins are: {}. A pin is a folder below {}", .known.join(", "), .patches.display())]
    UnknownPin {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
        /// Where pins live.
        patches: PathBuf,
    },

    /// No patch of the pin has this name.
    #[error("{wanted:?} is none of the patches of MLX {pin} that this can be done with; there {}", match .known.as_slice() { [] => "is none".to_owned(), known => format!("are: {}", known.join(", ")) })]
    UnknownPatch {
        /// What was asked for.
        wanted: String,
        /// The pin's version.
        pin: String,
        /// What there is.
        known: Vec<String>,
    },

    /// A file of ours (pin, listing, series, patch) does not say what it must.
    #[error("{}: {problem}", .file.display())]
    Malformed {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong with it and what is expected.
        problem: String,
    },

    /// Sources arrived that are not the pinned ones.
    #[error("{what} from {origin} is not the pinned tree {tree}:\n{}\nnothing was stored; fetch from another source (--source registry|upstream|PATH)", list(.differences))]
    Tampered {
        /// Which sources, for example "MLX 0.31.2".
        what: String,
        /// Where they came from.
        origin: String,
        /// The pinned git tree id.
        tree: String,
        /// One line a file: how it differs.
        differences: Vec<String>,
    },

    /// No transport delivered the sources.
    #[error("{what} could not be fetched:\n{}\nwith a local copy at hand, pass it: --source PATH", list(.attempts))]
    Unreachable {
        /// Which sources.
        what: String,
        /// One line a transport: why it failed.
        attempts: Vec<String>,
    },

    /// A patch of the series neither applies nor is in the tree already.
    #[error("{patch} does not apply to MLX {pin} after the patches before it:\n{}\nto rebase it: `cargo xtask patch edit --mlx {pin}` makes a working copy without it; make its change there and run `cargo xtask patch refresh {patch} --mlx {pin}`", list(.hunks))]
    Conflict {
        /// The patch file's name.
        patch: String,
        /// The pin's version.
        pin: String,
        /// File and line of each hunk git refused.
        hunks: Vec<String>,
    },

    /// Edits are in lines that a patch behind the one to refresh changes.
    #[error("{patch} cannot take these edits: {other}, behind it, changes the same or neighbouring lines:\n{}\ntake the edits into {other} instead, or split them", list(.hunks))]
    EditsOfAnother {
        /// The patch that was to take the edits.
        patch: String,
        /// The patch behind it.
        other: String,
        /// File and line of each hunk git refused.
        hunks: Vec<String>,
    },

    /// A patch cannot go because of one behind it.
    #[error("{patch} cannot be dropped: {other}, behind it, changes the same or neighbouring lines:\n{}\ndrop {other} first, or make it independent of {patch}", list(.hunks))]
    Needed {
        /// The patch that was to be dropped.
        patch: String,
        /// The patch behind it.
        other: String,
        /// File and line of each hunk git refused.
        hunks: Vec<String>,
    },

    /// A patch cannot be taken out of the patched tree again.
    #[error("{patch} cannot be taken out of the patched MLX {pin}:\n{}\na patch behind it changes the same or neighbouring lines; let one patch hold both changes, or move them apart, so that each can be judged by itself", list(.hunks))]
    Entangled {
        /// The patch's name.
        patch: String,
        /// The pin's version.
        pin: String,
        /// File and line of each hunk git refused.
        hunks: Vec<String>,
    },

    /// The patched tree is not the one the pin records.
    #[error("series {series} of MLX {pin} gives tree {got}, but {} records {recorded}; if the change is meant, run `cargo xtask patch --mlx {pin} --record` and commit the file", .file.display())]
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

    /// A tool that we cannot install ourselves is not there.
    #[error("{tool} is missing, and {why}; to get it: {remedy}")]
    MissingTool {
        /// The tool.
        tool: &'static str,
        /// What it is for.
        why: &'static str,
        /// The exact command or place.
        remedy: String,
    },

    /// What was asked for makes no sense here.
    #[error("{input}: {problem}; {remedy}")]
    Input {
        /// What the user gave.
        input: String,
        /// Why it will not do.
        problem: String,
        /// What to give instead.
        remedy: String,
    },

    /// A program we ran failed.
    #[error("{what} failed ({status}){}{}", .log.as_ref().map(|l| format!("; all of its output is in {}", l.display())).unwrap_or_default(), if .tail.is_empty() { String::new() } else { format!(":\n{}", .tail) })]
    Command {
        /// What it was doing, in words.
        what: String,
        /// Its exit status, in words.
        status: String,
        /// The last lines it printed.
        tail: String,
        /// Where everything it printed is kept.
        log: Option<PathBuf>,
    },

    /// A program we ran found no room for its files.
    #[error("{what} failed, the disk is full; {MAKE_ROOM}")]
    DiskFull {
        /// What it was doing, in words.
        what: String,
    },

    /// The build went through but is not what it must be.
    #[error("the build of MLX {pin} is not usable: {problem}")]
    BadBuild {
        /// The pin's version.
        pin: String,
        /// What is missing from it.
        problem: String,
    },

    /// The file system said no.
    #[error("cannot {action} {}: {cause}{}", .path.display(), hint(.cause))]
    Io {
        /// The verb, for example "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// The store cannot be used, or not now.
    #[error(transparent)]
    Store(::store::Error),

    /// What was read for a build's or a tree's name is not what went into it.
    #[error("{} was edited while it was used; run the command again", .path.display())]
    Edited {
        /// The file or folder.
        path: PathBuf,
    },

    /// Ctrl-C or a termination signal.
    #[error("interrupted; nothing half-done was kept, the same command goes on from here")]
    Interrupted,
}

impl Error {
    /// The exit code a command ends with: 1 the user's input or a failed
    /// check, 2 our own failure, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Interrupted => 130,
            Error::Malformed { .. } | Error::BadBuild { .. } => 2,
            _ => 1,
        }
    }

    pub(crate) fn malformed(file: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Error::Malformed {
            file: file.into(),
            problem: problem.to_string(),
        }
    }
}

impl From<::store::Error> for Error {
    fn from(error: ::store::Error) -> Self {
        match error {
            // Only a cancelled command stops a wait.
            ::store::Error::Stopped => Error::Interrupted,
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
        self.map_err(|cause| Error::Io {
            action,
            path: path.as_ref().to_path_buf(),
            cause,
        })
    }
}

/// What to do about a full disk.
const MAKE_ROOM: &str = "free about 1.5 GB there, run `cargo xtask gc`, or put the store elsewhere \
                         with MLX_RAILS_STORE=DIR (and temporary files with TMPDIR=DIR)";

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

fn hint(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory => {
            "; choose a writable store with MLX_RAILS_STORE=DIR".into()
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("; {MAKE_ROOM}"),
        _ => String::new(),
    }
}
