//! The official wheels of a pin, in the store.

use std::path::{Path, PathBuf};

use pins::{OfficialWheel, Pin};
use wheel::Wheel;

use crate::{
    Toolchain,
    error::{Error, Result},
    store::Kind,
};

/// The entry of an official wheel in the store.
pub(crate) fn key(wheel: &OfficialWheel) -> &str {
    &wheel.sha256[..32]
}

/// The one official wheel of a pin whose file's name `is_it`.
///
/// # Errors
/// [`Error::Input`] when the pin lists none.
pub(crate) fn pinned_wheel<'a>(
    pin: &'a Pin,
    what: &str,
    is_it: impl Fn(&str) -> bool,
) -> Result<&'a OfficialWheel> {
    let found = pin.wheels.iter().find(|wheel| is_it(&wheel.file));
    found.ok_or_else(|| Error::Input {
        input: format!("MLX {}", pin.version),
        problem: format!("no official wheel {what} is pinned"),
        remedy: format!(
            "add its hash to {}, or pass the file with --base",
            pin.folder.join(pins::WHEELS_FILE).display()
        ),
    })
}

impl Toolchain {
    /// An official wheel, downloaded by pip when the store does not have it.
    ///
    /// # Errors
    /// When pip is missing or cannot reach an index; when what it downloads is not the
    /// pinned file.
    pub fn official_wheel(&self, wheel: &OfficialWheel) -> Result<PathBuf> {
        let check = |entry: &Path| match entry.join(&wheel.file) {
            // By its content at each use, because a wheel that is handed on is made of it.
            file if file.is_file() => {
                let (sha256, _) = Wheel::sha256(&file)?;
                Ok((sha256 == wheel.sha256).then_some(()))
            }
            _ => Ok(None),
        };
        let entry = self.make_entry(Kind::Wheel, key(wheel), check, |scratch| {
            self.progress.step("Fetching", &wheel.file);
            let made = scratch.join("wheel");
            self.pip_download(wheel, &made, scratch)?;
            if check(&made)?.is_none() {
                let problem = format!("pip succeeded, but did not leave {}", wheel.file);
                return Err(Error::malformed(&made, problem));
            }
            self.progress.finish();
            Ok((made, ()))
        })?;
        Ok(entry.path.join(&wheel.file))
    }
}
