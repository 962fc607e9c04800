//! git is run as if the caller had no repository, no settings and no hooks, and what
//! befalls it is never taken for its word on a patch.

mod common;

use std::fs;

use common::{Checkout, workshop};
use miniature::{Caller, VERSION, change_line, root_of_child, run_again, told, write_script};
use pins::Series;

#[test]
fn a_callers_repository_settings_and_hooks_play_no_part() {
    if let Some(root) = root_of_child() {
        let workshop = workshop(&root);
        workshop.record(&workshop.pin(VERSION).unwrap()).unwrap();
        let pin = workshop.pin(VERSION).unwrap();
        let copy = root.join("copy");
        workshop.edit_patches(&pin, &copy).unwrap();
        fs::write(copy.join("CMakeLists.txt"), "project(mlx CXX)\n").unwrap();
        workshop.refresh_patch(&pin, "fix", &copy).unwrap();
        return;
    }
    let checkout = Checkout::new();
    checkout.add_patch("fix", "fix", &change_line(12, "fixed"));
    let caller = Caller::new(&checkout);
    run_again(
        "a_callers_repository_settings_and_hooks_play_no_part",
        &checkout,
        &caller.environment(),
    );
    caller.assert_untouched();
    let patch = fs::read_to_string(checkout.path("patches/1.2.3/fix.patch")).unwrap();
    assert!(
        patch.contains("--- a/CMakeLists.txt\n+++ b/CMakeLists.txt\n"),
        "{patch}"
    );
}

#[test]
fn a_git_that_dies_says_nothing_about_a_patch() {
    if let Some(root) = root_of_child() {
        let workshop = workshop(&root);
        let pin = workshop.pin(VERSION).unwrap();
        let error = workshop.patch(&pin, Series::Patched).unwrap_err();
        println!(
            "ended as {:?}: {}",
            error.kind(),
            told(&error, error.help())
        );
        return;
    }
    let checkout = Checkout::new();
    checkout.add_patch("fix", "fix", &change_line(12, "fixed"));
    let ended = |git: Option<&str>| {
        let programs = checkout.path("programs");
        fs::create_dir_all(&programs).unwrap();
        match git {
            Some(text) => write_script(&programs.join("git"), text),
            None => fs::remove_file(programs.join("git")).unwrap(),
        }
        run_again(
            "a_git_that_dies_says_nothing_about_a_patch",
            &checkout,
            &[("PATH", programs.display().to_string())],
        )
    };
    let killed = ended(Some("#!/bin/sh\nkill -KILL $$\n"));
    assert!(killed.contains("ended as Ours"), "{killed}");
    assert!(killed.contains("SIGKILL"), "{killed}");

    // It is in a process group of its own, so that the caller's Ctrl-C does not reach it.
    let stopped = ended(Some("#!/bin/sh\nkill -INT $$\n"));
    assert!(stopped.contains("ended as Ours"), "{stopped}");
    assert!(stopped.contains("SIGINT"), "{stopped}");

    let broken = ended(Some("#!/bin/sh\necho 'fatal: no memory' >&2\nexit 128\n"));
    assert!(broken.contains("ended as Ours"), "{broken}");
    assert!(broken.contains("no memory"), "{broken}");

    let none = ended(None);
    assert!(none.contains("ended as Ours"), "{none}");
    assert!(none.contains("git is missing"), "{none}");
    assert!(none.contains("apt-get install git"), "{none}");
}
