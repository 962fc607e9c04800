//! The folder of a release: made beside its place, summed, and named when it is whole.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use patch_series::Patch;
use serde::Serialize;
use tempfile::TempDir;
use wheel::{Wheel, overlay::MANIFEST};

use super::relative;
use crate::exit::{Context, Failure, Kind, Result};

/// The list of files with their hashes, as `sha256sum -c` reads it.
pub const SUMS: &str = "SHA256SUMS";

/// A release that is being made. It disappears unless it is published.
pub struct Draft {
    scratch: TempDir,
    place: PathBuf,
}

/// A file of a release.
#[derive(Debug, Serialize)]
pub struct Summed {
    pub path: PathBuf,
    pub sha256: String,
    pub bytes: u64,
}

impl Draft {
    /// A draft beside `place`, which is to be free, empty, or an earlier release.
    pub fn of(place: &Path) -> Result<Self> {
        let place = std::path::absolute(place).map_err(Failure::ours)?;
        let unfit = |problem: &str| {
            let error = anyhow!("{}: {problem}", place.display());
            Failure::new(Kind::Input, error).help("name another folder with --out-dir".to_owned())
        };
        if place.is_file() {
            return Err(unfit("is a file"));
        }
        let is_empty = || fs::read_dir(&place).is_ok_and(|mut it| it.next().is_none());
        if place.is_dir() && !place.join(SUMS).is_file() && !is_empty() {
            return Err(unfit("has files in it that are of no release"));
        }
        let parent = place.parent().unwrap_or(&place);
        let refused = |error| unfit(&format!("its folder cannot be written ({error})"));
        fs::create_dir_all(parent).map_err(refused)?;
        let scratch = tempfile::Builder::new()
            .prefix(".making-")
            .tempdir_in(parent);
        Ok(Draft {
            scratch: scratch.map_err(refused)?,
            place,
        })
    }

    /// Where files are put.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Writes one file.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path().join(name);
        fs::write(&path, content)
            .map_err(Failure::ours)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes [`SUMS`], and gives what it lists.
    pub fn sum(&self) -> Result<Vec<Summed>> {
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(self.path()).sort_by_file_name() {
            let entry = entry.map_err(Failure::ours)?;
            if !entry.file_type().is_file() || entry.file_name() == SUMS {
                continue;
            }
            let (sha256, bytes) = Wheel::sha256(entry.path())?;
            files.push(Summed {
                path: relative(entry.path(), self.path()),
                sha256,
                bytes,
            });
        }
        let lines = files
            .iter()
            .map(|it| format!("{}  {}\n", it.sha256, it.path.display()));
        self.write(SUMS, lines.collect::<String>().as_bytes())?;
        Ok(files)
    }

    /// Gives the folder its name, in place of an earlier release.
    pub fn publish(self) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let Draft { scratch, place } = self;
        let at = || format!("cannot put the release into {}", place.display());
        let readable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(scratch.path(), readable)
            .map_err(Failure::ours)
            .with_context(at)?;
        let made = scratch.keep();
        let earlier = made.with_extension("earlier");
        if place.is_dir() {
            fs::rename(&place, &earlier)
                .map_err(Failure::ours)
                .with_context(at)?;
        }
        fs::rename(&made, &place)
            .map_err(Failure::ours)
            .with_context(at)?;
        let _ = fs::remove_dir_all(&earlier);
        Ok(place)
    }
}

/// The files in a folder with this end, sorted.
pub fn files_with(folder: &Path, end: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)
        .map_err(Failure::ours)
        .with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.flatten().map(|it| it.path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|it| it == end))
        .collect();
    files.sort();
    Ok(files)
}

/// Puts a wheel's manifest beside it.
pub fn extract_manifest(path: &Path) -> Result<()> {
    let mut wheel = Wheel::open(path)?;
    let manifest = wheel.read(&wheel.of_dist_info(MANIFEST))?;
    let file = path.with_extension("json");
    fs::write(&file, manifest)
        .map_err(Failure::ours)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Copies the patches that were applied, and writes their order.
pub fn copy_patches(patches: &[Patch], to: &Path) -> Result<()> {
    fs::create_dir_all(to)
        .map_err(Failure::ours)
        .with_context(|| format!("cannot create {}", to.display()))?;
    let mut order = String::new();
    for Patch { name, file, .. } in patches {
        fs::copy(file, to.join(format!("{name}.patch")))
            .map_err(Failure::ours)
            .with_context(|| format!("cannot copy {}", file.display()))?;
        order += &format!("{name}.patch\n");
    }
    fs::write(to.join("series"), order)
        .map_err(Failure::ours)
        .with_context(|| format!("cannot write into {}", to.display()))
}

#[cfg(test)]
mod tests {
    use patch_series::{Class, Header};

    use super::*;

    #[test]
    fn the_patches_of_a_release_are_those_that_were_applied() {
        let folder = tempfile::tempdir().expect("a folder");
        let patch = |name: &str, class| {
            let file = folder.path().join(format!("{name}.patch"));
            fs::write(&file, name).expect("written");
            Patch {
                name: name.to_owned(),
                sha256: String::new(),
                header: Header::parse(""),
                file,
                class,
            }
        };
        patch("fast", Class::Performance);
        let applied = [
            patch("port", Class::Portability),
            patch("a-fix", Class::Fix),
        ];
        let to = folder.path().join("release/patches");
        copy_patches(&applied, &to).expect("copied");
        let series = fs::read_to_string(to.join("series")).expect("there");
        assert_eq!(series, "port.patch\na-fix.patch\n");
        let fix = fs::read_to_string(to.join("a-fix.patch")).expect("there");
        assert_eq!(fix, "a-fix");
        assert_eq!(fs::read_dir(&to).expect("a folder").count(), 3);
    }

    #[test]
    fn a_release_takes_the_place_of_an_earlier_one_and_of_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("dist/release");
        for content in ["one", "two"] {
            let draft = Draft::of(&place).expect("free");
            draft
                .write("README.md", content.as_bytes())
                .expect("written");
            let files = draft.sum().expect("summed");
            assert_eq!(files.len(), 1);
            assert_eq!(draft.publish().expect("published"), place);
            let readme = fs::read_to_string(place.join("README.md")).expect("there");
            assert_eq!(readme, content);
            let sums = fs::read_to_string(place.join(SUMS)).expect("there");
            assert_eq!(sums, format!("{}  README.md\n", files[0].sha256));
        }
        let beside = fs::read_dir(place.parent().expect("a parent")).expect("there");
        assert_eq!(beside.count(), 1, "nothing is left beside it");
        fs::remove_file(place.join(SUMS)).expect("removed");
        Draft::of(&place).err().expect("files of somebody");
        Draft::of(&place.join("README.md")).err().expect("a file");
    }

    #[test]
    fn a_draft_that_is_not_published_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let draft = Draft::of(&folder.path().join("release")).expect("free");
        draft.write("README.md", b"half").expect("written");
        drop(draft);
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
    }
}
