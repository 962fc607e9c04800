//! Whether the same model lies on every node. Weights never travel: they are compared by a
//! sample.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::tree::hex;

/// Files up to this size are read whole.
const WHOLE: u64 = 8 << 20;

/// The bytes at the beginning and at the end of a larger file that are read. safetensors
/// have names and shapes at the beginning.
const EDGE: u64 = 1 << 20;

/// The number of places between that are read, and the bytes of each.
const PLACES: u64 = 64;
const PLACE: u64 = 64 << 10;

/// A sample of the files of a model's folder that decide what a rank computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// In the order of their names.
    pub files: Vec<Sample>,
}

/// A sample of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The file's name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The hash of what was read.
    pub sha256: String,
}

/// How a file of a model differs between two folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is missing.
    Missing(String),
    /// It is there and should not be.
    Extra(String),
    /// It has another size.
    Size(String, u64, u64),
    /// It has the same size and other bytes.
    Bytes(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "has no {name}"),
            Self::Extra(name) => write!(f, "has {name} in addition"),
            Self::Size(name, ours, theirs) => {
                write!(f, "has {theirs} bytes in {name}, not {ours}")
            }
            Self::Bytes(name) => write!(f, "has other bytes in {name}"),
        }
    }
}

impl Fingerprint {
    /// The sample of a folder.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if decides(&name) {
                files.push(Sample::of(name, &entry.path())?);
            }
        }
        if files.iter().all(|file| file.name != "config.json") {
            let problem = "it has no config.json";
            return Err(io::Error::new(io::ErrorKind::NotFound, problem));
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Fingerprint { files })
    }

    /// The first way in which another folder differs from this one.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let find = |files: &[Sample], name: &str| files.iter().find(|it| it.name == name).cloned();
        for ours in &self.files {
            let name = || ours.name.clone();
            match find(&other.files, &ours.name) {
                None => return Some(Difference::Missing(name())),
                Some(theirs) if theirs.bytes != ours.bytes => {
                    return Some(Difference::Size(name(), ours.bytes, theirs.bytes));
                }
                Some(theirs) if theirs != *ours => return Some(Difference::Bytes(name())),
                Some(_) => {}
            }
        }
        let mut theirs = other.files.iter();
        let extra = theirs.find(|it| find(&self.files, &it.name).is_none())?;
        Some(Difference::Extra(extra.name.clone()))
    }
}

fn decides(name: &str) -> bool {
    let ends = [".safetensors", ".safetensors.index.json"];
    name == "config.json" || (!name.starts_with('.') && ends.iter().any(|end| name.ends_with(end)))
}

impl Sample {
    fn of(name: String, path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut hash = Sha256::new();
        let mut take = |start: u64, length: u64| -> io::Result<()> {
            file.seek(SeekFrom::Start(start))?;
            let mut piece = Vec::new();
            (&mut file).take(length).read_to_end(&mut piece)?;
            hash.update(&piece);
            Ok(())
        };
        if bytes <= WHOLE {
            take(0, bytes)?;
        } else {
            take(0, EDGE)?;
            let between = bytes - 2 * EDGE - PLACE;
            for place in 0..PLACES {
                take(EDGE + between / PLACES * place, PLACE)?;
            }
            take(bytes - EDGE, EDGE)?;
        }
        Ok(Sample {
            name,
            bytes,
            sha256: hex(&hash.finalize()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a large file, one byte of which is `changed`.
    fn fingerprint(changed: Option<usize>, config: &str) -> Fingerprint {
        let folder = tempfile::tempdir().unwrap();
        let mut weights = vec![7; 9 << 20];
        if let Some(place) = changed {
            weights[place] = 8;
        }
        fs::write(folder.path().join("model.safetensors"), weights).unwrap();
        fs::write(folder.path().join("config.json"), config).unwrap();
        fs::write(folder.path().join("README.md"), config).unwrap();
        Fingerprint::of(folder.path()).unwrap()
    }

    #[test]
    fn the_first_file_that_differs_is_named() {
        let ours = fingerprint(None, "{}");
        assert_eq!(ours.difference(&fingerprint(None, "{}")), None);
        let size = Difference::Size("config.json".to_owned(), 2, 3);
        assert_eq!(ours.difference(&fingerprint(None, "{ }")), Some(size));
        for place in [0, (9 << 20) - 1, 1 << 20] {
            let bytes = Difference::Bytes("model.safetensors".to_owned());
            assert_eq!(ours.difference(&fingerprint(Some(place), "{}")), Some(bytes));
        }
        let mut less = ours.clone();
        less.files.pop();
        let name = "model.safetensors".to_owned();
        assert_eq!(ours.difference(&less), Some(Difference::Missing(name.clone())));
        assert_eq!(less.difference(&ours), Some(Difference::Extra(name)));
    }
}
