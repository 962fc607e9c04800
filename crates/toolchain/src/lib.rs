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
pub mod clients;
mod compile;
pub mod doctor;
pub mod error;
pub mod fetch;
mod git;
pub mod manifest;
pub mod pin;
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
    sync::Arc,
};

pub use error::{Error, Result};
use fetch::Source;
use manifest::Manifest;
use pin::{Pin, SourcePin};
use process::Cancel;
use progress::{Progress, Silent};
use store::{Kind, Store};

/// The pin that is meant when none is named: the newest release that carries
/// the ring recv defect, which is what exo's own pin descends from.
pub const DEFAULT_PIN: &str = "0.31.2";

/// A checkout of mlx-rails, a store, and somebody to tell.
#[derive(Clone)]
pub struct Toolchain {
    root: PathBuf,
    store: Store,
    progress: Arc<dyn Progress>,
    cancel: Cancel,
}

impl Toolchain {
    /// The checkout this crate was compiled in and the user's store, silent.
    ///
    /// # Errors
    /// When no place for a store is known.
    pub fn open() -> Result<Self> {
        Ok(Self::with_store(Store::open()?))
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
            progress: Arc::new(Silent),
            cancel: Cancel::default(),
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

    /// Removes from the store what no pin of this checkout needs: other trees,
    /// other tool sets, builds of other inputs, work folders. Gives the bytes
    /// freed; with `dry_run` only counts them.
    ///
    /// # Errors
    /// When a pin cannot be read, or something cannot be removed.
    pub fn collect_garbage(&self, dry_run: bool) -> Result<u64> {
        let mut trees = vec![self.verbs_pin()?.tree];
        for version in Pin::versions(&self.patches_folder())? {
            let pin = self.pin(&version)?;
            trees.extend([
                pin.mlx.tree,
                pin.mlx_c.tree,
                pin.recorded.stock,
                pin.recorded.patched,
            ]);
        }
        let tools = self.tools_if_present().key;
        let others = [self.clients_key(), wheel::maturin_set().key];
        let keep = |kind: Kind, name: &str| match kind {
            Kind::Source => trees.iter().any(|tree| tree.to_string() == name),
            Kind::Tools => name == tools || others.iter().any(|key| key == name),
            Kind::Build => {
                let manifest = self.store.entry(Kind::Build, name).join("manifest.json");
                Manifest::load(&manifest).is_ok_and(|m| {
                    trees.contains(&m.inputs.patched_tree) && m.inputs.tools == tools
                })
            }
        };
        self.store.collect(keep, dry_run)
    }

    pub(crate) fn verbs_pin(&self) -> Result<SourcePin> {
        SourcePin::load(
            "the verbs headers",
            &self.root.join("crates/toolchain/pins/verbs.toml"),
        )
    }
}
