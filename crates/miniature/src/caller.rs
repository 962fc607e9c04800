//! A caller whose environment must play no part.
//!
//! The environment is a process's, so a test runs itself again as a child with another one.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Checkout, write_script};

/// Names the checkout to a child.
const CHECKOUT: &str = "TEST_CHECKOUT";

/// The root of the checkout that this process was started for, if it is a child of
/// [`run_again`].
pub fn root_of_child() -> Option<PathBuf> {
    env::var_os(CHECKOUT).map(PathBuf::from)
}

/// Runs a test of the same program in a process of its own, and gives what it printed.
pub fn run_again(test: &str, checkout: &Checkout, environment: &[(&str, String)]) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHECKOUT, checkout.root())
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    text
}

/// A hook of `git commit` in a repository of somebody else, who has settings and hooks.
#[derive(Debug)]
pub struct Caller {
    folder: PathBuf,
    /// Every file of the repository.
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Caller {
    /// Makes the repository, the settings and the hooks in the checkout's folder.
    pub fn new(checkout: &Checkout) -> Self {
        checkout.sh("mkdir theirs && cd theirs && git init --quiet && echo a >a && git add a");
        let folder = checkout.root().to_path_buf();
        let caller = Caller {
            before: files(&folder.join("theirs/.git")),
            folder,
        };
        for hook in [
            "post-checkout",
            "post-index-change",
            "reference-transaction",
        ] {
            let ran = caller.ran();
            let text = format!("#!/bin/sh\necho {hook} >>'{}'\n", ran.display());
            write_script(&checkout.path("hooks").join(hook), &text);
            write_script(&checkout.path("template/hooks").join(hook), &text);
        }
        let settings = format!(
            "[core]\nhooksPath = {}\nautocrlf = true\n[init]\ntemplateDir = {}\n",
            checkout.path("hooks").display(),
            checkout.path("template").display()
        );
        checkout.write("home/.gitconfig", &settings);
        caller
    }

    /// What such a hook hands to its children, and more.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let at = |name: &str| self.folder.join(name).display().to_string();
        vec![
            ("GIT_DIR", at("theirs/.git/")),
            ("GIT_WORK_TREE", at("theirs")),
            ("GIT_INDEX_FILE", at("theirs/.git/index")),
            ("GIT_OBJECT_DIRECTORY", at("theirs/.git/objects")),
            ("GIT_EXTERNAL_DIFF", "false".into()),
            ("GIT_CONFIG_COUNT", "1".into()),
            ("GIT_CONFIG_KEY_0", "diff.noprefix".into()),
            ("GIT_CONFIG_VALUE_0", "true".into()),
            (
                "GIT_CONFIG_PARAMETERS",
                "'apply.whitespace=error-all'".into(),
            ),
            ("HOME", at("home")),
            ("GIT_CONFIG_GLOBAL", at("home/.gitconfig")),
        ]
    }

    /// Asserts that the repository is as it was, and that no hook ran.
    pub fn assert_untouched(&self) {
        assert_eq!(
            files(&self.folder.join("theirs/.git")),
            self.before,
            "the caller's repository was written"
        );
        let ran = fs::read_to_string(self.ran()).unwrap_or_default();
        assert!(ran.is_empty(), "hooks ran: {ran}");
    }

    /// The file that a hook writes.
    fn ran(&self) -> PathBuf {
        self.folder.join("ran")
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| (entry.path().to_path_buf(), fs::read(entry.path()).unwrap()))
        .collect()
}
