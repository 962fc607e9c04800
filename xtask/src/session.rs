//! The common start of every verb: a toolchain that reports to the terminal and stops on
//! Ctrl-C.

use std::sync::Arc;

use launch::{Cancel, Launcher};
use toolchain::{Toolchain, driver::Driver};
use xshell::Shell;

use crate::{
    exit::{Context, Failure, Kind, Result},
    terminal::Terminal,
};

pub struct Session {
    pub toolchain: Toolchain,
    /// Starts every process of a verb.
    pub launcher: Launcher,
    /// Works in the checkout, whatever the user's working directory is.
    pub shell: Shell,
    /// Whether the network must not be used.
    pub offline: bool,
}

/// From here on Ctrl-C and SIGTERM ask the verb to stop, and a second one ends it at
/// once. Returns the launcher for every process of the verb.
pub fn listen() -> Result<Launcher> {
    let launcher = Launcher::new(Cancel::default());
    let cancel = launcher.cancel().clone();
    let on_signal = move || {
        if cancel.cancel() {
            // The user asked twice. The launcher's guardian ends the remaining processes.
            std::process::exit(Kind::Interrupted.code().into());
        }
    };
    ctrlc::set_handler(on_signal)
        .map_err(Failure::ours)
        .with_context(|| "cannot listen for Ctrl-C")?;
    Ok(launcher)
}

impl Session {
    pub fn begin(launcher: Launcher, offline: bool) -> Result<Self> {
        let terminal = Arc::new(Terminal::default());
        let driver = std::env::current_exe()
            .map_err(Failure::ours)
            .with_context(|| "cannot find this program")?;
        let toolchain = Toolchain::open()?
            .attended(terminal, launcher.clone())
            .with_driver(Driver::Hosted(driver))
            .offline(offline);
        let shell = Shell::new()?;
        shell.change_dir(toolchain.root());
        Ok(Session {
            toolchain,
            launcher,
            shell,
            offline,
        })
    }
}
