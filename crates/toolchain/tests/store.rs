//! Entries appear whole, once, and go when nothing needs them.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use toolchain::{
    Error,
    error::Kind as ErrorKind,
    process::Cancel,
    progress::Silent,
    store::{Kind, Store},
};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    (folder, store)
}

#[test]
fn what_is_not_published_leaves_nothing() {
    let (folder, store) = store();
    drop(store.scratch().unwrap());
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn the_first_to_publish_wins_and_the_second_gets_the_same() {
    let (_folder, store) = store();
    let publish = |content: &str| {
        let scratch = store.scratch().unwrap();
        fs::write(scratch.path().join("file"), content).unwrap();
        store.publish(Kind::Build, "key", scratch.path()).unwrap()
    };
    let first = publish("first");
    assert_eq!(publish("second"), first);
    assert_eq!(fs::read_to_string(first.join("file")).unwrap(), "first");
}

#[test]
fn a_lock_lets_one_through_at_a_time() {
    let (_folder, store) = store();
    let inside = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _lock = store.lock("entry", &Silent, &Cancel::default()).unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                thread::sleep(Duration::from_millis(5));
                inside.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
}

#[test]
fn waiting_for_a_lock_can_be_interrupted() {
    let (_folder, store) = store();
    let cancel = Cancel::default();
    let _held = store.lock("entry", &Silent, &cancel).unwrap();
    cancel.cancel();
    let error = store.lock("entry", &Silent, &cancel).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn a_store_that_cannot_be_written_names_itself_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::at(file.join("store")).scratch().unwrap_err();
    assert!(error.to_string().contains("store/tmp"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Ours);
    assert!(error.help().unwrap().contains("MLX_RAILS_STORE"));
}

#[test]
fn collecting_keeps_what_it_is_told_and_counts_before_it_removes() {
    let (folder, store) = store();
    for key in ["needed", "stale"] {
        let scratch = store.scratch().unwrap();
        fs::write(scratch.path().join("file"), [0; 100]).unwrap();
        store.publish(Kind::Build, key, scratch.path()).unwrap();
    }
    fs::create_dir_all(folder.path().join("work/x")).unwrap();
    fs::write(folder.path().join("work/x/object.o"), [0; 50]).unwrap();
    let keep = |_: Kind, name: &str| name == "needed";

    assert_eq!(store.collect(keep, true).unwrap(), 150);
    assert!(store.entry(Kind::Build, "stale").exists());
    assert_eq!(store.collect(keep, false).unwrap(), 150);
    assert!(store.entry(Kind::Build, "needed").exists());
    assert!(!store.entry(Kind::Build, "stale").exists());
    assert_eq!(store.collect(keep, false).unwrap(), 0);
}

#[test]
fn nothing_is_collected_while_something_is_made() {
    let (folder, store) = store();
    let _making = store.lock("work-x", &Silent, &Cancel::default()).unwrap();
    fs::create_dir_all(folder.path().join("work/x")).unwrap();
    let error = store.collect(|_, _| false, false).unwrap_err();
    assert!(error.to_string().contains("work-x"), "{error}");
    assert!(folder.path().join("work/x").exists());
}
