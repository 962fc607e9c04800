//! Fetch, compile, package, doctor: from a pin to a build of MLX that can be proved to come
//! from it. What a pin is, how its patches are applied and how the store keeps what is made
//! are crates of their own: `pins`, `patch-series`, `store`.
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

pub mod add;
mod allreduce_bench;
mod archive;
pub mod build;
pub mod build_script;
mod compile;
pub mod compiler;
pub mod doctor;
pub mod driver;
pub mod dylib;
pub mod environment;
pub mod error;
pub mod fetch;
pub mod macos;
pub mod manifest;
pub mod mlx_lm;
pub mod model;
mod of_wheel;
mod official;
pub mod overlay;
mod ping;
mod pip;
pub mod platform;
mod process;
pub mod progress;
pub mod store;
pub mod tools;
pub mod venv;
pub mod wheel;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ::store::Lease;
use driver::Driver;
use environment::Environment;
pub use error::{Error, Result};
use fetch::Source;
use launch::Launcher;
use patch_series::Workshop;
use pins::{Pin, SourcePin};
use progress::{Progress, Silent};
use store::Store;

/// A checkout of mlx-rails, a store, and somebody to tell.
#[derive(Clone)]
pub struct Toolchain {
    root: PathBuf,
    lease: Lease,
    progress: Arc<dyn Progress>,
    launcher: Launcher,
    environment: Environment,
    driver: Driver,
    offline: bool,
}

impl Toolchain {
    /// The [`checkout`] and the user's store, silent.
    ///
    /// # Errors
    /// None yet: the first use of the store fails when no place for it is known.
    pub fn open() -> Result<Self> {
        Ok(Self::with_store(Store::open()))
    }

    /// As [`Toolchain::open`], with a store of the caller's.
    pub fn with_store(store: Store) -> Self {
        Self::at(checkout(), store)
    }

    /// The checkout at `root`, which holds `patches/`.
    pub fn at(root: impl Into<PathBuf>, store: Store) -> Self {
        Toolchain {
            root: root.into(),
            lease: Lease::of(store),
            progress: Arc::new(Silent),
            launcher: Launcher::default(),
            environment: Environment::of_process(),
            driver: Driver::default(),
            offline: false,
        }
    }

    /// Reports to `progress`, and starts every program by `launcher`, whose wish to stop
    /// ends whatever is going on.
    pub fn attended(self, progress: Arc<dyn Progress>, launcher: Launcher) -> Self {
        Toolchain {
            progress,
            environment: self.environment.clone().attended(launcher.clone()),
            launcher,
            ..self
        }
    }

    /// Builds with what `environment` has, in place of the process's own environment.
    pub fn with_environment(self, environment: Environment) -> Self {
        Toolchain {
            environment: environment.attended(self.launcher.clone()),
            ..self
        }
    }

    /// Lets `driver` drive CMake, in place of a program that cargo compiles for it.
    pub fn with_driver(self, driver: Driver) -> Self {
        Toolchain { driver, ..self }
    }

    /// Reaches no network from now on, when it is so: what would be fetched must be in the
    /// store, or in cargo's own.
    pub fn offline(self, offline: bool) -> Self {
        Toolchain { offline, ..self }
    }

    /// The checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store.
    pub fn store(&self) -> &Store {
        self.lease.store()
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
        Ok(Pin::load(&self.patches_folder(), version)?)
    }

    /// What is done with the patches of the checkout, with the sources that this toolchain
    /// fetches.
    pub fn series(&self) -> Workshop {
        Workshop {
            root: self.root.clone(),
            lease: self.lease.clone(),
            launcher: self.launcher.clone(),
            progress: self.progress.clone(),
            sources: Arc::new(self.clone()),
        }
    }

    /// The folder that holds `infiniband/verbs.h`.
    ///
    /// # Errors
    /// As [`Toolchain::fetch`].
    pub fn verbs(&self) -> Result<PathBuf> {
        Ok(self.fetch(&self.verbs_pin()?, &Source::Auto)?.path)
    }

    /// The pin of the tree that holds `infiniband/verbs.h`.
    ///
    /// # Errors
    /// When its file does not say what it must.
    pub fn verbs_pin(&self) -> Result<SourcePin> {
        let file = self.root.join("crates/toolchain/pins/verbs.toml");
        Ok(SourcePin::load("the verbs headers", &file)?)
    }

    /// The pin of metal-cpp, which MLX is compiled against on macOS.
    ///
    /// # Errors
    /// When its file does not say what it must.
    pub fn metal_cpp_pin(&self) -> Result<SourcePin> {
        let file = self.root.join("crates/toolchain/pins/metal-cpp.toml");
        Ok(SourcePin::load("metal-cpp", &file)?)
    }
}

/// The checkout of mlx-rails: the one that cargo runs the program in, or else the one that this
/// crate was compiled in. The latter is another when the clone was moved, or when clones share a
/// target folder.
pub fn checkout() -> PathBuf {
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let found = run.as_deref().and_then(checkout_around);
    let found = found.or_else(|| checkout_around(compiled));
    found.unwrap_or_else(|| compiled.join("../.."))
}

/// The checkout that a folder is in.
fn checkout_around(folder: &Path) -> Option<PathBuf> {
    let is_checkout = |folder: &&Path| {
        folder.join("patches").is_dir() && folder.join("xtask/Cargo.toml").is_file()
    };
    let checkout = folder.ancestors().find(is_checkout)?;
    Some(checkout.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_the_one_around_the_package_that_runs() {
        let clone = tempfile::tempdir().expect("a temporary folder");
        let root = clone.path();
        assert_eq!(checkout_around(&root.join("crates/x")), None);
        for folder in ["patches", "xtask", "crates/x"] {
            std::fs::create_dir_all(root.join(folder)).expect("made");
        }
        std::fs::write(root.join("xtask/Cargo.toml"), "").expect("written");
        for package in ["xtask", "crates/x", "bench", ""] {
            let found = checkout_around(&root.join(package));
            assert_eq!(found.as_deref(), Some(root), "{package}");
        }
    }
}
