//! Pins, fetch, git tree ids, patch series, CMake, store, manifest: from a pin
//! to a build of MLX that can be proved to come from it.
//!
//! ```text
//! pin ──fetch──▶ sources/<tree> ──patch──▶ sources/<tree> ──build──▶ builds/<key>
//!                 any transport,            git apply,                CMake + Ninja,
//!                 hashed as git does        tree id recorded          manifest.json
//! ```
//!
//! Every step is a function of its inputs and a no-op when the store has the
//! result. Nothing here links MLX.

#![forbid(unsafe_code)]

mod archive;
pub mod build;
pub mod build_script;
mod compile;
pub mod compiler;
pub mod doctor;
pub mod driver;
pub mod environment;
pub mod error;
pub mod fetch;
mod git;
mod journal;
pub mod macos;
pub mod manifest;
pub mod pin;
mod ping;
mod pip;
pub mod platform;
pub mod process;
pub mod progress;
pub mod series;
pub mod store;
pub mod tools;
pub mod tree;
pub mod wheel;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use ::store::Shared;
use driver::Driver;
use environment::Environment;
pub use error::{Error, Result};
use fetch::Source;
use pin::{Pin, SourcePin};
use process::Cancel;
use progress::{Progress, Silent};
use store::Store;

/// The pin that is meant when none is named: the newest release that carries
/// the ring recv defect, which is what exo's own pin descends from.
pub const DEFAULT_PIN: &str = "0.31.2";

/// A checkout of mlx-rails, a store, and somebody to tell.
#[derive(Clone)]
pub struct Toolchain {
    root: PathBuf,
    store: Store,
    /// Held from the first use of the store on, by all clones together.
    shared: Arc<Mutex<Option<Shared>>>,
    progress: Arc<dyn Progress>,
    cancel: Cancel,
    environment: Environment,
    driver: Driver,
}

impl Toolchain {
    /// The checkout this crate was compiled in and the user's store, silent.
    ///
    /// # Errors
    /// None yet: the first use of the store fails when no place for it is known.
    pub fn open() -> Result<Self> {
        Ok(Self::with_store(Store::open()))
    }

    /// As [`Toolchain::open`], with a store of the caller's.
    pub fn with_store(store: Store) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Self::at(root.canonicalize().unwrap_or(root), store)
    }

    /// The checkout at `root`, which holds `patches/`.
    pub fn at(root: impl Into<PathBuf>, store: Store) -> Self {
        Toolchain {
            root: root.into(),
            store,
            shared: Arc::default(),
            progress: Arc::new(Silent),
            cancel: Cancel::default(),
            environment: Environment::of_process(),
            driver: Driver::default(),
        }
    }

    /// Tells `progress` what happens, and stops when `cancel` says so.
    pub fn attended(self, progress: Arc<dyn Progress>, cancel: Cancel) -> Self {
        Toolchain {
            progress,
            cancel,
            ..self
        }
    }

    /// Builds with what `environment` has, in place of the process's own environment.
    pub fn with_environment(self, environment: Environment) -> Self {
        Toolchain {
            environment,
            ..self
        }
    }

    /// Lets `driver` drive CMake, in place of a program that cargo compiles for it.
    pub fn with_driver(self, driver: Driver) -> Self {
        Toolchain { driver, ..self }
    }

    /// The checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The checkout's folder of pins.
    pub fn patches_folder(&self) -> PathBuf {
        self.root.join("patches")
    }

    /// A pin by its version.
    ///
    /// # Errors
    /// As [`Pin::load`].
    pub fn pin(&self, version: &str) -> Result<Pin> {
        Pin::load(&self.patches_folder(), version)
    }

    /// The folder that holds `infiniband/verbs.h`.
    ///
    /// # Errors
    /// As [`Toolchain::fetch`].
    pub fn verbs(&self) -> Result<PathBuf> {
        Ok(self.fetch(&self.verbs_pin()?, &Source::Auto)?.path)
    }

    pub(crate) fn verbs_pin(&self) -> Result<SourcePin> {
        SourcePin::load(
            "the verbs headers",
            &self.root.join("crates/toolchain/pins/verbs.toml"),
        )
    }
}
