//! Reports as files: whole, or not there.

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
    /// When the folder cannot be written. Each file is then either the old one or
    /// the new one, and all are the old ones when the disk is full.
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
        // A full disk has shown itself by now.
        for (file, name) in written {
            file.persist(dir.join(name))?;
        }
        Ok(())
    }
}

/// Makes a folder for reports where it is missing and sees that a file can be made in
/// it, so that a long run does not end in a mistake that could have been seen before.
///
/// # Errors
/// When the folder cannot be made or written.
pub fn check_folder(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    temporary(dir).map(drop)
}

fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".bench-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(dir)
}
