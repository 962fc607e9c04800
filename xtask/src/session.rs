//! What every verb starts with: a toolchain that reports to the terminal and
//! stops on Ctrl-C.

use std::sync::Arc;

use launch::{Cancel, Launcher};
use toolchain::{Toolchain, driver::Driver, process};
use xshell::Shell;

use crate::{
    exit::{Context, Failure, Kind, Result},
    terminal::Terminal,
};

pub struct Session {
    pub toolchain: Toolchain,
    /// Starts every process of a verb.
    pub launcher: Launcher,
    /// Stands in the checkout, wherever the user stands.
    pub shell: Shell,
    /// Whether the network must not be used.
    pub offline: bool,
}

/// From here on Ctrl-C and SIGTERM ask the verb to stop, and the second one ends it. Gives what
/// starts every process of the verb, and the toolchain's own wish to stop, set together with the
/// launcher's.
pub fn listen() -> Result<(Launcher, process::Cancel)> {
    let launcher = Launcher::new(Cancel::default());
    let cancel = launcher.cancel().clone();
    let builds = process::Cancel::default();
    let of_builds = builds.clone();
    let on_signal = move || {
        of_builds.cancel();
        if cancel.cancel() {
            // Asked twice: the launcher's guardian ends what is left.
            std::process::exit(Kind::Interrupted.code().into());
        }
    };
    ctrlc::set_handler(on_signal)
        .map_err(Failure::ours)
        .with_context(|| "cannot listen for Ctrl-C")?;
    Ok((launcher, builds))
}

impl Session {
    pub fn begin(launcher: Launcher, builds: process::Cancel, offline: bool) -> Result<Self> {
        let terminal = Arc::new(Terminal::default());
        let driver = std::env::current_exe()
            .map_err(Failure::ours)
            .with_context(|| "cannot find this program")?;
        let toolchain = Toolchain::open()?
            .attended(terminal, builds)
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
