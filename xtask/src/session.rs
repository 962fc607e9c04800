//! The common start of the verbs that use the store: a toolchain that reports to the
//! terminal and stops on Ctrl-C.

use std::sync::Arc;

use launch::Launcher;
use terminal::Terminal;
use toolchain::{Toolchain, driver::Driver};
use xshell::Shell;

use crate::exit::{Context, Failure, Result};

pub struct Session {
    pub toolchain: Toolchain,
    /// Starts every process of a verb.
    pub launcher: Launcher,
    /// Works in the checkout, whatever the user's working directory is.
    pub shell: Shell,
    /// Whether the network must not be used.
    pub offline: bool,
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
