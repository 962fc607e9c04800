//! Test-only: a checkout in miniature, with one pin of a three-file "MLX". What a test does
//! with it, it brings itself.
//!
//! Everything here panics when the machine does not do what a test needs.

mod caller;
mod wheel;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use pins::{Listing, Pin};
use tempfile::TempDir;

pub use caller::{Caller, root_of_child, run_again};
pub use wheel::write_wheel;

/// The version of the pin.
pub const VERSION: &str = "1.2.3";

/// A checkout that disappears on drop.
///
/// `origin/` holds the sources of the pin, `origin-c/` those of its mlx-c.
#[derive(Debug)]
pub struct Checkout {
    root: TempDir,
}

impl Default for Checkout {
    fn default() -> Self {
        Self::new()
    }
}

impl Checkout {
    /// With a pin that records no trees yet, and no series.
    pub fn new() -> Self {
        let checkout = Checkout {
            root: TempDir::new().unwrap(),
        };
        checkout.write("origin/CMakeLists.txt", "project(mlx)\n");
        checkout.write("origin/mlx/array.cpp", &numbered_lines());
        checkout.write("origin/tools/build.sh", "#!/bin/sh\n");
        make_executable(&checkout.path("origin/tools/build.sh"));
        checkout.write("origin-c/c/mlx.h", "int mlx;\n");
        checkout.write_pin();
        checkout
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path in it.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The pin as its files are now.
    pub fn pin(&self) -> Pin {
        Pin::load(&self.path("patches"), VERSION).unwrap()
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

/// Copies a folder with all that is in it to a place where nothing is.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let status = Command::new("cp")
        .arg("-r")
        .args([from, to])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Makes a file a program.
pub fn make_executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes a program of the shell.
pub fn write_script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    make_executable(path);
}

/// The message of an error, its causes, and its help.
pub fn told(error: &dyn std::error::Error, help: Option<String>) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text + &help.unwrap_or_default()
}
