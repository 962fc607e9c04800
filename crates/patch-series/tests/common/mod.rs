//! A checkout in miniature, with a workshop that finds the pristine sources in a folder.

// Each test file is a program of its own and uses its part of this.
#![allow(dead_code)]

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use launch::{Launcher, Silent};
use patch_series::{Checks, Fetch, FetchError, Gain, Kind, Proof, SourceTree, Workshop};
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
        miniature::copy_folder(&files.path("origin-c"), &files.path("pristine-c"));
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
        sources: Arc::new(Folders(vec![
            root.join("pristine"),
            root.join("pristine-c"),
        ])),
    }
}

/// Finds the sources of every pin in one of these folders.
struct Folders(Vec<PathBuf>);

impl Fetch for Folders {
    fn fetch(&self, pin: &SourcePin) -> Result<SourceTree, FetchError> {
        let is_it = |folder: &&PathBuf| matches!(is_tree(folder, pin.tree), Ok(Some(())));
        match self.0.iter().find(is_it) {
            Some(folder) => Ok(SourceTree {
                path: folder.clone(),
                tree: pin.tree,
                current: true,
            }),
            None => Err(FetchError {
                kind: Kind::Ours,
                help: None,
                error: format!("{} is in no folder", pin.name).into(),
            }),
        }
    }
}

/// Stand for what `verify` and `collectives` understand, of which this crate knows nothing.
pub const CHECKS: Checks<'static> = Checks {
    proof: &only_recv_hangs,
    gain: &of_an_op,
};

fn of_an_op(gain: &Gain) -> Result<(), String> {
    match gain.flags[0].as_str() {
        "--op" => Ok(()),
        other => Err(format!("{other:?} is no flag")),
    }
}

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
