//! Only the pinned tree enters the store, however it arrives.

mod common;

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use common::Checkout;
use miniature::{
    Caller, VERSION, copy_folder, make_executable, numbered_lines, root_of_child, run_again,
};
use pins::Series;
use toolchain::{Error, Toolchain, error::Kind, fetch::Source, store::Store};
use zip::{ZipWriter, write::SimpleFileOptions};

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
    let store = Store::at(folder.path().join("store"));
    let error = Toolchain::at(folder.path(), store)
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
        &numbered_lines().replace("line 7\n", "line 8\n"),
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

/// Makes `origin` a repository, names it in the pin's file.
fn publish_origin(checkout: &Checkout) {
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
}

#[test]
fn an_upstream_repository_delivers_a_commit() {
    let checkout = Checkout::new();
    publish_origin(&checkout);
    let fetched = checkout
        .toolchain
        .fetch(&checkout.pin().mlx, &Source::Auto)
        .unwrap();
    assert_eq!(checkout.stored_sources(), [fetched.tree.to_string()]);
}

#[test]
fn a_callers_repository_settings_and_hooks_play_no_part() {
    if let Some(root) = root_of_child() {
        let toolchain = Toolchain::at(&root, Store::at(root.join("store")));
        let pin = toolchain.pin(VERSION).unwrap();
        toolchain.fetch(&pin.mlx, &Source::Upstream).unwrap();
        return;
    }
    let checkout = Checkout::new();
    publish_origin(&checkout);
    let caller = Caller::new(&checkout);
    run_again(
        "a_callers_repository_settings_and_hooks_play_no_part",
        &checkout,
        &caller.environment(),
    );
    caller.assert_untouched();
    let tree = checkout.pin().mlx.tree.to_string();
    assert_eq!(checkout.stored_sources(), [tree]);
}

#[test]
fn a_source_that_is_no_source_says_what_one_is() {
    let checkout = Checkout::new();
    checkout.write("mlx.7z", "");
    let error = checkout
        .toolchain
        .fetch(&checkout.pin().mlx, &Source::Path(checkout.path("mlx.7z")))
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

/// A tar by hand, because a decent packer refuses to make these.
fn archive(checkout: &Checkout, members: &[(&str, tar::EntryType, &str)]) -> PathBuf {
    let mut bytes = Vec::new();
    for (name, kind, content) in members {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let is_file = *kind == tar::EntryType::Regular;
        if !is_file {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let content = if is_file { content.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    let path = checkout.path("hostile.tar");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_member_that_would_leave_the_folder_is_refused_by_name() {
    use tar::EntryType::{Block, Char, Fifo, Link, Regular, Symlink};
    let checkout = Checkout::new();
    let outside = checkout.path("outside");
    fs::create_dir(&outside).unwrap();
    let victim = outside.join("victim");
    let (outside, absolute) = (outside.to_str().unwrap(), victim.to_str().unwrap());
    let up = "../../../outside/victim";
    for (members, named) in [
        (vec![(up, Regular, "x")], up),
        (vec![("a/../../../../outside/victim", Regular, "x")], "a/.."),
        (vec![(absolute, Regular, "x")], absolute),
        (
            vec![("lib", Symlink, outside), ("lib/victim", Regular, "x")],
            "lib/victim",
        ),
        (
            vec![("Lib", Symlink, outside), ("lib/victim", Regular, "x")],
            "lib/victim",
        ),
        (vec![("hard", Link, "/etc/passwd")], "hard"),
        (vec![("hard", Link, "../../pin")], "hard"),
        (vec![("null", Char, "")], "null is a device"),
        (vec![("disk", Block, "")], "disk is a device"),
        (vec![("pipe", Fifo, "")], "pipe is a named pipe"),
    ] {
        let source = Source::Path(archive(&checkout, &members));
        let error = checkout
            .toolchain
            .fetch(&checkout.pin().mlx, &source)
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Input, "{error}");
        let message = error.to_string();
        assert!(
            message.contains("hostile.tar") && message.contains(named),
            "{named:?} is not in:\n{message}"
        );
        assert!(!victim.exists(), "{named} was written outside");
        assert!(checkout.stored_sources().is_empty());
    }
}

/// A zip of these members: a mode, and what a file or a link holds.
fn zip_of(path: &Path, members: &[(&str, u32, &[u8])]) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    for (name, mode, content) in members {
        let options = SimpleFileOptions::default().unix_permissions(mode & 0o777);
        if mode & 0o170_000 == 0o120_000 {
            let target = String::from_utf8(content.to_vec()).unwrap();
            zip.add_symlink(*name, target, options).unwrap();
        } else {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content).unwrap();
        }
    }
    zip.finish().unwrap();
}

#[test]
fn a_zip_is_as_good_as_a_folder() {
    for top in ["", "mlx-1.2.3/"] {
        let checkout = Checkout::new();
        let origin = checkout.path("origin");
        let files = walkdir::WalkDir::new(&origin).into_iter().flatten();
        let members: Vec<(String, u32, Vec<u8>)> = files
            .filter(|it| it.file_type().is_file())
            .map(|it| {
                let name = it.path().strip_prefix(&origin).unwrap().display();
                let mode = fs::metadata(it.path()).unwrap().permissions().mode();
                let content = fs::read(it.path()).unwrap();
                (format!("{top}{name}"), mode, content)
            })
            .collect();
        let members: Vec<_> = members
            .iter()
            .map(|(name, mode, content)| (name.as_str(), *mode, content.as_slice()))
            .collect();
        let path = checkout.path("origin.zip");
        zip_of(&path, &members);
        let fetched = (checkout.toolchain).fetch(&checkout.pin().mlx, &Source::Path(path));
        assert_eq!(fetched.unwrap().tree, checkout.pin().mlx.tree, "{top}");
    }
}

#[test]
fn a_zip_that_will_not_do_is_refused_by_name() {
    let checkout = Checkout::new();
    let path = checkout.path("hostile.zip");
    let refusal = || {
        let source = Source::Path(path.clone());
        let fetched = (checkout.toolchain).fetch(&checkout.pin().mlx, &source);
        assert!(checkout.stored_sources().is_empty());
        fetched.unwrap_err()
    };
    let (file, link) = (0o100_644, 0o120_777);
    for (member, named) in [
        (
            ("../../outside", file, "x"),
            "../../outside would be outside",
        ),
        (("/outside", file, "x"), "/outside would be outside"),
        (("lib", link, "/etc"), "lib is neither a file nor a folder"),
    ] {
        let (name, mode, content) = member;
        zip_of(&path, &[(name, mode, content.as_bytes())]);
        let error = refusal();
        assert_eq!(error.kind(), Kind::Input, "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    fs::write(&path, "no archive").unwrap();
    let error = refusal();
    assert_eq!(error.kind(), Kind::Check, "{error}");
    assert!(
        error.to_string().contains("hostile.zip is damaged"),
        "{error}"
    );
}

#[test]
fn metal_cpp_is_pinned_by_the_tree_of_its_list() {
    let pin = toolchain::Toolchain::open()
        .unwrap()
        .metal_cpp_pin()
        .unwrap();
    assert_eq!(pin.listing.tree_id(), pin.tree);
    let vendor = pin.registry.expect("a crate has it");
    assert_eq!(vendor.archive.as_deref(), Some("vendor/metal-cpp-26.zip"));
}

#[test]
fn what_finder_leaves_in_a_folder_is_neither_a_difference_nor_taken() {
    let checkout = Checkout::new();
    checkout.write("origin/.DS_Store", "1");
    checkout.write("origin/mlx/.DS_Store", "2");
    checkout.fetch_origin();
    let stored = checkout
        .path("store/sources")
        .join(checkout.pin().mlx.tree.to_string());
    assert!(stored.join("mlx/array.cpp").is_file());
    assert!(!stored.join(".DS_Store").exists());
    assert!(!stored.join("mlx/.DS_Store").exists());
}

#[test]
fn a_source_that_is_not_there_is_the_callers_mistake() {
    let checkout = Checkout::new();
    let fetch = |source| {
        let fetched = checkout.toolchain.fetch(&checkout.pin().mlx, &source);
        fetched.unwrap_err()
    };
    let nowhere = fetch(Source::Path(checkout.path("nowhere")));
    assert_eq!(nowhere.kind(), Kind::Input);
    assert!(nowhere.to_string().contains("nowhere"), "{nowhere}");
    // The pin names no crate.
    let registry = fetch(Source::Registry);
    assert_eq!(registry.kind(), Kind::Input);
    assert!(registry.help().unwrap().contains("--source PATH"));
}

/// Makes `crate/` a crate of the registry that the checkout's cargo sees, and names it in the
/// pin's file with these lines.
fn publish_crate(checkout: &Checkout, place: &str) {
    let package = "[package]\nname = \"vendors-mlx\"\nversion = \"0.2.0\"\nedition = \"2024\"\n";
    checkout.write("crate/Cargo.toml", package);
    checkout.write("crate/src/lib.rs", "");
    // A mirror of the registry, as a user's configuration names one.
    checkout.write("crate/.cargo-checksum.json", "{\"files\":{}}");
    copy_folder(&checkout.path("crate"), &checkout.path("mirror/crate"));
    checkout.write(
        ".cargo/config.toml",
        "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\ndirectory = \"mirror\"\n",
    );
    let pin_file = checkout.path("patches/1.2.3/pin.toml");
    let text = fs::read_to_string(&pin_file).unwrap();
    let registry =
        format!("[mlx.registry]\ncrate = \"vendors-mlx\"\nversion = \"=0.2.0\"\n{place}\n[mlx-c]");
    fs::write(&pin_file, text.replace("[mlx-c]", &registry)).unwrap();
}

#[test]
fn a_crate_of_the_registry_is_found_where_cargo_says() {
    let checkout = Checkout::new();
    copy_folder(&checkout.path("origin"), &checkout.path("crate/vendor"));
    publish_crate(&checkout, "path = \"vendor\"");
    let fetched = checkout
        .toolchain
        .fetch(&checkout.pin().mlx, &Source::Registry)
        .unwrap();
    assert_eq!(checkout.stored_sources(), [fetched.tree.to_string()]);
}

#[test]
fn an_archive_in_a_crate_is_as_good_as_a_folder() {
    for (pack, place) in [
        ("tar czf crate/vendor/mlx.tar.gz -C origin .", ""),
        ("tar czf crate/vendor/mlx.tar.gz origin", ""),
        (
            "mkdir -p up/deep && cp -r origin up/deep/mlx && tar czf crate/vendor/mlx.tar.gz up",
            "path = \"deep/mlx\"",
        ),
    ] {
        let checkout = Checkout::new();
        checkout.sh(&format!("mkdir -p crate/vendor && {pack}"));
        publish_crate(
            &checkout,
            &format!("archive = \"vendor/mlx.tar.gz\"\n{place}"),
        );
        let fetched = checkout
            .toolchain
            .fetch(&checkout.pin().mlx, &Source::Registry)
            .unwrap_or_else(|error| panic!("{pack}: {error}"));
        assert_eq!(checkout.stored_sources(), [fetched.tree.to_string()]);
    }
}

#[test]
fn an_archive_in_a_crate_that_will_not_do_is_refused_by_name() {
    for (pack, kind, named) in [
        ("true", Kind::Input, "has no archive vendor/mlx.tar.gz"),
        (
            "echo 'no archive' >crate/vendor/mlx.tar.gz",
            Kind::Check,
            "vendor/mlx.tar.gz is damaged",
        ),
        (
            "tar czf whole.tar.gz origin && head -c 90 whole.tar.gz >crate/vendor/mlx.tar.gz",
            Kind::Check,
            "vendor/mlx.tar.gz is damaged",
        ),
        (
            "echo 'int evil;' >origin/mlx/array.cpp && tar czf crate/vendor/mlx.tar.gz origin",
            Kind::Check,
            "mlx/array.cpp: content differs",
        ),
    ] {
        let checkout = Checkout::new();
        checkout.sh(&format!("mkdir -p crate/vendor && {pack}"));
        publish_crate(&checkout, "archive = \"vendor/mlx.tar.gz\"");
        let fetched = (checkout.toolchain).fetch(&checkout.pin().mlx, &Source::Registry);
        let error = fetched.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(named), "{error}");
        assert!(error.help().unwrap().contains("--source"), "{error}");
        assert!(checkout.stored_sources().is_empty());
    }
}

#[test]
fn sources_that_a_series_lacks_are_told_as_fetch_tells_it() {
    let checkout = Checkout::new();
    let pin = checkout.pin();
    let fetch = checkout.toolchain.fetch(&pin.mlx, &Source::Auto);
    let fetch = fetch.unwrap_err();
    assert!(matches!(fetch, Error::Unreachable { .. }), "{fetch}");
    let series = checkout.toolchain.series();
    let patch = series.patch(&pin, Series::Patched).unwrap_err();
    assert_eq!(patch.to_string(), fetch.to_string());
    assert_eq!(patch.kind(), fetch.kind());
    assert_eq!(patch.help(), fetch.help());
    let ours = Error::from(patch);
    assert!(matches!(ours, Error::Unreachable { .. }), "{ours}");
}
