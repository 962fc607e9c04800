//! The wheel of `rail-matrix`.
//!
//! maturin compiles `crates/rail-matrix-py` for every CPython since 3.10 at once (its
//! stable ABI) and packs it. The same sources and compiler give the same bytes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use xshell::cmd;

use super::Built;
use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    pip::PipSet,
    process::shell_in,
    store::Kind,
    tools,
};

/// maturin, with the hash of every file that pip may download for it.
const MATURIN: &str = include_str!("../../pins/maturin.txt");

impl Toolchain {
    /// Builds the wheel of `rail-matrix` into `out`, where it appears by rename when it is
    /// whole. Cargo reaches the network only for crates that it has not fetched yet, pip
    /// only for a maturin that the store does not have.
    ///
    /// # Errors
    /// When maturin cannot be installed, the module does not compile, or `out` cannot be
    /// written.
    pub fn rail_matrix_wheel(&self, out: &Path) -> Result<Built> {
        let out = &std::path::absolute(out).at("resolve", out)?;
        fs::create_dir_all(out).at("create", out)?;
        // Beside the wheel's place, because a rename cannot leave a disk.
        let scratch = tempfile::Builder::new()
            .prefix(".making-")
            .tempdir_in(out)
            .at("create a folder in", out)?;
        let (shell, maturin, into) = (shell_in(&self.root)?, self.maturin()?, scratch.path());
        let maturin = cmd!(
            shell,
            "{maturin} build --release --locked --manifest-path crates/rail-matrix-py/Cargo.toml
             --out {into}"
        )
        // The stable ABI needs no interpreter, and which one there is changes nothing.
        .env("PYO3_NO_PYTHON", "1")
        .envs(self.offline.then_some(("CARGO_NET_OFFLINE", "true")));
        self.progress.step("Building", "the rail-matrix wheel");
        launch::run(
            &self.launcher,
            "building the rail-matrix wheel",
            maturin,
            None,
            |_| {},
        )?;
        self.progress.finish();
        let made = only_wheel(scratch.path())?;
        let path = out.join(made.file_name().unwrap_or_default());
        fs::rename(&made, &path).at("create", &path)?;
        Built::whole(path)
    }

    /// Installs maturin when the store does not have it.
    fn maturin(&self) -> Result<PathBuf> {
        let root = self.pip_install(&maturin_set(), |root| tools::maturin(root).is_file())?;
        Ok(tools::maturin(&root))
    }

    /// Whether the store has maturin.
    pub(crate) fn maturin_is_present(&self) -> bool {
        (self.store().entry(Kind::Tools, &maturin_set().key))
            .is_ok_and(|root| tools::maturin(&root).is_file())
    }
}

pub(crate) fn maturin_set() -> PipSet {
    PipSet::new("maturin", MATURIN)
}

fn only_wheel(folder: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(folder).at("read", folder)?.flatten();
    let mut wheels = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "whl"));
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        _ => Err(Error::malformed(
            folder,
            "maturin succeeded, but did not leave one wheel",
        )),
    }
}
