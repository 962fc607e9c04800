//! What every verb starts with: a toolchain that reports to the terminal and
//! stops on Ctrl-C.

use std::sync::Arc;

use toolchain::{Toolchain, process::Cancel};
use xshell::Shell;

use crate::{
    exit::{Context, Failure, Result},
    terminal::Terminal,
};

pub struct Session {
    pub toolchain: Toolchain,
    pub cancel: Cancel,
    /// Stands in the checkout, wherever the user stands.
    pub shell: Shell,
    /// Whether the network must not be used.
    pub offline: bool,
}

/// From here on Ctrl-C and SIGTERM ask the verb to stop.
pub fn listen() -> Result<Cancel> {
    let cancel = Cancel::default();
    let on_signal = cancel.clone();
    ctrlc::set_handler(move || on_signal.cancel())
        .map_err(Failure::ours)
        .with_context(|| "cannot listen for Ctrl-C")?;
    Ok(cancel)
}

impl Session {
    pub fn begin(cancel: Cancel, offline: bool) -> Result<Self> {
        let terminal = Arc::new(Terminal::default());
        let toolchain = Toolchain::open()?.attended(terminal, cancel.clone());
        let shell = Shell::new()?;
        shell.change_dir(toolchain.root());
        Ok(Session {
            toolchain,
            cancel,
            shell,
            offline,
        })
    }

    /// For children whose failure may only be the user's Ctrl-C reaching them
    /// first.
    pub fn unless_interrupted<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| match self.cancel.check() {
            Err(interrupted) => interrupted.into(),
            Ok(()) => error,
        })
    }
}
