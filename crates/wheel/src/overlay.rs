//! A wheel that is another one but for some files.

use std::{
    collections::BTreeMap,
    io::{Read, Seek, Write},
    path::Path,
};

use pep440_rs::Version;
use serde::{Deserialize, Serialize};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    archive::{Wheel, sha256},
    check::{Check, some_of},
    error::{Error, Result},
    file_name::{FileName, Tag},
    metadata,
    record::{self, Row},
};

/// The file in dist-info that says what was replaced and why it fits.
pub const MANIFEST: &str = "mlx-rails.json";

/// What becomes of a wheel.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// The new version, usually [`rails_version`].
    pub version: Version,
    /// The new tags.
    pub tag: Tag,
    /// New content, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The content of [`MANIFEST`].
    pub manifest: Vec<u8>,
}

/// A file that was replaced, with the SHA-256 of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its path in the wheel.
    pub path: String,
    /// The base's; `None` for a file that the base does not have.
    pub before: Option<String>,
    /// What is there now.
    pub after: String,
}

/// What is counted in a version of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// What has fixes.
    Rails,
    /// What has performance patches too.
    Tuned,
}

impl Label {
    /// All of them.
    pub const ALL: [Label; 2] = [Label::Rails, Label::Tuned];

    /// The segment of the local version.
    pub const fn name(self) -> &'static str {
        match self {
            Label::Rails => "rails",
            Label::Tuned => "tuned",
        }
    }
}

/// A version that satisfies `==BASE` and says which revision of the series was put in:
/// `0.31.2+rails.1`, and of a version that is local already `0.32.0.dev1+cc3f3e60.rails.1`
/// ([PEP 440](https://peps.python.org/pep-0440/#local-version-identifiers)).
pub fn rails_version(base: &Version, label: Label, revision: u32) -> Version {
    let joint = if base.is_local() { '.' } else { '+' };
    let text = format!("{base}{joint}{}.{revision}", label.name());
    text.parse().expect("a local version of a version is one")
}

/// Whether a version is one of [`rails_version`]'s.
pub fn is_ours(version: &Version) -> bool {
    let text = version.to_string();
    let local = text.split_once('+').map_or("", |(_, local)| local);
    let is_label = |part| Label::ALL.map(Label::name).contains(&part);
    local.split('.').any(is_label)
}

impl Overlay {
    /// The name of the new wheel.
    pub fn name(&self, base: &FileName) -> FileName {
        FileName {
            version: self.version.clone(),
            tag: self.tag.clone(),
            ..base.clone()
        }
    }

    /// What is replaced in `base`.
    ///
    /// # Errors
    /// When a file of the base does not unpack.
    pub fn replaced(&self, base: &mut Wheel) -> Result<Vec<Replaced>> {
        let mut replaced = Vec::new();
        for (path, content) in &self.files {
            let before = match base.has(path) {
                true => Some(sha256(&base.read(path)?)),
                false => None,
            };
            replaced.push(Replaced {
                path: path.clone(),
                before,
                after: sha256(content),
            });
        }
        Ok(replaced)
    }

    /// Writes the wheel. What is not replaced is copied as it is packed in the base, and
    /// new files have the dates of the files they replace, so that the same base and files
    /// give the same bytes.
    ///
    /// # Errors
    /// When a file of the base does not unpack, or `out` cannot be written.
    pub fn write(&self, base: &mut Wheel, out: impl Write + Seek, to: &Path) -> Result<()> {
        let (old, new) = (base.dist_info().to_owned(), self.dist_info(base));
        let moved = |path: &str| match path.strip_prefix(&old) {
            Some(rest) if rest.starts_with('/') => format!("{new}{rest}"),
            _ => path.to_owned(),
        };
        let base_file = base.path().to_owned();
        let changed = self.changed(base)?;
        let mut zip = Writer {
            zip: ZipWriter::new(out),
            record: Vec::new(),
            to,
        };
        let record = base.of_dist_info("RECORD");
        let mut options = SimpleFileOptions::default();
        for (index, path) in base.names.iter().enumerate() {
            let file = (base.archive.by_index_raw(index))
                .map_err(|error| Error::damaged(&base_file, error))?;
            if file.is_dir() || *path == record {
                continue;
            }
            options = file.options();
            match changed.get(path) {
                Some(content) => {
                    drop(file);
                    zip.file(&moved(path), content, options)?;
                }
                None => {
                    let row = base.record.iter().find(|row| row.path == *path);
                    zip.copy(&moved(path), file, row)?;
                }
            }
        }
        for (path, content) in &changed {
            if !base.has(path) {
                zip.file(&moved(path), content, options)?;
            }
        }
        zip.finish(&moved(&record), options)
    }

    fn dist_info(&self, base: &Wheel) -> String {
        self.name(base.name()).dist_info()
    }

    /// The new content of every file that has one, by its path in the base.
    fn changed(&self, base: &mut Wheel) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut changed = self.files.clone();
        let edits = [
            ("METADATA", "Version", self.version.to_string()),
            ("WHEEL", "Tag", self.tag.to_string()),
        ];
        for (file, field, value) in edits {
            let path = base.of_dist_info(file);
            let text = base.read_text(&path)?;
            let text = metadata::with_field(&text, field, &value).ok_or_else(|| {
                Error::damaged(base.path(), format!("{path} has no field {field}"))
            })?;
            changed.insert(path, text.into_bytes());
        }
        changed.insert(base.of_dist_info(MANIFEST), self.manifest.clone());
        Ok(changed)
    }

    /// That every file of the written wheel but those that were to change is the base's,
    /// byte by byte, and that its RECORD holds.
    ///
    /// # Errors
    /// When one of the two wheels cannot be read.
    pub fn check(&self, base: &mut Wheel, written: &mut Wheel) -> Result<Vec<Check>> {
        let own = ["METADATA", "WHEEL", "RECORD", MANIFEST];
        let is_changed = |base: &Wheel, path: &str| {
            self.files.contains_key(path) || own.iter().any(|it| path == base.of_dist_info(it))
        };
        let mut others = Vec::new();
        let mut differ = Vec::new();
        let paths: Vec<String> = base.members().map(str::to_owned).collect();
        for path in paths {
            if is_changed(base, &path) {
                continue;
            }
            let there = match path.strip_prefix(&format!("{}/", base.dist_info())) {
                Some(file) => written.of_dist_info(file),
                None => path.clone(),
            };
            if !written.has(&there) || raw(base, &path)? != raw(written, &there)? {
                differ.push(path.clone());
            }
            others.push(there);
        }
        let strays = written.members().filter(|path| {
            !others.iter().any(|it| it == path)
                && !self.files.contains_key(*path)
                && !own.iter().any(|it| *path == written.of_dist_info(it))
        });
        differ.extend(strays.map(str::to_owned));
        let unchanged = if differ.is_empty() {
            Check::of(
                "other-files",
                true,
                format!("the {} others are the base's, byte by byte", others.len()),
            )
        } else {
            Check::of(
                "other-files",
                false,
                format!("not the base's: {}", some_of(&differ)),
            )
        };
        let record = match written.verify() {
            Ok(()) => Check::of("record", true, "every file has the hash that RECORD says"),
            Err(error) => Check::of("record", false, error.to_string()),
        };
        Ok(vec![unchanged, record])
    }
}

/// The packed bytes of a file with how they are packed: equal for equal content.
fn raw(wheel: &mut Wheel, member: &str) -> Result<(u32, u64, Vec<u8>)> {
    let path = wheel.path().to_owned();
    let damaged = |problem: String| Error::damaged(&path, format!("{member}: {problem}"));
    let index = wheel.archive.index_for_name(member);
    let index = index.ok_or_else(|| damaged("is not there".into()))?;
    let mut file = (wheel.archive.by_index_raw(index)).map_err(|e| damaged(e.to_string()))?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)
        .map_err(|e| damaged(e.to_string()))?;
    Ok((file.crc32(), file.size(), content))
}

struct Writer<'a, W: Write + Seek> {
    zip: ZipWriter<W>,
    record: Vec<Row>,
    to: &'a Path,
}

impl<W: Write + Seek> Writer<'_, W> {
    fn file(&mut self, path: &str, content: &[u8], options: SimpleFileOptions) -> Result<()> {
        self.put(path, content, options)?;
        self.record.push(Row::of(path, content));
        Ok(())
    }

    fn put(&mut self, path: &str, content: &[u8], options: SimpleFileOptions) -> Result<()> {
        let put = self.zip.start_file(path, options);
        let put = put
            .map_err(std::io::Error::from)
            .and_then(|()| self.zip.write_all(content));
        put.map_err(|source| self.refused(source))
    }

    fn copy(
        &mut self,
        path: &str,
        file: zip::read::ZipFile<'_, impl Read>,
        row: Option<&Row>,
    ) -> Result<()> {
        let copied = self.zip.raw_copy_file_rename(file, path.to_owned());
        copied.map_err(|error| self.refused(error.into()))?;
        if let Some(row) = row {
            self.record.push(Row {
                path: path.to_owned(),
                ..row.clone()
            });
        }
        Ok(())
    }

    /// Closes the wheel with its RECORD, which lists itself without a hash.
    fn finish(mut self, path: &str, options: SimpleFileOptions) -> Result<()> {
        self.record.push(Row {
            path: path.to_owned(),
            hash: String::new(),
            bytes: None,
        });
        let text = record::text(&self.record);
        self.put(path, &text, options)?;
        let to = self.to;
        match self.zip.finish() {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Io {
                action: "write",
                path: to.to_owned(),
                source: error.into(),
            }),
        }
    }

    fn refused(&self, source: std::io::Error) -> Error {
        Error::Io {
            action: "write",
            path: self.to.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_which_series_was_put_in() {
        for (base, label, version) in [
            ("0.31.2", Label::Rails, "0.31.2+rails.3"),
            ("0.31.2", Label::Tuned, "0.31.2+tuned.3"),
            (
                "0.32.0.dev1+cc3f3e60",
                Label::Tuned,
                "0.32.0.dev1+cc3f3e60.tuned.3",
            ),
        ] {
            let base: Version = base.parse().expect("a version");
            let ours = rails_version(&base, label, 3);
            assert_eq!(ours.to_string(), version);
            assert!(is_ours(&ours) && !is_ours(&base), "{version}");
        }
    }

    /// Of two in one index, pip takes the greater.
    #[test]
    fn a_tuned_wheel_is_preferred_to_a_patched_one_of_any_revision() {
        let base: Version = "0.31.2".parse().expect("a version");
        let tuned = rails_version(&base, Label::Tuned, 1);
        assert!(tuned > rails_version(&base, Label::Rails, 9));
    }
}
