//! An entry appears complete, once, and a broken one is replaced.

mod common;

use std::{
    cell::Cell,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use common::{KEY, check, make, names, shared, store, write};
use store::{Error, Kind, Store, Wait};

#[test]
fn a_store_is_named_without_being_made() {
    let (_folder, store) = store();
    assert!(store.root().unwrap().ends_with("store"));
    assert!(store.keys(Kind::Build).is_empty());
    assert!(store.collect(|_, _| false, false).unwrap().is_empty());
    assert!(!store.root().unwrap().exists());
}

#[test]
fn a_used_store_is_marked_as_a_cache() {
    let (_folder, store) = store();
    let tag = store.root().unwrap().join("CACHEDIR.TAG");
    drop(shared(&store));
    let signature = "Signature: 8a477f597d28d172789f06886806bc55\n";
    assert!(fs::read_to_string(&tag).unwrap().starts_with(signature));
    // Left by a process that was killed while it wrote.
    fs::write(&tag, "Sig").unwrap();
    drop(shared(&store));
    assert!(fs::read_to_string(&tag).unwrap().starts_with(signature));
}

#[test]
fn what_is_made_once_is_there_for_the_next() {
    let (_folder, store) = store();
    let shared = shared(&store);
    assert_eq!(make(&shared, "first").unwrap(), ("first".into(), false));
    assert_eq!(make(&shared, "second").unwrap(), ("first".into(), true));
    assert_eq!(store.keys(Kind::Build), [KEY]);
    assert!(names(&store, "tmp").is_empty());
}

#[test]
fn a_broken_entry_is_replaced() {
    let (_folder, store) = store();
    let shared = shared(&store);
    let entry = store.entry(Kind::Build, KEY).unwrap();
    for round in ["first", "second"] {
        fs::create_dir_all(entry.join("prefix")).unwrap();
        fs::write(entry.join("prefix/x"), "half").unwrap();
        assert_eq!(make(&shared, round).unwrap(), (round.into(), false));
        assert!(!entry.join("prefix").exists());
        fs::remove_file(entry.join("part-7")).unwrap();
    }
    fs::remove_dir_all(&entry).unwrap();
    fs::write(&entry, "a file in the place of a folder").unwrap();
    assert_eq!(make(&shared, "third").unwrap(), ("third".into(), false));
    assert!(names(&store, "tmp").is_empty());
}

#[test]
fn what_fails_to_be_made_leaves_nothing() {
    let (_folder, store) = store();
    let shared = shared(&store);
    let outcome = shared.make(Kind::Build, KEY, &Wait::silently(), check, |scratch| {
        fs::write(scratch.join("half"), "").unwrap();
        Err::<(_, String), _>(Error::Stopped)
    });
    assert!(matches!(outcome, Err(Error::Stopped)));
    assert!(store.keys(Kind::Build).is_empty());
    assert!(names(&store, "tmp").is_empty());
}

#[test]
fn threads_share_one_making() {
    let (_folder, store) = store();
    let made = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let entry =
                    shared(&store).make(Kind::Tools, KEY, &Wait::silently(), check, |scratch| {
                        made.fetch_add(1, Ordering::SeqCst);
                        let folder = scratch.join("made");
                        write(&folder, "content");
                        Ok::<_, Error>((folder, "content".into()))
                    });
                assert_eq!(entry.unwrap().value, "content");
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[test]
fn one_entry_has_one_lock_and_others_have_others() {
    let (_folder, store) = store();
    let shared = shared(&store);
    let refuse = Wait {
        note: &|_| {},
        stop: &|| true,
    };
    let held = shared.lock(Kind::Source, KEY, &refuse).unwrap();
    assert!(matches!(
        shared.lock(Kind::Source, KEY, &refuse),
        Err(Error::Stopped)
    ));
    let _another_key = shared.lock(Kind::Source, "other", &refuse).unwrap();
    let _another_kind = shared.lock(Kind::Series, KEY, &refuse).unwrap();
    drop(held);
    shared.lock(Kind::Source, KEY, &refuse).unwrap();
}

#[test]
fn a_wait_is_announced_once_and_can_be_stopped() {
    let (_folder, store) = store();
    let shared = shared(&store);
    let _held = shared.lock(Kind::Build, KEY, &Wait::silently()).unwrap();
    let (notes, looks) = (Cell::new(0), Cell::new(0));
    let wait = Wait {
        note: &|text| {
            assert_eq!(
                text,
                format!("waiting for another process that makes the build {KEY}")
            );
            notes.set(notes.get() + 1);
        },
        stop: &|| looks.replace(looks.get() + 1) == 2,
    };
    let outcome = shared.lock(Kind::Build, KEY, &wait);
    assert!(matches!(outcome, Err(Error::Stopped)));
    assert_eq!(notes.get(), 1);
}

/// A disk that treats `ABC` and `abc` as one name must not make one entry of two.
#[test]
fn keys_are_one_name_on_every_disk() {
    let (_folder, store) = store();
    let shared = shared(&store);
    for key in ["ABC", "a/b", "..", "", ".DS_Store", "é"] {
        let error = shared
            .lock(Kind::Build, key, &Wait::silently())
            .unwrap_err();
        assert!(matches!(error, Error::BadKey { .. }), "{key:?}: {error}");
    }
    assert!(
        shared
            .lock(Kind::Tools, "clients-0a", &Wait::silently())
            .is_ok()
    );
}

#[test]
fn inputs_are_read_again_under_the_lock_of_the_work_folder() {
    let (_folder, store) = store();
    let shared = shared(&store);
    let reads = Cell::new(0);
    let work = shared.work("before".into(), &Wait::silently(), || {
        reads.set(reads.get() + 1);
        // A file was edited after the key was computed.
        Ok::<_, Error>(("after".to_owned(), reads.get()))
    });
    let work = work.unwrap();
    assert_eq!(work.path, store.entry(Kind::Work, "after").unwrap());
    assert_eq!(work.value, 2, "the value is that of the last reading");
    assert!(work.path.is_dir());
}

#[test]
fn a_note_replaces_the_one_before() {
    let (_folder, store) = store();
    let shared = shared(&store);
    assert_eq!(store.noted(Kind::Series, KEY), None);
    shared.note(Kind::Series, KEY, "one").unwrap();
    shared.note(Kind::Series, KEY, "two").unwrap();
    assert_eq!(store.noted(Kind::Series, KEY).as_deref(), Some("two"));
    assert_eq!(store.keys(Kind::Series), [KEY]);
}

#[test]
fn a_store_that_cannot_be_written_names_itself_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let store = Store::at(file.join("store"));
    let error = store.share(&Wait::silently()).unwrap_err();
    assert!(error.to_string().ends_with("file/store"), "{error}");
    assert!(error.help().unwrap().contains("MLX_RAILS_STORE"));
}
