//! Tree ids are git's.

use std::{collections::BTreeMap, fs, path::Path, process::Command, sync::mpsc, time::Duration};

use pins::{Listing, ObjectId, Pin};
use proptest::prelude::*;

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn path() -> impl Strategy<Value = String> {
    // '-', '.' and '0' sort around '/', which is where a naive order goes wrong.
    proptest::collection::vec("[a-b][-.0a-b]{0,2}", 1..4).prop_map(|parts| parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_folder_hashes_as_git_hashes_it(
        files in proptest::collection::btree_map(path(), proptest::collection::vec(any::<u8>(), 0..40), 1..12)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut written = BTreeMap::new();
        for (path, content) in files {
            let file = folder.path().join(&path);
            // A path may be a folder of another; then there is no such tree.
            if fs::create_dir_all(file.parent().unwrap()).is_ok() && fs::write(&file, &content).is_ok() {
                written.insert(path, content);
            }
        }
        git(folder.path(), &["init", "--quiet"]);
        git(folder.path(), &["add", "--all", "--force"]);
        let theirs = git(folder.path(), &["write-tree"]);
        let ours = Listing::of_folder(folder.path()).unwrap();
        prop_assert_eq!(ours.len(), written.len());
        prop_assert_eq!(ours.tree_id().to_string(), theirs.trim());
        let printed = git(folder.path(), &["ls-tree", "-r", theirs.trim()]);
        prop_assert_eq!(Listing::parse(&printed).unwrap(), ours);
    }
}

#[test]
fn executables_and_links_have_gits_modes() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.path().join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("run", folder.path().join("link")).unwrap();
    git(folder.path(), &["init", "--quiet"]);
    git(folder.path(), &["add", "--all", "--force"]);
    let theirs = git(folder.path(), &["write-tree"]);
    assert_eq!(
        Listing::of_folder(folder.path())
            .unwrap()
            .tree_id()
            .to_string(),
        theirs.trim()
    );
}

#[test]
fn the_empty_blob_has_gits_well_known_id() {
    assert_eq!(
        ObjectId::of_blob(b"").to_string(),
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    );
}

#[test]
fn a_listing_line_that_is_none_is_named_by_number() {
    let good = "100644 blob e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\ta\n";
    let error = Listing::parse(&format!("{good}160000 commit 00\tb\n")).unwrap_err();
    assert!(error.starts_with("line 2:"), "{error}");
}

#[test]
fn sync_touches_only_what_differs() {
    let from = tempfile::tempdir().unwrap();
    let to = tempfile::tempdir().unwrap();
    for (name, content) in [("same", "1"), ("other", "2")] {
        fs::write(from.path().join(name), content).unwrap();
    }
    let listing = Listing::of_folder(from.path()).unwrap();
    listing.sync(from.path(), to.path()).unwrap();
    let age = |name| {
        fs::metadata(to.path().join(name))
            .unwrap()
            .modified()
            .unwrap()
    };
    let before = (age("same"), age("other"));
    fs::write(from.path().join("other"), "3").unwrap();
    fs::write(to.path().join("stray"), "").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));

    let listing = Listing::of_folder(from.path()).unwrap();
    listing.sync(from.path(), to.path()).unwrap();
    assert_eq!(Listing::of_folder(to.path()).unwrap(), listing);
    assert_eq!(age("same"), before.0);
    assert!(age("other") > before.1);
}

/// What `sync` makes of a folder that held `before`, for a listing of `after`.
fn synced(before: &[&str], after: &[&str]) -> (tempfile::TempDir, Listing) {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (folder, paths) in [(&to, before), (&from, after)] {
        for path in paths {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, path).unwrap();
        }
    }
    let listing = Listing::of_folder(from.path()).unwrap();
    listing.sync(from.path(), to.path()).unwrap();
    (to, listing)
}

#[test]
fn a_folder_may_become_a_file_and_a_file_a_folder() {
    for (before, after) in [
        (&["a/b/c", "a/d"][..], &["a"][..]),
        (&["a"], &["a/b/c", "a/d"]),
        (&["a/b/c"], &["a/b"]),
    ] {
        let (to, listing) = synced(before, after);
        assert_eq!(Listing::of_folder(to.path()).unwrap(), listing, "{after:?}");
    }
}

#[test]
fn a_folder_without_files_does_not_stay() {
    let (to, _) = synced(&["kept/a", "gone/deep/b"], &["kept/a"]);
    assert!(to.path().join("kept").is_dir());
    assert!(!to.path().join("gone").exists());
}

#[test]
fn what_git_cannot_hold_is_refused_by_name_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let (done, outcome) = mpsc::channel();
    let root = folder.path().to_path_buf();
    // A thread, because a pipe that is read never ends.
    std::thread::spawn(move || {
        let refusal = Listing::of_folder(&root).err().map(|e| e.to_string());
        let _ = done.send(refusal);
    });
    let refusal = outcome.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(refusal.unwrap().contains("pipe: is a named pipe"));

    let socket = tempfile::tempdir().unwrap();
    let _bound = std::os::unix::net::UnixListener::bind(socket.path().join("it")).unwrap();
    let error = Listing::of_folder(socket.path()).unwrap_err();
    assert!(error.to_string().contains("it: is a socket"), "{error}");
}

#[test]
fn names_that_differ_only_by_case_are_found_at_every_level() {
    let line = |path: &str| format!("100644 blob {}\t{path}\n", ObjectId::of_blob(b""));
    let listing = |paths: &[&str]| {
        let text: String = paths.iter().map(|path| line(path)).collect();
        Listing::parse(&text).unwrap()
    };
    let apart = listing(&["a/x", "b/x", "b/X.h", "c"]);
    assert!(apart.case_collisions().is_empty());
    let mixed = listing(&["Mlx/a", "mlx/b", "mlx/B", "Ä", "ä"]);
    assert_eq!(
        mixed.case_collisions(),
        [("Mlx", "mlx"), ("mlx/B", "mlx/b"), ("Ä", "ä")]
    );
}

#[test]
fn every_pinned_tree_fits_on_a_disk_that_ignores_case() {
    let patches = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../patches");
    for version in Pin::versions(&patches).unwrap() {
        let pin = Pin::load(&patches, &version).unwrap();
        for source in [pin.mlx, pin.mlx_c] {
            assert_eq!(source.listing.case_collisions(), [], "{}", source.name);
        }
    }
}
