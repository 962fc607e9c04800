//! Collecting removes the entries that are not needed, and nothing else.

mod common;

use std::fs;

use common::{make, names, shared, store, write};
use store::{Error, Kind, Lease, Store, Wait};

fn entry(store: &Store, kind: Kind, key: &str) {
    write(&store.entry(kind, key).unwrap(), "content");
}

fn listed(store: &Store, keep: impl Fn(Kind, &str) -> bool, dry_run: bool) -> Vec<String> {
    let freed = store.collect(keep, dry_run).unwrap();
    freed
        .iter()
        .map(|freed| format!("{}/{}", freed.kind.folder(), freed.name))
        .collect()
}

#[test]
fn a_dry_run_lists_what_a_run_removes() {
    let (_folder, store) = store();
    let shared = shared(&store);
    for key in ["needed", "stale"] {
        entry(&store, Kind::Source, key);
        entry(&store, Kind::Tools, key);
        entry(&store, Kind::Build, key);
        shared.note(Kind::Series, key, "tree").unwrap();
    }
    entry(&store, Kind::Work, "needed");
    entry(&store, Kind::Scratch, "making-half");
    drop(
        shared
            .lock(Kind::Build, "stale", &Wait::silently())
            .unwrap(),
    );
    drop(shared);

    let keep = |_: Kind, name: &str| name == "needed";
    let expected = [
        "sources/stale",
        "tools/stale",
        "builds/stale",
        "series/stale",
        "work/needed",
        "tmp/making-half",
    ];
    assert_eq!(listed(&store, keep, true), expected);
    assert_eq!(names(&store, "builds"), ["needed", "stale"]);
    assert_eq!(names(&store, "locks").len(), 1);
    assert_eq!(listed(&store, keep, false), expected);
    for folder in ["sources", "tools", "builds", "series"] {
        assert_eq!(names(&store, folder), ["needed"], "{folder}");
    }
    for folder in ["work", "tmp", "locks"] {
        assert!(names(&store, folder).is_empty(), "{folder}");
    }
    assert!(listed(&store, keep, false).is_empty());
    assert!(store.root().unwrap().join("CACHEDIR.TAG").is_file());
}

#[test]
fn what_is_freed_is_counted_as_the_disk_counts() {
    let (_folder, store) = store();
    drop(shared(&store));
    let build = store.entry(Kind::Build, "stale").unwrap();
    fs::create_dir_all(&build).unwrap();
    fs::write(build.join("library"), vec![1; 1 << 20]).unwrap();
    let freed = store.collect(|_, _| false, false).unwrap();
    let [build] = &freed[..] else {
        panic!("{freed:?}")
    };
    assert!((1 << 20..1 << 21).contains(&build.bytes), "{build:?}");
}

/// Finder leaves `.DS_Store` in every folder that it shows.
#[test]
fn files_that_are_no_entries_break_nothing() {
    let (folder, store) = store();
    drop(shared(&store));
    let outside = folder.path().join("outside");
    fs::write(&outside, "keep").unwrap();
    for kind in Kind::ALL {
        let below = store.entry(kind, "").unwrap();
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join(".DS_Store"), "").unwrap();
        std::os::unix::fs::symlink(&outside, below.join("link")).unwrap();
        assert!(!store.keys(kind).contains(&".DS_Store".to_owned()));
    }
    entry(&store, Kind::Build, "needed");
    let keep = |_: Kind, name: &str| name == "needed";
    store.collect(keep, false).unwrap();
    assert_eq!(names(&store, "builds"), ["needed"]);
    for folder in ["sources", "tools", "work", "tmp"] {
        assert!(names(&store, folder).is_empty(), "{folder}");
    }
    assert!(outside.exists());
}

#[test]
fn nothing_is_collected_while_somebody_uses_the_store() {
    let (_folder, store) = store();
    let reader = shared(&store);
    make(&reader, "in use").unwrap();
    let error = store.collect(|_, _| false, false).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    assert!(error.help().is_some());
    assert_eq!(store.collect(|_, _| false, true).unwrap().len(), 1);

    let scratch = reader.scratch().unwrap();
    drop(reader);
    assert!(
        store.collect(|_, _| false, false).is_err(),
        "a scratch folder is a use of the store"
    );
    drop(scratch);
    assert_eq!(store.collect(|_, _| false, false).unwrap().len(), 1);
}

/// A mistaken `MLX_RAILS_STORE=$HOME` must not remove a folder named `work`.
#[test]
fn a_folder_that_holds_something_else_is_not_taken_for_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("work/mine");
    write(&mine, "content");
    let store = Store::at(folder.path());
    let refused = |error: Error| {
        assert!(matches!(&error, Error::NotAStore { .. }), "{error}");
        assert!(error.help().is_some_and(|help| help.contains("empty")));
    };
    refused(store.share(&Wait::silently()).unwrap_err());
    refused(store.collect(|_, _| false, false).unwrap_err());
    assert!(mine.exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_lease_is_held_by_all_clones_and_stands_aside_for_its_own_collection() {
    let (_folder, store) = store();
    let lease = Lease::of(store.clone());
    let clone = lease.clone();
    drop(clone.shared(&Wait::silently()).unwrap());
    let in_use = |outcome| matches!(outcome, Err(Error::InUse { .. }));
    assert!(in_use(store.collect(|_, _| true, false)), "a clone has it");
    lease.collect(|_, _| true, false).unwrap();

    let used = clone.shared(&Wait::silently()).unwrap();
    assert!(in_use(lease.collect(|_, _| true, false)), "it is in use");
    drop(used);
    lease.collect(|_, _| true, false).unwrap();
}
