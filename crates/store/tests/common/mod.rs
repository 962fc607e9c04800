//! Entries of many files, which are complete if all are there: deleting one takes a
//! while, in which a process can be killed.

// Each test file is a program of its own and uses its part of this.
#![allow(dead_code)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use store::{Error, Kind, Result, Shared, Store, Wait};
use tempfile::TempDir;

pub const KEY: &str = "0123abc";
pub const FILES: usize = 200;

pub fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("store"));
    (folder, store)
}

pub fn shared(store: &Store) -> Shared {
    store.share(&Wait::silently()).unwrap()
}

fn files(entry: &Path) -> impl Iterator<Item = PathBuf> {
    (0..FILES).map(move |n| entry.join(format!("part-{n}")))
}

/// Returns the content, which is the same in all files.
pub fn check(entry: &Path) -> Result<Option<String>> {
    let mut content = None;
    for file in files(entry) {
        match (fs::read_to_string(file), &content) {
            (Ok(text), None) => content = Some(text),
            (Ok(text), Some(first)) if text == *first => {}
            _ => return Ok(None),
        }
    }
    Ok(content)
}

pub fn write(entry: &Path, content: &str) {
    fs::create_dir_all(entry).unwrap();
    files(entry).for_each(|file| fs::write(file, content).unwrap());
}

/// Makes the entry [`KEY`] if necessary; returns its content and whether it existed.
pub fn make(shared: &Shared, content: &str) -> Result<(String, bool)> {
    let made = shared.make(Kind::Build, KEY, &Wait::silently(), check, |scratch| {
        let folder = scratch.join("made");
        write(&folder, content);
        Ok::<_, Error>((folder, content.to_owned()))
    })?;
    assert_eq!(check(&made.path)?.as_ref(), Some(&made.value));
    Ok((made.value, made.current))
}

/// The contents of a folder of the store.
pub fn names(store: &Store, folder: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(store.root().unwrap().join(folder))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
