//! A checkout in miniature: one pin of a three-file "MLX", and an empty store.

// Each test file is a program of its own and uses its part of this.
#![allow(dead_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pins::{Listing, Pin};
use tempfile::TempDir;
use toolchain::{Toolchain, fetch::Source, series::Proof, store::Store};

pub const VERSION: &str = "1.2.3";

pub struct Checkout {
    root: TempDir,
    pub toolchain: Toolchain,
}

impl Checkout {
    /// With the pristine sources fetched into the store.
    pub fn new() -> Self {
        let root = TempDir::new().unwrap();
        let toolchain = Toolchain::at(root.path(), Store::at(root.path().join("store")));
        let checkout = Checkout { root, toolchain };
        checkout.write("origin/CMakeLists.txt", "project(mlx)\n");
        checkout.write("origin/mlx/array.cpp", &numbered_lines());
        checkout.write("origin/tools/build.sh", "#!/bin/sh\n");
        make_executable(&checkout.path("origin/tools/build.sh"));
        checkout.write("origin-c/c/mlx.h", "int mlx;\n");
        checkout.write_pin();
        checkout
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    pub fn write(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn pin(&self) -> Pin {
        self.toolchain.pin(VERSION).unwrap()
    }

    pub fn fetch_origin(&self) {
        let origin = Source::Path(self.path("origin"));
        self.toolchain.fetch(&self.pin().mlx, &origin).unwrap();
    }

    /// Runs a script in the checkout's folder and gives what it printed.
    pub fn sh(&self, script: &str) -> String {
        let output = Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.root.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Adds a patch to the end of the series.
    pub fn add_patch(&self, name: &str, class: &str, diff: &str) {
        self.write_patch(name, class, diff);
        let series = self.path(&format!("patches/{VERSION}/series"));
        let before = fs::read_to_string(&series).unwrap_or_default();
        fs::write(series, format!("{before}{name}.patch\n")).unwrap();
    }

    /// Writes a patch's file, and leaves the series as it is.
    pub fn write_patch(&self, name: &str, class: &str, diff: &str) {
        let header = format!(
            "Description: {name}\n because\nOrigin: vendor, test\nBug: none\nForwarded: no\n\
             Applied-Upstream: no\nLast-Update: 2025-03-04\nX-Class: {class}\n---\n"
        );
        self.write(&format!("patches/{VERSION}/{name}.patch"), &(header + diff));
    }

    /// Every file below the store that is part of an entry.
    pub fn stored_sources(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("store/sources"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn write_pin(&self) {
        let mlx = Listing::of_folder(&self.path("origin")).unwrap();
        let mlx_c = Listing::of_folder(&self.path("origin-c")).unwrap();
        self.write(&format!("patches/{VERSION}/mlx.lst"), &mlx.to_string());
        self.write(&format!("patches/{VERSION}/mlx-c.lst"), &mlx_c.to_string());
        let unknown = "0".repeat(40);
        self.write(
            &format!("patches/{VERSION}/pin.toml"),
            &format!(
                "tag = \"v1\"\n[mlx]\ntree = \"{}\"\n[mlx-c]\ntree = \"{}\"\n\
                 [series]\nstock = \"{unknown}\"\npatched = \"{unknown}\"\n",
                mlx.tree_id(),
                mlx_c.tree_id()
            ),
        );
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

/// Twenty lines, so that a patch has a neighbourhood that can change.
pub fn numbered_lines() -> String {
    (1..=20).map(|n| format!("line {n}\n")).collect()
}

/// Replaces `line <n>` by `to`, with two lines of context.
pub fn change_line(n: usize, to: &str) -> String {
    format!(
        "diff --git a/mlx/array.cpp b/mlx/array.cpp\n--- a/mlx/array.cpp\n+++ b/mlx/array.cpp\n\
         @@ -{},5 +{},5 @@\n line {}\n line {}\n-line {n}\n+{to}\n line {}\n line {}\n",
        n - 2,
        n - 2,
        n - 2,
        n - 1,
        n + 1,
        n + 2
    )
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let status = Command::new("cp")
        .arg("-r")
        .args([from, to])
        .status()
        .unwrap();
    assert!(status.success());
}

pub fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
