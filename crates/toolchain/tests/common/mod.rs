//! A checkout in miniature, with a toolchain and an empty store.

// Each test file is a program of its own and uses its part of this.
#![allow(dead_code)]

use std::{fs, ops::Deref};

use toolchain::{Toolchain, fetch::Source, store::Store};

pub struct Checkout {
    files: miniature::Checkout,
    pub toolchain: Toolchain,
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
        let toolchain = Toolchain::at(files.root(), Store::at(files.path("store")));
        Checkout { files, toolchain }
    }

    /// Takes the pristine sources into the store.
    pub fn fetch_origin(&self) {
        let origin = Source::Path(self.path("origin"));
        self.toolchain.fetch(&self.pin().mlx, &origin).unwrap();
    }

    /// The names of the source trees in the store.
    pub fn stored_sources(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("store/sources"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}
