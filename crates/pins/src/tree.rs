//! Git tree ids, computed without a repository.
//!
//! A pin is a git tree id. Hashing a folder the way git does lets any transport
//! deliver the sources, and lets anyone check the pin against upstream with
//! `git rev-parse TAG^{tree}`. A [`Listing`] beside the pin holds every file's
//! blob id, so that a differing byte can be named and not only noticed.
//!
//! Format: git's object database, `Documentation/gitformat-pack` and
//! `git hash-object`: `sha1("blob <len>\0" + bytes)`, and for a tree
//! `sha1("tree <len>\0" + entries)` with entries `"<mode> <name>\0" + id`
//! sorted as if folders ended in `/`.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry as MapEntry},
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use sha1_checked::{Digest, Sha1};

use crate::error::{Error, IoContext, Result};

/// A git object id (SHA-1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectId([u8; 20]);

impl ObjectId {
    fn of(kind: &str, content: &[u8]) -> Self {
        // The checked variant refuses SHA-1's known collisions, as git does.
        let mut hasher = Sha1::new();
        hasher.update(format!("{kind} {}\0", content.len()));
        hasher.update(content);
        ObjectId(hasher.finalize().into())
    }

    /// The id git gives a file with this content.
    pub fn of_blob(content: &[u8]) -> Self {
        Self::of("blob", content)
    }

    /// The first twelve hex digits: enough to tell trees apart on a screen.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = String;

    fn from_str(hex: &str) -> Result<Self, String> {
        let invalid = || format!("{hex:?} is not a git object id (40 hex digits)");
        if hex.len() != 40 || !hex.is_ascii() {
            return Err(invalid());
        }
        let mut id = [0; 20];
        for (byte, at) in id.iter_mut().zip((0..40).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| invalid())?;
        }
        Ok(ObjectId(id))
    }
}

impl TryFrom<String> for ObjectId {
    type Error = String;

    fn try_from(hex: String) -> Result<Self, String> {
        hex.parse()
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> String {
        id.to_string()
    }
}

/// The three kinds of file a git tree of sources holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `100644`
    File,
    /// `100755`
    Executable,
    /// `120000`; the blob is the target's path.
    Link,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Mode::File => "100644",
            Mode::Executable => "100755",
            Mode::Link => "120000",
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(mode: &str) -> Result<Self, String> {
        match mode {
            "100644" => Ok(Mode::File),
            "100755" => Ok(Mode::Executable),
            "120000" => Ok(Mode::Link),
            _ => Err(format!("{mode:?} is not a file mode of git")),
        }
    }
}

/// One file of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What kind of file.
    pub mode: Mode,
    /// Its content's id.
    pub blob: ObjectId,
}

/// Every file of a tree with its mode and blob id, by path (`/`-separated).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    entries: BTreeMap<String, Entry>,
}

impl Listing {
    /// Reads and hashes a folder. A `.git` at its top is not part of the tree.
    ///
    /// # Errors
    /// When a file cannot be read, a name is not UTF-8, or something there is neither
    /// a file nor a folder nor a link.
    pub fn of_folder(root: &Path) -> Result<Self> {
        let mut entries = BTreeMap::new();
        let walk = walkdir::WalkDir::new(root)
            .into_iter()
            .filter_entry(|e| !(e.depth() == 1 && e.file_name() == ".git"));
        for found in walk {
            let found = found.map_err(|error| unreadable(root, error))?;
            let (kind, path) = (found.file_type(), found.path());
            if kind.is_dir() {
                continue;
            }
            if !kind.is_file() && !kind.is_symlink() {
                return Err(not_in_git(path, kind));
            }
            let name = path
                .strip_prefix(root)
                .ok()
                .and_then(Path::to_str)
                .ok_or_else(|| Error::malformed(path, "the file's name is not UTF-8"))?;
            entries.insert(name.to_owned(), Entry::of_file(path)?);
        }
        Ok(Listing { entries })
    }

    /// Parses the text that `git ls-tree -r TREE` prints.
    ///
    /// # Errors
    /// A line that is not `<mode> blob <id>\t<path>`, by its number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut entries = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let (entry, path) =
                Entry::parse(line).map_err(|problem| format!("line {}: {problem}", number + 1))?;
            entries.insert(path.to_owned(), entry);
        }
        Ok(Listing { entries })
    }

    /// The files, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no file at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// This listing without the file at `path`.
    pub fn without(mut self, path: &str) -> Self {
        self.entries.remove(path);
        self
    }

    /// The git tree id of this listing.
    pub fn tree_id(&self) -> ObjectId {
        let files: Vec<_> = self.iter().collect();
        subtree_id(&files)
    }

    /// Names that a disk without regard to case cannot hold side by side, in pairs:
    /// two files or folders of one folder that differ only by case.
    pub fn case_collisions(&self) -> Vec<(&str, &str)> {
        let mut known: BTreeMap<String, &str> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for path in self.entries.keys() {
            let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
            for name in folders.chain([path.as_str()]) {
                match known.entry(name.to_lowercase()) {
                    MapEntry::Vacant(free) => {
                        free.insert(name);
                    }
                    MapEntry::Occupied(taken) if *taken.get() != name => {
                        found.insert((*taken.get(), name));
                    }
                    MapEntry::Occupied(_) => {}
                }
            }
        }
        found.into_iter().collect()
    }

    /// Refuses what a disk without regard to case would mix up.
    fn fits(&self, to: &Path, tells_case: impl FnOnce(&Path) -> Result<bool>) -> Result<()> {
        let collisions = self.case_collisions();
        let Some((one, other)) = collisions.first() else {
            return Ok(());
        };
        if tells_case(to)? {
            return Ok(());
        }
        Err(Error::Input {
            input: to.display().to_string(),
            problem: format!("cannot hold {one} beside {other}: its disk ignores case"),
            remedy: "put the store on a disk that tells case apart, with MLX_RAILS_STORE=DIR"
                .into(),
        })
    }

    /// What `other` has differently, one line a file, empty when equal. Changed
    /// files come first: they tell more than those a wrong folder lacks.
    ///
    /// A `.DS_Store` that is not listed here is no difference: macOS puts one into
    /// every folder that somebody looks at, and [`Listing::sync`] copies only what is
    /// listed.
    pub fn differences(&self, other: &Listing) -> Vec<String> {
        let (mut changed, mut missing) = (Vec::new(), Vec::new());
        for (path, pinned) in &self.entries {
            match other.entries.get(path) {
                None => missing.push(format!("{path}: missing")),
                Some(found) if found.blob != pinned.blob => changed.push(format!(
                    "{path}: content differs (blob {}, pinned {})",
                    found.blob.short(),
                    pinned.blob.short()
                )),
                Some(found) if found.mode != pinned.mode => changed.push(format!(
                    "{path}: mode is {}, pinned {}",
                    found.mode.as_str(),
                    pinned.mode.as_str()
                )),
                Some(_) => {}
            }
        }
        let extra = other
            .entries
            .keys()
            .filter(|path| !self.entries.contains_key(*path) && !is_left_by_finder(path));
        changed.extend(extra.map(|path| format!("{path}: not in the pinned tree")));
        changed.append(&mut missing);
        changed
    }

    /// Writes into `to` the files of this listing that it lacks or has
    /// differently, taking them from `from`, and removes what does not belong.
    /// Unchanged files keep their modification time, so that an incremental
    /// build rebuilds only what the change touches.
    ///
    /// # Errors
    /// When a file cannot be read, written or removed, or when two names differ only
    /// by case and the disk of `to` takes them for one.
    pub fn sync(&self, from: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to).at("create", to)?;
        self.fits(to, tells_case)?;
        let present = Listing::of_folder(to)?;
        for path in present.entries.keys() {
            if !self.entries.contains_key(path) {
                let stray = to.join(path);
                fs::remove_file(&stray).at("remove", &stray)?;
            }
        }
        self.remove_other_folders(to)?;
        for (path, entry) in &self.entries {
            if present.entries.get(path) != Some(entry) {
                entry.mode.copy(&from.join(path), &to.join(path))?;
            }
        }
        Ok(())
    }

    /// Removes the folders below `to` that hold no file of this listing. They are
    /// empty; git knows no such folders, and a file may be about to take the name.
    fn remove_other_folders(&self, to: &Path) -> Result<()> {
        let mut ours = BTreeSet::new();
        for path in self.entries.keys() {
            ours.extend(
                path.match_indices('/')
                    .map(|(end, _)| to.join(&path[..end])),
            );
        }
        let git = to.join(".git");
        for found in walkdir::WalkDir::new(to).min_depth(1).contents_first(true) {
            let found = found.map_err(|error| unreadable(to, error))?;
            let path = found.path();
            if found.file_type().is_dir() && !ours.contains(path) && !path.starts_with(&git) {
                fs::remove_dir(path).at("remove", path)?;
            }
        }
        Ok(())
    }
}

/// As `git ls-tree -r` prints it.
impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(path, entry)| {
            writeln!(f, "{} blob {}\t{path}", entry.mode.as_str(), entry.blob)
        })
    }
}

impl Entry {
    fn of_file(path: &Path) -> Result<Self> {
        let meta = fs::symlink_metadata(path).at("read", path)?;
        if meta.is_symlink() {
            let target = fs::read_link(path).at("read", path)?;
            return Ok(Entry {
                mode: Mode::Link,
                blob: ObjectId::of_blob(target.as_os_str().as_encoded_bytes()),
            });
        }
        let content = fs::read(path).at("read", path)?;
        let mode = if is_executable(&meta) {
            Mode::Executable
        } else {
            Mode::File
        };
        Ok(Entry {
            mode,
            blob: ObjectId::of_blob(&content),
        })
    }

    fn parse(line: &str) -> Result<(Self, &str), String> {
        let shape = || format!("{line:?} is not \"<mode> blob <id>\\t<path>\"");
        let (meta, path) = line.split_once('\t').ok_or_else(shape)?;
        let mut words = meta.split(' ');
        let (Some(mode), Some("blob"), Some(blob), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(shape());
        };
        let entry = Entry {
            mode: mode.parse()?,
            blob: blob.parse()?,
        };
        Ok((entry, path))
    }
}

impl Mode {
    fn copy(self, from: &Path, to: &Path) -> Result<()> {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).at("create", folder)?;
        }
        // The destination may be a link; writing through it would leave the tree.
        match fs::remove_file(to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).at("replace", to),
            _ => {}
        }
        match self {
            Mode::Link => {
                let target: PathBuf = fs::read_link(from).at("read", from)?;
                std::os::unix::fs::symlink(target, to).at("create", to)
            }
            Mode::File | Mode::Executable => {
                use std::os::unix::fs::PermissionsExt;
                let content = fs::read(from).at("read", from)?;
                fs::write(to, content).at("write", to)?;
                let bits = if self == Mode::Executable {
                    0o755
                } else {
                    0o644
                };
                fs::set_permissions(to, fs::Permissions::from_mode(bits)).at("set the mode of", to)
            }
        }
    }
}

/// Whether the folder is the tree, byte by byte.
///
/// # Errors
/// When something in it cannot be read.
pub fn is_tree(folder: &Path, tree: ObjectId) -> Result<Option<()>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    match Listing::of_folder(folder) {
        Ok(found) => Ok((found.tree_id() == tree).then_some(())),
        // It holds something that no tree holds, such as a socket.
        Err(Error::Malformed { .. } | Error::Input { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unreadable(root: &Path, error: walkdir::Error) -> Error {
    Error::Io {
        action: "read",
        path: error.path().unwrap_or(root).to_path_buf(),
        source: error
            .into_io_error()
            .unwrap_or_else(|| std::io::Error::other("its links go in a circle")),
    }
}

/// The refusal of what would be read for ever, or has no content to hash.
fn not_in_git(path: &Path, kind: fs::FileType) -> Error {
    use std::os::unix::fs::FileTypeExt;
    let name = match kind {
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "no file",
    };
    Error::Input {
        input: path.display().to_string(),
        problem: format!("is {name}, and a source tree holds files, folders and links"),
        remedy: "remove it, or pass a folder without it".into(),
    }
}

fn is_left_by_finder(path: &str) -> bool {
    path.rsplit('/').next() == Some(".DS_Store")
}

/// Whether the disk of a folder takes `a` and `A` for two names.
fn tells_case(folder: &Path) -> Result<bool> {
    let probe = tempfile::Builder::new()
        .prefix("case-")
        .rand_bytes(8)
        .tempfile_in(folder)
        .at("create a file in", folder)?;
    let name = probe.path().file_name().unwrap_or_default();
    let other = name.to_string_lossy().to_uppercase();
    Ok(!folder.join(other).exists())
}

fn is_executable(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o100 != 0
}

/// `files` are sorted by path and relative to this subtree.
fn subtree_id(files: &[(&str, &Entry)]) -> ObjectId {
    let mut children: Vec<(String, &str, &str, ObjectId)> = Vec::new();
    let mut rest = files;
    while let Some((path, entry)) = rest.first() {
        match path.split_once('/') {
            None => {
                children.push(((*path).to_owned(), path, entry.mode.as_str(), entry.blob));
                rest = &rest[1..];
            }
            Some((folder, _)) => {
                let inside = |p: &str| {
                    p.strip_prefix(folder)
                        .and_then(|p| p.strip_prefix('/'))
                        .map(str::len)
                };
                let below: Vec<_> = rest
                    .iter()
                    .map_while(|(p, e)| inside(p).map(|len| (&p[p.len() - len..], *e)))
                    .collect();
                children.push((format!("{folder}/"), folder, "40000", subtree_id(&below)));
                rest = &rest[below.len()..];
            }
        }
    }
    children.sort_by(|a, b| a.0.cmp(&b.0));
    let mut content = Vec::new();
    for (_, name, mode, id) in &children {
        content.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        content.extend_from_slice(&id.0);
    }
    ObjectId::of("tree", &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_by_case_are_refused_only_where_the_disk_ignores_it() {
        let listing = |paths: &[&str]| Listing {
            entries: paths
                .iter()
                .map(|path| {
                    let entry = Entry {
                        mode: Mode::File,
                        blob: ObjectId::of_blob(b""),
                    };
                    ((*path).to_owned(), entry)
                })
                .collect(),
        };
        let folder = Path::new("folder");
        let two = listing(&["README", "src/a", "readme"]);
        assert!(two.fits(folder, |_| Ok(true)).is_ok());
        let error = two.fits(folder, |_| Ok(false)).unwrap_err().to_string();
        for part in ["folder", "README", "readme", "case"] {
            assert!(error.contains(part), "{error}");
        }
        // The disk is not asked where there is nothing to mix up.
        let one = listing(&["README", "src/README"]);
        assert!(one.fits(folder, |_| unreachable!()).is_ok());
    }
}
