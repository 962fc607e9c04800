//! What every verb starts with: a toolchain that reports to the terminal and
//! stops on Ctrl-C.

use std::sync::Arc;

use anyhow::Context;
use toolchain::{Toolchain, driver::Driver, process::Cancel};
use xshell::Shell;

use crate::terminal::Terminal;

pub struct Session {
    pub toolchain: Toolchain,
    pub cancel: Cancel,
    /// Stands in the checkout, wherever the user stands.
    pub shell: Shell,
}

impl Session {
    pub fn begin() -> anyhow::Result<Self> {
        let cancel = Cancel::default();
        let on_signal = cancel.clone();
        ctrlc::set_handler(move || on_signal.cancel()).context("cannot listen for Ctrl-C")?;
        let terminal = Arc::new(Terminal::default());
        let driver = Driver::Hosted(std::env::current_exe().context("cannot find this program")?);
        let toolchain = Toolchain::open()?
            .attended(terminal, cancel.clone())
            .with_driver(driver);
        let shell = Shell::new()?;
        shell.change_dir(toolchain.root());
        Ok(Session {
            toolchain,
            cancel,
            shell,
        })
    }

    /// For children whose failure may only be the user's Ctrl-C reaching them
    /// first.
    pub fn unless_interrupted<T>(&self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        outcome.map_err(|error| match self.cancel.check() {
            Err(interrupted) => interrupted.into(),
            Ok(()) => error,
        })
    }
}
