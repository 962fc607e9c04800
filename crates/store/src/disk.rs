//! Names, sizes and removal of the contents of a folder of the store.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// The contents of a folder by name; empty if there is no such folder. A name that is not
/// UTF-8 does not belong to the store.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// The bytes on disk below `path`, which may be a file. They are counted in blocks of 512
/// bytes, as `du` counts them: thousands of small files take more space than their
/// length.
pub(crate) fn bytes(path: &Path) -> u64 {
    walkdir::WalkDir::new(path)
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|meta| meta.blocks() * 512)
        .sum()
}

/// Whether a file, folder or link has this name, even a link whose target is missing.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Removes a folder with its contents, a file, or a link without its target.
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
