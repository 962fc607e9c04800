//! mlx-c has a series of its own beside that of MLX.

mod common;

use std::fs;

use common::Checkout;
use miniature::told;
use patch_series::Kind;

const DIFF: &str = "diff --git a/c/mlx.h b/c/mlx.h\n--- a/c/mlx.h\n+++ b/c/mlx.h\n\
                    @@ -1 +1,2 @@\n int mlx;\n+int rails;\n";

/// A checkout whose mlx-c has one patch, which is not recorded yet.
fn with_patch(diff: &str) -> Checkout {
    let checkout = Checkout::new();
    let fields = "Description: rails\n because\nOrigin: vendor, test\n\
                  Bug: https://example.org/1\nForwarded: no\nApplied-Upstream: no\n\
                  Last-Update: 2025-03-04\nX-Class: fix\n\
                  X-Verdicts: none; verify runs no mlx-c\n---\n";
    let folder = "patches/1.2.3/mlx-c";
    checkout.write(&format!("{folder}/rails.patch"), &format!("{fields}{diff}"));
    checkout.write(&format!("{folder}/series"), "rails.patch\n");
    checkout
}

#[test]
fn a_record_holds_the_patched_mlx_c_and_nothing_else_gives_it() {
    let checkout = with_patch(DIFF);
    let workshop = &checkout.workshop;
    let error = workshop.patch_mlx_c(&checkout.pin()).unwrap_err();
    assert_eq!(error.kind(), Kind::Check);
    let text = told(&error, error.help());
    assert!(
        text.contains("1.2.3/pin.toml") && text.contains("patch record"),
        "{text}"
    );

    workshop.record(&checkout.pin()).unwrap();
    let pin = checkout.pin();
    assert_ne!(pin.mlx_c_patched, pin.mlx_c.tree);
    let made = workshop.patch_mlx_c(&pin).unwrap();
    assert_eq!(made.tree, pin.mlx_c_patched);
    let header = fs::read_to_string(made.path.join("c/mlx.h")).unwrap();
    assert_eq!(header, "int mlx;\nint rails;\n");

    let file = fs::read_to_string(checkout.path("patches/1.2.3/pin.toml")).unwrap();
    workshop.record(&checkout.pin()).unwrap();
    let again = fs::read_to_string(checkout.path("patches/1.2.3/pin.toml")).unwrap();
    assert_eq!(file, again, "recorded twice");
}

#[test]
fn without_patches_it_is_the_pinned_one() {
    let checkout = Checkout::new();
    let pin = checkout.pin();
    let tree = checkout.workshop.patch_mlx_c(&pin).unwrap();
    assert_eq!(
        (tree.tree, pin.mlx_c_patched),
        (pin.mlx_c.tree, pin.mlx_c.tree)
    );
    checkout.workshop.record(&pin).unwrap();
    let file = fs::read_to_string(checkout.path("patches/1.2.3/pin.toml")).unwrap();
    assert!(!file.contains("mlx-c.series"), "{file}");
}

#[test]
fn a_series_that_is_gone_is_no_longer_what_is_recorded() {
    let checkout = with_patch(DIFF);
    checkout.workshop.record(&checkout.pin()).unwrap();
    fs::remove_dir_all(checkout.path("patches/1.2.3/mlx-c")).unwrap();
    let error = checkout.workshop.patch_mlx_c(&checkout.pin()).unwrap_err();
    assert_eq!(error.kind(), Kind::Check, "{error}");
    checkout.workshop.record(&checkout.pin()).unwrap();
    let pin = checkout.pin();
    assert_eq!(pin.mlx_c_patched, pin.mlx_c.tree);
}

#[test]
fn a_patch_that_does_not_apply_is_named_with_mlx_c() {
    let checkout = with_patch(&DIFF.replace("int mlx;", "int other;"));
    let error = checkout.workshop.record(&checkout.pin()).unwrap_err();
    assert_eq!(error.kind(), Kind::Check);
    let text = told(&error, error.help());
    for part in ["mlx-c/rails", "c/mlx.h:1", "cargo xtask fetch --mlx 1.2.3"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn lint_looks_at_it_too() {
    let checkout = with_patch(DIFF);
    checkout.workshop.record(&checkout.pin()).unwrap();
    let problems = || {
        let workshop = &checkout.workshop;
        let found = workshop.lint_patches(&checkout.pin(), common::CHECKS);
        let found = found.unwrap().into_iter();
        found.map(|problem| problem.to_string()).collect::<Vec<_>>()
    };
    // Written by hand: without full ids.
    let found = problems();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("patches/1.2.3/mlx-c/rails.patch:"),
        "{found:?}"
    );

    let file = checkout.path("patches/1.2.3/mlx-c/rails.patch");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("+int rails;", "+int rail;")).unwrap();
    let found = problems();
    let record = found
        .iter()
        .find(|problem| problem.contains("patch record"));
    assert!(
        record.is_some_and(|problem| problem.contains("pin.toml")),
        "{found:?}"
    );
}
