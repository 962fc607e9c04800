//! Command lines, and questions to programs by the one runner, [`launch`].

use std::{env, ffi::OsString, path::Path, process::Command};

use launch::Launcher;
use xshell::Shell;

use crate::error::{Error, Result};

/// A shell that stands in `folder`, for command lines.
pub(crate) fn shell_in(folder: &Path) -> Result<Shell> {
    let shell = Shell::new().map_err(|error| Error::inconsistent("the current folder", error))?;
    shell.change_dir(folder);
    Ok(shell)
}

/// The cargo that runs this program, or the one in the path.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Asks a program something, such as its version, and gives its standard output.
pub(crate) fn ask(launcher: &Launcher, what: &str, command: Command) -> Result<String> {
    Ok(launch::capture(launcher, what, command)?)
}

/// As [`ask`], for a program that answers on either stream and with any exit status.
pub(crate) fn ask_both(launcher: &Launcher, what: &str, command: Command) -> Result<String> {
    let said = launch::output(launcher, what, command)?;
    Ok(said.stdout + &said.stderr)
}
