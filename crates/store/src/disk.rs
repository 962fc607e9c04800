//! Names, sizes and removal of whatever lies in a folder of the store.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// What a folder holds, by name; nothing when there is no such folder. A name that is not
/// UTF-8 is none of ours.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// The bytes on disk below `path`, which may be a file. They are counted in blocks of 512
/// bytes, as `du` counts them: thousands of small files take more than they hold.
pub(crate) fn bytes(path: &Path) -> u64 {
    walkdir::WalkDir::new(path)
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|meta| meta.blocks() * 512)
        .sum()
}

/// Whether something has this name, be it a link that leads nowhere.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Removes a folder with all that is in it, a file, or a link but not what it names.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
