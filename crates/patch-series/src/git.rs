//! git, told nothing by the caller's environment: the only maker of git commands.
//!
//! A hook of `git commit` runs its children with `GIT_DIR`, `GIT_INDEX_FILE` and
//! more, which name the repository of the caller. A git of ours must never write
//! there. So no variable of git's is handed on, except for what a transport needs.

use std::{env, path::Path, process::Command};

use launch::{Captured, Death, Launcher};

use crate::error::{Error, Result};

/// Variables of git's that say how to reach a server and where git's programs are.
/// They change nothing about a repository.
const HANDED_ON: [&str; 9] = [
    "GIT_ALLOW_PROTOCOL",
    "GIT_ASKPASS",
    "GIT_EXEC_PATH",
    "GIT_HTTP_",
    "GIT_PROTOCOL",
    "GIT_PROXY_",
    "GIT_SSH",
    "GIT_SSL_",
    "GIT_CONFIG_NOSYSTEM",
];

/// Files that hold the user's settings; only a transport reads them.
const SETTINGS_FILES: [&str; 2] = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"];

/// Settings that win over every file: no hook runs, nothing is copied from a
/// template, and a file's bytes stay what they are.
const SETTINGS: [&str; 6] = [
    "core.hooksPath=/dev/null",
    "init.templateDir=",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.eol=lf",
];

/// How to get git here.
pub const REMEDY: &str = remedy(cfg!(target_os = "macos"));

const fn remedy(is_macos: bool) -> &'static str {
    match is_macos {
        false => "apt-get install git (Debian, Ubuntu), dnf install git (Fedora)",
        true => "xcode-select --install",
    }
}

/// The first line of `git --version`.
///
/// # Errors
/// [`Error::NoGit`]; [`Error::Interrupted`].
pub fn version(launcher: &Launcher) -> Result<String> {
    let mut command = Command::new("git");
    command.arg("--version");
    let said = launch::capture(launcher, "git", command);
    let said = said.map_err(|error| match error.into() {
        Error::Interrupted => Error::Interrupted,
        _ => Error::NoGit,
    })?;
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

/// A git in `folder` that gives the same for everybody: no settings but the
/// repository's own, one author, one date, English messages.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = bare(folder);
    for file in SETTINGS_FILES {
        command.env_remove(file);
    }
    command
        // git reads a file of ignored names even without any settings.
        .args(["-c", "core.excludesFile=/dev/null"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "mlx-rails")
            .env(format!("GIT_{role}_EMAIL"), "mlx-rails@localhost")
            .env(format!("GIT_{role}_DATE"), "2026-01-01T00:00:00Z");
    }
    command
}

/// A git in `folder` that fetches: the user's settings name mirrors, proxies and
/// credentials. It never asks a question.
pub fn git_that_fetches(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = bare(folder);
    command.args(arguments).env("GIT_TERMINAL_PROMPT", "0");
    command
}

fn bare(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder);
    for (variable, _) in env::vars_os() {
        let name = variable.to_string_lossy();
        let handed_on = HANDED_ON.iter().any(|start| name.starts_with(start))
            || SETTINGS_FILES.contains(&&*name);
        if name.starts_with("GIT_") && !handed_on {
            command.env_remove(&variable);
        }
    }
    command
        // A folder inside somebody's repository must not be taken for it.
        .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder))
        .env_remove("LANGUAGE")
        .env("LC_ALL", "C");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command
}

/// What git makes of a patch.
pub(crate) enum Answer {
    /// It takes it.
    Taken,
    /// It does not, and says this.
    Refused(String),
}

/// Runs a git that may refuse what it is given.
///
/// # Errors
/// When git cannot be started, is killed, or fails for a reason of its own: none of
/// these says anything about a patch.
pub(crate) fn ask(what: &str, command: Command, launcher: &Launcher) -> Result<Answer> {
    let Captured { death, stderr, .. } = output(what, command, launcher)?;
    let says = |start: &str| stderr.lines().any(|line| line.starts_with(start));
    // A patch that does not fit is status 1. One that is no patch is status 128 and
    // an error; what is wrong with the repository or the machine is fatal.
    match death {
        Death::Exited(0) => Ok(Answer::Taken),
        Death::Exited(1) if !says("fatal: ") => Ok(Answer::Refused(stderr)),
        Death::Exited(128) if says("error: ") && !says("fatal: ") => Ok(Answer::Refused(stderr)),
        _ => Err(failed(what, death, &stderr)),
    }
}

/// Runs a git that has to succeed, and gives its stdout.
pub(crate) fn capture(what: &str, command: Command, launcher: &Launcher) -> Result<String> {
    let Captured {
        death,
        stdout,
        stderr,
        ..
    } = output(what, command, launcher)?;
    match death.is_success() {
        true => Ok(stdout),
        false => Err(failed(what, death, &stderr)),
    }
}

fn output(what: &str, command: Command, launcher: &Launcher) -> Result<Captured> {
    launch::output(launcher, what, command).map_err(|error| match error {
        // Without a git, the error that says how to get one.
        launch::Error::Start { .. } => version(launcher).err().unwrap_or_else(|| error.into()),
        error => error.into(),
    })
}

fn failed(what: &str, death: Death, said: &str) -> Error {
    Error::Command {
        what: what.to_owned(),
        status: death.to_string(),
        tail: said.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_of_macos_names_no_package_manager_of_linux() {
        assert!(!remedy(true).contains("apt-get") && !remedy(true).contains("dnf"));
        assert!(remedy(false).contains("apt-get"));
    }
}
