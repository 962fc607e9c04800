//! Files that travel: what they are called, and what is in them.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::{Error, Result};

/// A file or a folder of this machine, and its name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The name: a path below the tree's folder.
    pub name: String,
    /// The file or folder.
    pub local: PathBuf,
}

impl Part {
    /// A part.
    pub fn new(name: impl Into<String>, local: impl Into<PathBuf>) -> Self {
        Part {
            name: name.into(),
            local: local.into(),
        }
    }
}

/// Files and symbolic links in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tree {
    /// In the order of their paths.
    pub entries: Vec<Entry>,
}

/// A file or a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Below the tree's folder.
    pub path: String,
    /// What it is.
    pub content: Content,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A file.
    File(Blob),
    /// A symbolic link to this path.
    Link(PathBuf),
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The hash of its bytes.
    pub sha256: String,
    /// How many bytes.
    pub bytes: u64,
    /// Whether it is a program.
    pub executable: bool,
}

impl Blob {
    /// Its name in a stage. Two names for one file cannot have different modes.
    pub fn name(&self) -> String {
        match self.executable {
            true => format!("{}-x", self.sha256),
            false => self.sha256.clone(),
        }
    }
}

impl Tree {
    /// The tree of some parts, and the local file of each entry. Calls back with the bytes
    /// hashed so far and the bytes in all.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(parts: &[Part], mut hashed: impl FnMut(u64, u64)) -> Result<(Self, Vec<PathBuf>)> {
        let mut found = Vec::new();
        for Part { name, local } in parts {
            let root = fs::canonicalize(local).map_err(|source| Error::local(local, source))?;
            for entry in WalkDir::new(&root).sort_by_file_name() {
                let entry = entry.map_err(|error| Error::local(local, error.into()))?;
                if !entry.file_type().is_dir() {
                    let below = entry.path().strip_prefix(&root).unwrap_or(entry.path());
                    let path = Path::new(name).join(below);
                    // Joining an empty path adds a separator.
                    let path = path.components().collect::<PathBuf>();
                    found.push((path.to_string_lossy().into_owned(), entry.into_path()));
                }
            }
        }
        found.sort();
        let length = |path: &PathBuf| fs::symlink_metadata(path).map_or(0, |it| it.len());
        let all: u64 = found.iter().map(|(_, local)| length(local)).sum();
        let mut done = 0;
        let mut tree = Tree::default();
        let mut sources = Vec::new();
        for (path, local) in found {
            let content = content(&local).map_err(|source| Error::local(&local, source))?;
            done += length(&local);
            hashed(done, all);
            tree.entries.push(Entry { path, content });
            sources.push(local);
        }
        Ok((tree, sources))
    }

    /// The name of the tree: a hash of all that it says.
    pub fn key(&self) -> String {
        let text = serde_json::to_vec(self).expect("a tree is plain data");
        hex(&Sha256::digest(text))[..32].to_owned()
    }

    /// Whether every path stays below the tree's folder.
    pub fn is_below(&self) -> bool {
        let normal = |part: Component| matches!(part, Component::Normal(_));
        let mut paths = self.entries.iter().map(|entry| Path::new(&entry.path));
        paths.all(|path| path.components().all(normal) && path.file_name().is_some())
    }
}

fn content(path: &Path) -> io::Result<Content> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(Content::Link(fs::read_link(path)?));
    }
    Ok(Content::File(Blob {
        sha256: sha256(File::open(path)?)?,
        bytes: metadata.len(),
        executable: metadata.permissions().mode() & 0o100 != 0,
    }))
}

/// The hash of all that a reader gives.
///
/// # Errors
/// Those of the reader.
pub fn sha256(mut reader: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            length => hash.update(&buffer[..length]),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_tree_has_files_and_links_below_the_names_of_their_parts() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("env/lib")).unwrap();
        fs::write(folder.path().join("env/lib/a.py"), "a").unwrap();
        symlink("a.py", folder.path().join("env/lib/b.py")).unwrap();
        fs::write(folder.path().join("rank"), "r").unwrap();
        let parts = [
            Part::new("program", folder.path().join("rank")),
            Part::new("python", folder.path().join("env")),
        ];
        let (tree, sources) = Tree::of(&parts, |_, _| {}).unwrap();
        let paths: Vec<_> = tree.entries.iter().map(|it| &*it.path).collect();
        assert_eq!(paths, ["program", "python/lib/a.py", "python/lib/b.py"]);
        assert_eq!(tree.entries[2].content, Content::Link("a.py".into()));
        assert_eq!(sources[0], fs::canonicalize(&parts[0].local).unwrap());
        assert!(tree.is_below());

        fs::write(folder.path().join("env/lib/a.py"), "b").unwrap();
        let (changed, _) = Tree::of(&parts, |_, _| {}).unwrap();
        assert_ne!(changed.key(), tree.key());
    }

    #[test]
    fn a_path_that_leaves_its_tree_is_seen() {
        for path in ["../a", "/a", "a/../../b", ""] {
            let entry = Entry {
                path: path.to_owned(),
                content: Content::Link("x".into()),
            };
            let entries = vec![entry];
            assert!(!Tree { entries }.is_below(), "{path}");
        }
    }
}
