//! Only the pinned tree enters the store, however it arrives.

mod common;

use std::fs;

use common::{Checkout, make_executable};
use toolchain::{Error, error::Kind, fetch::Source};

fn refusal(checkout: &Checkout) -> String {
    let origin = Source::Path(checkout.path("origin"));
    let error = checkout
        .toolchain
        .fetch(&checkout.pin().mlx, &origin)
        .unwrap_err();
    assert!(matches!(error, Error::Tampered { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Check);
    assert!(
        checkout.stored_sources().is_empty(),
        "something entered the store"
    );
    error.to_string()
}

#[test]
fn the_pinned_tree_is_stored_under_its_id_and_then_current() {
    let checkout = Checkout::new();
    let pin = checkout.pin();
    let origin = Source::Path(checkout.path("origin"));
    let first = checkout.toolchain.fetch(&pin.mlx, &origin).unwrap();
    assert!(!first.current);
    assert_eq!(checkout.stored_sources(), [pin.mlx.tree.to_string()]);
    assert!(
        checkout
            .toolchain
            .fetch(&pin.mlx, &Source::Auto)
            .unwrap()
            .current
    );
}

#[test]
fn outside_of_a_checkout_the_way_in_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = toolchain::store::Store::at(folder.path().join("store"));
    let error = toolchain::Toolchain::at(folder.path(), store)
        .pin("1.2.3")
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("patches"));
    assert!(error.help().unwrap().contains("checkout"));
}

#[test]
fn one_flipped_byte_is_refused_by_name() {
    let checkout = Checkout::new();
    checkout.write(
        "origin/mlx/array.cpp",
        &common::numbered_lines().replace("line 7\n", "line 8\n"),
    );
    let message = refusal(&checkout);
    assert!(
        message.contains("mlx/array.cpp: content differs"),
        "{message}"
    );
    assert!(!message.contains("CMakeLists.txt"), "{message}");
}

#[test]
fn a_missing_an_extra_and_a_chmodded_file_are_named() {
    let checkout = Checkout::new();
    fs::remove_file(checkout.path("origin/tools/build.sh")).unwrap();
    checkout.write("origin/mlx/backdoor.cpp", "int main() {}\n");
    make_executable(&checkout.path("origin/CMakeLists.txt"));
    let message = refusal(&checkout);
    for line in [
        "tools/build.sh: missing",
        "mlx/backdoor.cpp: not in the pinned tree",
        "CMakeLists.txt: mode is 100755, pinned 100644",
    ] {
        assert!(message.contains(line), "{line:?} is not in:\n{message}");
    }
}

#[test]
fn a_path_is_checked_even_when_the_store_is_current() {
    let checkout = Checkout::new();
    checkout.fetch_origin();
    checkout.write("origin/CMakeLists.txt", "project(evil)\n");
    let origin = Source::Path(checkout.path("origin"));
    let error = checkout
        .toolchain
        .fetch(&checkout.pin().mlx, &origin)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("CMakeLists.txt: content differs"),
        "{error}"
    );
}

#[test]
fn a_stored_tree_that_was_changed_is_not_trusted() {
    let checkout = Checkout::new();
    checkout.fetch_origin();
    let pin = checkout.pin();
    let stored = checkout
        .path("store/sources")
        .join(pin.mlx.tree.to_string());
    fs::write(stored.join("CMakeLists.txt"), "project(evil)\n").unwrap();
    // The pin names no transport, so fetching it again cannot succeed here.
    let error = checkout
        .toolchain
        .fetch(&pin.mlx, &Source::Auto)
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn a_git_clone_and_an_archive_are_as_good_as_a_folder() {
    let checkout = Checkout::new();
    checkout.sh("tar czf mlx.tar.gz origin && git -C origin init --quiet");
    for source in ["origin", "mlx.tar.gz"] {
        let source = Source::Path(checkout.path(source));
        checkout
            .toolchain
            .fetch(&checkout.pin().mlx, &source)
            .unwrap();
        fs::remove_dir_all(checkout.path("store")).unwrap();
    }
}

#[test]
fn an_upstream_repository_delivers_a_commit() {
    let checkout = Checkout::new();
    let origin = checkout.path("origin");
    let revision = checkout.sh(
        "cd origin && git init --quiet && git add --all \
         && git -c user.name=t -c user.email=t@t commit --quiet --message pinned && git rev-parse HEAD",
    );
    let revision = revision.trim();
    let url = format!("file://{}", origin.display());
    let pin_file = checkout.path("patches/1.2.3/pin.toml");
    let text = fs::read_to_string(&pin_file).unwrap();
    let upstream = format!("[mlx.upstream]\ngit = \"{url}\"\nrevision = \"{revision}\"\n[mlx-c]");
    fs::write(&pin_file, text.replace("[mlx-c]", &upstream)).unwrap();

    let fetched = checkout
        .toolchain
        .fetch(&checkout.pin().mlx, &Source::Auto)
        .unwrap();
    assert_eq!(checkout.stored_sources(), [fetched.tree.to_string()]);
}

#[test]
fn a_source_that_is_no_source_says_what_one_is() {
    let checkout = Checkout::new();
    checkout.write("mlx.zip", "");
    let error = checkout
        .toolchain
        .fetch(&checkout.pin().mlx, &Source::Path(checkout.path("mlx.zip")))
        .unwrap_err();
    assert!(error.to_string().contains(".tar.gz"), "{error}");
}

#[test]
fn a_listing_of_another_tree_is_refused() {
    let checkout = Checkout::new();
    checkout.write(
        "patches/1.2.3/mlx.lst",
        "100644 blob e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\ta\n",
    );
    let error = checkout.toolchain.pin("1.2.3").unwrap_err();
    assert!(error.to_string().contains("mlx.lst"), "{error}");
}

#[test]
fn an_unknown_pin_is_answered_with_the_known_ones() {
    let error = Checkout::new().toolchain.pin("9.9.9").unwrap_err();
    assert!(error.to_string().contains("1.2.3"), "{error}");
}
