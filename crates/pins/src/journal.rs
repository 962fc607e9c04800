//! Several files of a folder changed at once: all of them, or none.
//!
//! No file system replaces several files in one step. So the new files are written
//! into a folder beside them, and the rename that gives this folder its name decides:
//! before it nothing has changed, after it whoever comes next carries the change out.
//! The files stay in their folder, so that a shell or an editor that stands there, and
//! git, see nothing but changed files.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use crate::error::{IoContext, Result};

/// The folder of a change that is decided.
const DECIDED: &str = ".exporting";
/// The folder of one that is still being written.
const BEGUN: &str = ".exporting.new";
/// In either, the names of the files to remove, one a line.
const REMOVED: &str = "removed";

/// What is to become of files of a folder, by their names.
#[derive(Debug, Default)]
pub struct Change {
    /// Files with their new text.
    pub written: Vec<(String, String)>,
    /// Files that go.
    pub removed: Vec<String>,
}

impl Change {
    /// Makes the change in `folder`.
    ///
    /// # Errors
    /// When something cannot be written: then nothing has changed. When something
    /// cannot be renamed or removed: then [`finish`] carries on.
    pub fn publish(&self, folder: &Path) -> Result<()> {
        if self.written.is_empty() && self.removed.is_empty() {
            return Ok(());
        }
        self.decide(folder)?;
        finish(folder)
    }

    fn decide(&self, folder: &Path) -> Result<()> {
        let begun = folder.join(BEGUN);
        // One that was left by a process that was killed says nothing.
        if begun.is_dir() {
            fs::remove_dir_all(&begun).at("remove", &begun)?;
        }
        fs::create_dir(&begun).at("create", &begun)?;
        let written = self.write_into(&begun).and_then(|()| {
            let decided = folder.join(DECIDED);
            fs::rename(&begun, &decided).at("create", &decided)
        });
        if written.is_err() {
            let _ = fs::remove_dir_all(&begun);
        }
        written
    }

    fn write_into(&self, begun: &Path) -> Result<()> {
        let removed: String = self
            .removed
            .iter()
            .map(|name| format!("{name}\n"))
            .collect();
        let removed = (REMOVED.to_owned(), removed);
        for (name, text) in self.written.iter().chain([&removed]) {
            let path = begun.join(name);
            let mut file = File::create(&path).at("create", &path)?;
            file.write_all(text.as_bytes()).at("write", &path)?;
            // On the disk before the decision is.
            file.sync_all().at("write", &path)?;
        }
        Ok(())
    }
}

/// Carries out a change that was decided, if there is one.
///
/// Several processes may do so at once: what one of them finds done, another did.
///
/// # Errors
/// When a file cannot be renamed or removed. The next call carries on.
pub fn finish(folder: &Path) -> Result<()> {
    finish_while(folder, || true)
}

/// As [`finish`], stopping before a step when `goes_on` says no.
fn finish_while(folder: &Path, mut goes_on: impl FnMut() -> bool) -> Result<()> {
    let decided = folder.join(DECIDED);
    let Some(files) = unless_gone(fs::read_dir(&decided)).at("read", &decided)? else {
        return Ok(());
    };
    let removed = decided.join(REMOVED);
    // All names first: a folder that changes while it is read may skip some.
    let files = files.collect::<io::Result<Vec<_>>>().at("read", &decided)?;
    for file in files {
        let file = file.path();
        if file == removed {
            continue;
        }
        if !goes_on() {
            return Ok(());
        }
        let place = folder.join(file.file_name().unwrap_or_default());
        unless_gone(fs::rename(&file, &place)).at("replace", &place)?;
    }
    let names = unless_gone(fs::read_to_string(&removed)).at("read", &removed)?;
    for name in names.iter().flat_map(|names| names.lines()) {
        if !goes_on() {
            return Ok(());
        }
        let file = folder.join(name);
        unless_gone(fs::remove_file(&file)).at("remove", &file)?;
    }
    if !goes_on() {
        return Ok(());
    }
    unless_gone(fs::remove_file(&removed)).at("remove", &removed)?;
    unless_gone(fs::remove_dir(&decided)).at("remove", &decided)?;
    Ok(())
}

fn unless_gone<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn files(folder: &Path) -> BTreeMap<String, String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect()
    }

    fn folder() -> (tempfile::TempDir, Change) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["kept", "changed", "gone", "gone-too"] {
            fs::write(folder.path().join(name), "before").unwrap();
        }
        let written = ["changed", "new"].map(|name| (name.to_owned(), "after".to_owned()));
        let change = Change {
            written: written.into(),
            removed: vec!["gone".into(), "gone-too".into()],
        };
        (folder, change)
    }

    fn expected() -> BTreeMap<String, String> {
        [("kept", "before"), ("changed", "after"), ("new", "after")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into()
    }

    #[test]
    fn a_change_that_stops_anywhere_after_its_decision_is_carried_out_by_the_next() {
        // Two renames, two removals, and the folder itself.
        for steps in 0..5 {
            let (folder, change) = folder();
            change.decide(folder.path()).unwrap();
            let mut left = steps;
            finish_while(folder.path(), || {
                left -= 1;
                left >= 0
            })
            .unwrap();
            assert!(folder.path().join(DECIDED).is_dir(), "after {steps} steps");
            finish(folder.path()).unwrap();
            assert_eq!(files(folder.path()), expected(), "after {steps} steps");
            finish(folder.path()).unwrap();
        }
    }

    #[test]
    fn a_change_that_stops_before_its_decision_never_was() {
        let (folder, change) = folder();
        let before = files(folder.path());
        let begun = folder.path().join(BEGUN);
        fs::create_dir(&begun).unwrap();
        fs::write(begun.join("changed"), "half").unwrap();
        finish(folder.path()).unwrap();
        fs::remove_dir_all(&begun).unwrap();
        assert_eq!(files(folder.path()), before);

        fs::create_dir(&begun).unwrap();
        fs::write(begun.join("stray"), "half").unwrap();
        change.publish(folder.path()).unwrap();
        assert_eq!(files(folder.path()), expected());
    }

    #[test]
    fn a_pin_is_read_after_a_change_that_was_decided_is_carried_out() {
        let patches = tempfile::tempdir().unwrap();
        let folder = patches.path().join("1.2.3");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("pin.toml"), "before").unwrap();
        let change = Change {
            written: vec![("pin.toml".into(), "after = 1".into())],
            removed: Vec::new(),
        };
        change.decide(&folder).unwrap();
        let error = crate::pin::Pin::load(patches.path(), "1.2.3").unwrap_err();
        assert!(error.to_string().contains("after"), "{error}");
        assert!(!folder.join(DECIDED).exists());
    }
}
