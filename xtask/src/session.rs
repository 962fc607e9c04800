//! What every verb starts with: a toolchain that reports to the terminal and
//! stops on Ctrl-C.

use std::sync::Arc;

use anyhow::Context;
use launch::{Cancel, Launcher};
use toolchain::{Toolchain, process};
use xshell::Shell;

use crate::{exit, terminal::Terminal};

pub struct Session {
    pub toolchain: Toolchain,
    /// The toolchain's own, set together with the launcher's.
    pub cancel: process::Cancel,
    /// Starts every process of a verb.
    pub launcher: Launcher,
    /// Stands in the checkout, wherever the user stands.
    pub shell: Shell,
}

impl Session {
    pub fn begin() -> anyhow::Result<Self> {
        let launcher = Launcher::new(Cancel::default());
        let cancel = launcher.cancel().clone();
        let builds = process::Cancel::default();
        let of_builds = builds.clone();
        let on_signal = move || {
            of_builds.cancel();
            if cancel.cancel() {
                // Asked twice: the launcher's guardian ends what is left.
                std::process::exit(exit::INTERRUPTED.into());
            }
        };
        ctrlc::set_handler(on_signal).context("cannot listen for Ctrl-C")?;
        let terminal = Arc::new(Terminal::default());
        let toolchain = Toolchain::open()?.attended(terminal, builds.clone());
        let shell = Shell::new()?;
        shell.change_dir(toolchain.root());
        Ok(Session {
            toolchain,
            cancel: builds,
            launcher,
            shell,
        })
    }

    /// For children whose failure may only be the user's Ctrl-C reaching them
    /// first.
    pub fn unless_interrupted<T>(&self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        outcome.map_err(|error| match self.launcher.cancel().check() {
            Err(interrupted) => interrupted.into(),
            Ok(()) => error,
        })
    }
}
