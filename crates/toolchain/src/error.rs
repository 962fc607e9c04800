//! What can go wrong between a pin and a build.

use std::{
    io,
    path::{Path, PathBuf},
};

use patch_series::FetchError;
pub use pins::Kind;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every message names the input and the place. What the system said of it is the
/// error's source, and what to do next is [`Error::help`]; neither is repeated in
/// the message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A pin is not there or cannot be read.
    #[error(transparent)]
    Pins(#[from] pins::Error),

    /// A patch cannot be read or does not fit.
    #[error(transparent)]
    Patches(patch_series::Error),

    /// A file or folder of a build or of its tools is not what it must be.
    #[error("{}: {problem}", .file.display())]
    Malformed {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong with it and what is expected.
        problem: String,
    },

    /// Sources arrived that are not the pinned ones.
    #[error("{what} from {origin} is not the pinned tree {tree}; nothing was stored:\n{}", list(.differences))]
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

    /// An archive of sources cannot be decoded.
    #[error("{} is damaged; nothing was stored", .archive.display())]
    Damaged {
        /// The archive.
        archive: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },

    /// No transport delivered the sources.
    #[error("{what} could not be fetched:\n{}", list(.attempts))]
    Unreachable {
        /// Which sources.
        what: String,
        /// One line a transport: why it failed.
        attempts: Vec<String>,
    },

    /// A tool that we cannot install ourselves is not there.
    #[error("{tool} is missing, and {why}")]
    MissingTool {
        /// The tool.
        tool: &'static str,
        /// What it is for.
        why: &'static str,
        /// The exact command or place.
        remedy: String,
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

    /// A program we ran failed.
    #[error("{what} failed ({status}){}", if .tail.is_empty() { String::new() } else { format!(":\n{}", .tail) })]
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

    /// pip did not fetch a tool set or a wheel.
    #[error("pip could not fetch what is pinned")]
    Pip(#[source] launch::Error),

    /// pip did not install a wheel that the caller gave.
    #[error("pip does not install the wheel")]
    Refused(#[source] launch::Error),

    /// A program cannot be started or listened to.
    #[error(transparent)]
    Launch(launch::Error),

    /// A program we ran found no room for its files.
    #[error("{what} failed, because the disk is full")]
    DiskFull {
        /// What it was doing, in words.
        what: String,
    },

    /// Something that we or a program of ours made contradicts itself.
    #[error("{what}: {problem}")]
    Inconsistent {
        /// What was being made or asked.
        what: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A wheel cannot be read, or nothing can be put into it.
    #[error(transparent)]
    Wheel(#[from] wheel::Error),

    /// What was to go into a wheel does not fit.
    #[error("{what} does not fit into {base}; nothing was written:\n{}", list(&failed(.checks)))]
    Misfit {
        /// The library.
        what: String,
        /// The wheel or folder it was for.
        base: String,
        /// Every check, those that hold too.
        checks: Vec<wheel::Check>,
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
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// The verb, for example "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The store cannot be used, or not now.
    #[error(transparent)]
    Store(::store::Error),

    /// What was read for a build's or a tree's name is not what went into it.
    #[error("{} was edited while it was used", .path.display())]
    Edited {
        /// The file or folder.
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
            Error::Patches(error) => error.kind(),
            Error::Tampered { .. } | Error::Damaged { .. } | Error::Misfit { .. } => Kind::Check,
            Error::Wheel(error) if error.is_input() => Kind::Input,
            Error::Malformed { .. }
            | Error::Input { .. }
            | Error::Refused(_)
            | Error::Store(::store::Error::NoPlace) => Kind::Input,
            Error::Unreachable { .. }
            | Error::MissingTool { .. }
            | Error::Command { .. }
            | Error::DiskFull { .. }
            | Error::Inconsistent { .. }
            | Error::BadBuild { .. }
            | Error::Io { .. }
            | Error::Store(_)
            | Error::Pip(_)
            | Error::Launch(_)
            | Error::Wheel(_)
            | Error::Edited { .. } => Kind::Ours,
            Error::Interrupted => Kind::Interrupted,
        }
    }

    /// What to do next, where it is known; for a line of its own below the message
    /// and its causes.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Error::Pins(pins::Error::Io { source, .. }) => ::store::hint(source)?.into(),
            Error::Pins(error) => error.help()?,
            Error::Patches(error) => error.help()?,
            Error::Tampered { .. } | Error::Damaged { .. } => {
                "fetch from another source: `cargo xtask fetch --source \
                 registry|upstream|PATH`"
                    .into()
            }
            Error::Unreachable { .. } => {
                "with a local copy at hand, run `cargo xtask fetch --source PATH`".into()
            }
            Error::MissingTool { remedy, .. } => format!("to get it: {remedy}"),
            Error::Input { remedy, .. } => remedy.clone(),
            Error::Command { log, .. } => {
                format!("all of its output is in {}", log.as_ref()?.display())
            }
            Error::DiskFull { .. } => ::store::MAKE_ROOM.into(),
            Error::Refused(_) => {
                "a wheel fits one system and one processor, by its tag; MLX_RAILS_PYTHON names \
                 another Python"
                    .into()
            }
            Error::Pip(_) => {
                "pip asks the index of its configuration; PIP_INDEX_URL names another \
                 one, PIP_FIND_LINKS a folder of wheels"
                    .into()
            }
            Error::Io { source, .. } => ::store::hint(source)?.into(),
            Error::Store(error) => error.help()?,
            Error::Wheel(wheel::Error::Io { source, .. }) => ::store::hint(source)?.into(),
            Error::Wheel(error) => error.help()?,
            Error::Edited { .. } => "run the command again".into(),
            Error::Malformed { .. }
            | Error::Inconsistent { .. }
            | Error::BadBuild { .. }
            | Error::Misfit { .. }
            | Error::Launch(_)
            | Error::Interrupted => return None,
        };
        Some(help)
    }

    /// The message, its causes and the help, for where nothing else prints them:
    /// a build script, one line of a list.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        if let Some(help) = self.help() {
            text.push_str(&format!("\nhelp: {help}"));
        }
        text
    }

    /// Whether what was given makes no sense here.
    pub(crate) fn is_input(&self) -> bool {
        matches!(
            self,
            Error::Input { .. } | Error::Pins(pins::Error::Input { .. })
        )
    }

    /// This error when the caller stopped what failed, else `other`.
    pub(crate) fn unless_interrupted(self, other: impl FnOnce() -> Error) -> Error {
        match self {
            Error::Interrupted => self,
            _ => other(),
        }
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

impl From<patch_series::Error> for Error {
    fn from(error: patch_series::Error) -> Self {
        match error {
            // It was fetched by a toolchain; see `Fetch` for it.
            patch_series::Error::Fetch(failed) => match failed.error.downcast() {
                Ok(ours) => *ours,
                Err(error) => {
                    Error::Patches(patch_series::Error::Fetch(FetchError { error, ..failed }))
                }
            },
            patch_series::Error::NoGit => Error::MissingTool {
                tool: "git",
                why: "patches are applied by git",
                remedy: patch_series::git::REMEDY.into(),
            },
            patch_series::Error::Interrupted => Error::Interrupted,
            error => Error::Patches(error),
        }
    }
}

impl From<Error> for FetchError {
    fn from(error: Error) -> Self {
        FetchError {
            kind: error.kind(),
            help: error.help(),
            error: Box::new(error),
        }
    }
}

impl From<launch::Error> for Error {
    fn from(error: launch::Error) -> Self {
        match error {
            launch::Error::Failed {
                what,
                death,
                tail,
                log,
            } => Error::Command {
                what,
                status: death.to_string(),
                tail,
                log,
            },
            launch::Error::DiskFull { what } => Error::DiskFull { what },
            launch::Error::Log { log, source, .. } => Error::Io {
                action: "write",
                path: log,
                source,
            },
            launch::Error::Interrupted(_) => Error::Interrupted,
            error => Error::Launch(error),
        }
    }
}

impl From<launch::Interrupted> for Error {
    fn from(_: launch::Interrupted) -> Self {
        Error::Interrupted
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
        self.map_err(|source| Error::Io {
            action,
            path: path.as_ref().to_path_buf(),
            source,
        })
    }
}

/// The checks that do not hold, one a line.
fn failed(checks: &[wheel::Check]) -> Vec<String> {
    let failed = checks.iter().filter(|check| !check.ok);
    failed
        .map(|it| format!("{}: {}", it.name, it.detail))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_git_is_a_missing_tool_in_the_same_words() {
        let (theirs, ours) = (
            patch_series::Error::NoGit,
            patch_series::Error::NoGit.into(),
        );
        assert!(matches!(ours, Error::MissingTool { tool: "git", .. }));
        assert_eq!(theirs.to_string(), ours.to_string());
        assert_eq!(theirs.help(), ours.help());
        assert_eq!(theirs.kind(), ours.kind());
    }

    #[test]
    fn a_cause_and_a_remedy_are_each_said_once() {
        let cause = io::Error::from(io::ErrorKind::PermissionDenied);
        let said = cause.to_string();
        let error = Err::<(), _>(cause).at("create", "/store").unwrap_err();
        assert_eq!(error.to_string(), "cannot create /store");
        assert_eq!(
            std::error::Error::source(&error).map(ToString::to_string),
            Some(said.clone())
        );
        let report = error.report();
        assert_eq!(report.matches(&said).count(), 1, "{report}");
        assert_eq!(report.matches("MLX_RAILS_STORE").count(), 1, "{report}");
        assert!(!error.to_string().contains("MLX_RAILS_STORE"));
    }
}
