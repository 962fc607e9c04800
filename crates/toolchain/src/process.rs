//! Questions to programs, by the one runner, [`launch`].

use std::process::Command;

use launch::Launcher;

use crate::error::Result;

/// Asks a program something, such as its version, and gives its standard output.
pub(crate) fn ask(launcher: &Launcher, what: &str, command: Command) -> Result<String> {
    Ok(launch::capture(launcher, what, command)?)
}

/// As [`ask`], for a program that answers on either stream and with any exit status.
pub(crate) fn ask_both(launcher: &Launcher, what: &str, command: Command) -> Result<String> {
    let said = launch::output(launcher, what, command)?;
    Ok(said.stdout + &said.stderr)
}
