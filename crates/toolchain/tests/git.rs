//! git is run as if the caller had no repository, no settings and no hooks, and what
//! befalls it is never taken for its word on a patch.
//!
//! The environment is a process's, so each test runs itself again as a child with
//! another one.

mod common;

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use common::{Checkout, VERSION, change_line};
use pins::Series;
use toolchain::{Toolchain, fetch::Source, store::Store};

/// Names the checkout to a child.
const CHECKOUT: &str = "TEST_CHECKOUT";

/// The checkout that this process was started for, if it is a child.
fn as_child() -> Option<Toolchain> {
    let root = PathBuf::from(env::var_os(CHECKOUT)?);
    Some(Toolchain::at(&root, Store::at(root.join("store"))))
}

/// Runs a test of this file in a process of its own, and gives what it printed.
fn run_again(test: &str, checkout: &Checkout, environment: &[(&str, &str)]) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHECKOUT, checkout.path(""))
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    text
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

fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_callers_repository_settings_and_hooks_play_no_part() {
    if let Some(toolchain) = as_child() {
        let pin = toolchain.pin(VERSION).unwrap();
        toolchain.fetch(&pin.mlx, &Source::Upstream).unwrap();
        toolchain.record(&pin).unwrap();
        let pin = toolchain.pin(VERSION).unwrap();
        let copy = toolchain.root().join("copy");
        toolchain.edit_patches(&pin, &copy).unwrap();
        fs::write(copy.join("CMakeLists.txt"), "project(mlx CXX)\n").unwrap();
        toolchain.refresh_patch(&pin, "fix", &copy).unwrap();
        return;
    }
    let checkout = Checkout::new();
    checkout.add_patch("fix", "fix", &change_line(12, "fixed"));
    let revision = checkout.sh("cd origin && git init --quiet && git add --all \
         && git -c user.name=t -c user.email=t@t commit --quiet --message pinned \
         && git rev-parse HEAD");
    let pin_file = checkout.path("patches/1.2.3/pin.toml");
    let text = fs::read_to_string(&pin_file).unwrap();
    let upstream = format!(
        "[mlx.upstream]\ngit = \"file://{}\"\nrevision = \"{}\"\n[mlx-c]",
        checkout.path("origin").display(),
        revision.trim()
    );
    fs::write(&pin_file, text.replace("[mlx-c]", &upstream)).unwrap();

    // What a hook of `git commit` hands to its children, and more.
    checkout.sh("mkdir theirs && cd theirs && git init --quiet && echo a >a && git add a");
    let theirs = checkout.path("theirs/.git");
    let at = |name: &str| theirs.join(name).to_str().unwrap().to_owned();
    let ran = checkout.path("ran");
    for hook in [
        "post-checkout",
        "post-index-change",
        "reference-transaction",
    ] {
        let text = format!("#!/bin/sh\necho {hook} >>'{}'\n", ran.display());
        script(&checkout.path("hooks").join(hook), &text);
        script(&checkout.path("template/hooks").join(hook), &text);
    }
    let settings = format!(
        "[core]\nhooksPath = {}\nautocrlf = true\n[init]\ntemplateDir = {}\n",
        checkout.path("hooks").display(),
        checkout.path("template").display()
    );
    checkout.write("home/.gitconfig", &settings);
    let before = files(&theirs);
    run_again(
        "a_callers_repository_settings_and_hooks_play_no_part",
        &checkout,
        &[
            ("GIT_DIR", &at("")),
            ("GIT_WORK_TREE", checkout.path("theirs").to_str().unwrap()),
            ("GIT_INDEX_FILE", &at("index")),
            ("GIT_OBJECT_DIRECTORY", &at("objects")),
            ("GIT_EXTERNAL_DIFF", "false"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "diff.noprefix"),
            ("GIT_CONFIG_VALUE_0", "true"),
            ("GIT_CONFIG_PARAMETERS", "'apply.whitespace=error-all'"),
            ("HOME", checkout.path("home").to_str().unwrap()),
            (
                "GIT_CONFIG_GLOBAL",
                checkout.path("home/.gitconfig").to_str().unwrap(),
            ),
        ],
    );
    assert_eq!(
        files(&theirs),
        before,
        "the caller's repository was written"
    );
    assert!(
        !ran.exists(),
        "hooks ran: {}",
        fs::read_to_string(&ran).unwrap_or_default()
    );
    let patch = fs::read_to_string(checkout.path("patches/1.2.3/fix.patch")).unwrap();
    assert!(
        patch.contains("--- a/CMakeLists.txt\n+++ b/CMakeLists.txt\n"),
        "{patch}"
    );
}

#[test]
fn a_git_that_dies_says_nothing_about_a_patch() {
    if let Some(toolchain) = as_child() {
        let pin = toolchain.pin(VERSION).unwrap();
        let error = toolchain.patch(&pin, Series::Patched).unwrap_err();
        println!("ended as {:?}: {}", error.kind(), error.report());
        return;
    }
    let checkout = Checkout::new();
    checkout.fetch_origin();
    checkout.add_patch("fix", "fix", &change_line(12, "fixed"));
    let ended = |git: Option<&str>| {
        let programs = checkout.path("programs");
        fs::create_dir_all(&programs).unwrap();
        match git {
            Some(text) => script(&programs.join("git"), text),
            None => fs::remove_file(programs.join("git")).unwrap(),
        }
        run_again(
            "a_git_that_dies_says_nothing_about_a_patch",
            &checkout,
            &[("PATH", programs.to_str().unwrap())],
        )
    };
    let killed = ended(Some("#!/bin/sh\nkill -KILL $$\n"));
    assert!(killed.contains("ended as Ours"), "{killed}");
    assert!(killed.contains("signal: 9"), "{killed}");

    let stopped = ended(Some("#!/bin/sh\nkill -INT $$\n"));
    assert!(stopped.contains("ended as Interrupted"), "{stopped}");

    let broken = ended(Some("#!/bin/sh\necho 'fatal: no memory' >&2\nexit 128\n"));
    assert!(broken.contains("ended as Ours"), "{broken}");
    assert!(broken.contains("no memory"), "{broken}");

    let none = ended(None);
    assert!(none.contains("ended as Ours"), "{none}");
    assert!(none.contains("git is missing"), "{none}");
    assert!(none.contains("apt-get install git"), "{none}");
}
