//! Reports as files, each complete or absent.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::NamedTempFile;

use super::Report;

impl Report {
    /// Writes `bench.md`, `bench.json` and `bench.csv` to a folder.
    ///
    /// # Errors
    /// When the folder cannot be written. Each file is then either the old or the new
    /// one. If the disk is full, all are the old ones.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let files = [
            ("bench.md", self.markdown()),
            ("bench.json", self.json()),
            ("bench.csv", self.csv()),
        ];
        let mut written = Vec::new();
        for (name, text) in files {
            let mut file = temporary(dir)?;
            file.write_all(text.as_bytes())?;
            written.push((file, name));
        }
        // A full disk has caused an error by now.
        for (file, name) in written {
            file.persist(dir.join(name))?;
        }
        Ok(())
    }
}

/// Creates a folder for reports if it is missing, and checks that a file can be created
/// in it, so that an error that could be found early does not end a long run.
///
/// # Errors
/// When the folder cannot be created or written.
pub fn check_folder(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    temporary(dir).map(drop)
}

pub(crate) fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".bench-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(dir)
}
