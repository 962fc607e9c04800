//! Reports as files: whole, or not there.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::NamedTempFile;

use super::{Format, Report};

impl Report {
    /// Writes `bench.md`, `bench.json` and `bench.csv` to a folder.
    ///
    /// # Errors
    /// When the folder cannot be written. A file that is there is then either
    /// the old one or the new one.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let files = [
            ("bench.md", Format::Md),
            ("bench.json", Format::Json),
            ("bench.csv", Format::Csv),
        ];
        for (name, format) in files {
            let mut file = temporary(dir)?;
            file.write_all(self.render(format).as_bytes())?;
            file.persist(dir.join(name))?;
        }
        Ok(())
    }
}

/// Makes the folder where it is missing and sees that a file can be made in it.
pub(crate) fn check_output(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    temporary(dir).map(drop)
}

fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".bench-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(dir)
}
