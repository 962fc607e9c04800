//! The matrix of a verb that runs ranks over a rig: the planner's, as `matrix` prints it, or
//! one that somebody else made (`--devices FILE`).

use std::{
    io,
    path::{Path, PathBuf},
};

use pins::Pin;
use rail_matrix::{Given, Jaccl};
use rig::Rig;

use crate::exit::{Context, Result};

/// A file with a matrix cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the matrix {}", path.display())]
pub struct UnreadableMatrix {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl UnreadableMatrix {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        Some("name a file that can be read, or none to run the planner's matrix".to_owned())
    }
}

/// The contents of the file of `--devices`, but at most one byte more than the limit for
/// reading.
pub fn document(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |source| UnreadableMatrix {
        path: path.to_owned(),
        source,
    };
    matrix_cli::read_file(path)
        .map_err(unreadable)
        .with_context(|| "--devices")
}

/// The matrix of a file over a rig.
pub fn given(path: &Path, rig: &Rig) -> Result<Given> {
    Given::over(&document(path)?, rig).with_context(|| place(path))
}

/// Where an error in the matrix of a file is.
pub fn place(path: &Path) -> String {
    format!("--devices {}", path.display())
}

/// The properties of a pin's jaccl.
pub fn jaccl(pin: &Pin) -> Result<Jaccl> {
    let version = pin.version.parse::<Jaccl>();
    version.with_context(|| "the properties of its jaccl are unknown")
}
