//! What everything that is done with patches needs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use launch::{Launcher, Progress};
use pins::Pin;
use store::{Lease, Scratch, Shared, Store, Wait};

use crate::{
    error::Result,
    fetch::{Fetch, SourceTree},
};

/// The patches of a checkout, and what applying them needs.
#[derive(Clone)]
pub struct Workshop {
    /// The checkout, which holds `patches/`.
    pub root: PathBuf,
    /// Where patched trees are kept.
    pub lease: Lease,
    /// Starts git; its wish to stop ends whatever is going on.
    pub launcher: Launcher,
    /// Gets told what is being done.
    pub progress: Arc<dyn Progress>,
    /// Gets the sources that patches apply to.
    pub sources: Arc<dyn Fetch>,
}

impl Workshop {
    /// The checkout's folder of pins.
    pub fn patches_folder(&self) -> PathBuf {
        self.root.join("patches")
    }

    /// A pin by its version.
    ///
    /// # Errors
    /// As [`Pin::load`].
    pub fn pin(&self, version: &str) -> Result<Pin> {
        Ok(Pin::load(&self.patches_folder(), version)?)
    }

    /// The pin's pristine MLX.
    pub(crate) fn pristine(&self, pin: &Pin) -> Result<SourceTree> {
        Ok(self.sources.fetch(&pin.mlx)?)
    }

    pub(crate) fn store(&self) -> &Store {
        self.lease.store()
    }

    pub(crate) fn shared(&self) -> Result<Shared> {
        Ok(self.waiting(|wait| self.lease.shared(wait))?)
    }

    /// Tells the progress of a wait, and ends it when the command is cancelled.
    pub(crate) fn waiting<T>(&self, act: impl FnOnce(&Wait<'_>) -> T) -> T {
        act(&Wait {
            note: &|text| self.progress.note(text),
            stop: &|| self.launcher.cancel().is_cancelled(),
        })
    }

    /// A folder on the store's disk that disappears on drop.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        Ok(self.shared()?.scratch()?)
    }

    /// A path from the checkout's root, where it is below it.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}
