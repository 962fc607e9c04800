//! A checkout in miniature, with a workshop that finds the pristine sources in a folder.

// Each test file is a program of its own and uses its part of this.
#![allow(dead_code)]

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use launch::{Launcher, Silent};
use patch_series::{Fetch, FetchError, Kind, Proof, SourceTree, Workshop};
use pins::{SourcePin, tree::is_tree};
use store::{Lease, Store};

pub struct Checkout {
    files: miniature::Checkout,
    pub workshop: Workshop,
}

impl Deref for Checkout {
    type Target = miniature::Checkout;

    fn deref(&self) -> &Self::Target {
        &self.files
    }
}

impl Checkout {
    pub fn new() -> Self {
        let files = miniature::Checkout::new();
        miniature::copy_folder(&files.path("origin"), &files.path("pristine"));
        let workshop = workshop(files.root());
        Checkout { files, workshop }
    }
}

/// The workshop of the checkout at `root`, with a store in it.
pub fn workshop(root: &Path) -> Workshop {
    Workshop {
        root: root.to_path_buf(),
        lease: Lease::of(Store::at(root.join("store"))),
        launcher: Launcher::default(),
        progress: Arc::new(Silent),
        sources: Arc::new(Folder(root.join("pristine"))),
    }
}

/// Finds the sources of every pin in one folder.
struct Folder(PathBuf);

impl Fetch for Folder {
    fn fetch(&self, pin: &SourcePin) -> Result<SourceTree, FetchError> {
        match is_tree(&self.0, pin.tree) {
            Ok(Some(())) => Ok(SourceTree {
                path: self.0.clone(),
                tree: pin.tree,
                current: true,
            }),
            _ => Err(FetchError {
                kind: Kind::Ours,
                help: None,
                error: format!("{} is not {}", self.0.display(), pin.name).into(),
            }),
        }
    }
}

/// Stands for what `verify` understands, of which this crate knows nothing.
pub fn only_recv_hangs(proof: &Proof) -> Result<(), String> {
    if !["hang", "wrong", "crash"].contains(&proof.before.as_str()) {
        return Err(format!("{:?} is no verdict", proof.before));
    }
    let known = ["--op", "--wires", "--direction", "--ranks"];
    let mut flags = proof.flags.iter().filter(|word| word.starts_with("--"));
    match flags.find(|flag| !known.contains(&flag.as_str())) {
        Some(flag) => Err(format!("{flag:?} is no flag")),
        None => Ok(()),
    }
}
