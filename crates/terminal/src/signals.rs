//! Ctrl-C and SIGTERM.

use launch::{Cancel, Launcher};

use crate::exit::Kind;

/// The process cannot handle signals.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for Ctrl-C")]
pub struct NotListening(#[from] ctrlc::Error);

/// From here on Ctrl-C and SIGTERM ask the command to stop, and a second one ends it at
/// once. Returns the launcher for every process of the command.
///
/// # Errors
/// If the system refuses, or the process listens already.
pub fn listen() -> Result<Launcher, NotListening> {
    let launcher = Launcher::new(Cancel::default());
    let cancel = launcher.cancel().clone();
    let on_signal = move || {
        if cancel.cancel() {
            // The user asked twice. The launcher's guardian ends the remaining processes.
            std::process::exit(Kind::Interrupted.code().into());
        }
    };
    ctrlc::set_handler(on_signal)?;
    Ok(launcher)
}
