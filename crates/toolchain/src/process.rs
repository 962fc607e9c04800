//! Questions to programs, by the one runner, [`launch`].

use std::process::Command;

use launch::Launcher;

use crate::error::Result;

/// Asks a program something that it answers at once, such as its version, and gives its
/// standard output. For places that have no launcher at hand; the program ends with this
/// process all the same.
pub(crate) fn ask(what: &str, command: Command) -> Result<String> {
    Ok(launch::capture(&Launcher::default(), what, command)?)
}

/// As [`ask`], for a program that answers on either stream and with any exit status.
pub(crate) fn ask_both(what: &str, command: Command) -> Result<String> {
    let said = launch::output(&Launcher::default(), what, command)?;
    Ok(said.stdout + &said.stderr)
}
