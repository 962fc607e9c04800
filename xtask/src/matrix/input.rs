//! Descriptions of a cabling: a file, a folder of reports, stdin, or the embedded rig.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use rail_matrix::{
    Topology,
    read::{self, Input, MAX_BYTES, ReportKind},
};
use rig::Rig;

use super::reports;
use crate::exit::{Context, Result};

/// Why a description cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the rig {}", path.display())]
    Rig {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} has no folder of a node", path.display())]
    NoNodes { path: PathBuf },
}

impl InputError {
    pub fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            source,
        }
    }

    /// The remedy.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => {
                "name a file, a folder of reports, or - for stdin".to_owned()
            }
            Self::Rig { .. } => {
                "name a file with --rig, or leave it out to use the embedded rig".to_owned()
            }
            Self::NoNodes { path } => format!(
                "keep what each node's tools say in a folder of its name, such as {}/HOST/{}, as \
                 `matrix discover --save` does",
                path.display(),
                ReportKind::SystemProfiler
            ),
        })
    }
}

/// The cabling that `from` describes, or the embedded rig's.
pub fn topology(from: Option<&Path>, input: Option<Input>) -> Result<Topology> {
    let Some(from) = from else {
        return Ok(Topology::from_rig(&Rig::embedded())?);
    };
    if from.is_dir() && matches!(input, None | Some(Input::Reports)) {
        return read::reports(&reports::read(from)?).with_context(|| named(from));
    }
    let bytes = bytes(from)?;
    read::read(&bytes, input).with_context(|| named(from))
}

/// The rig of a `rig.toml`.
pub fn rig(path: &Path) -> Result<Rig> {
    let text = fs::read_to_string(path).map_err(|source| InputError::Rig {
        path: path.to_owned(),
        source,
    })?;
    Rig::parse(&text).with_context(|| named(path))
}

/// The contents of a file or of stdin (`-`), but at most one byte more than the limit for
/// reading.
pub fn bytes(from: &Path) -> Result<Vec<u8>, InputError> {
    let read = |reader: &mut dyn Read| {
        let mut bytes = Vec::new();
        let limit = MAX_BYTES as u64 + 1;
        reader.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = match from.to_str() {
        Some("-") => read(&mut io::stdin().lock()),
        _ => File::open(from).and_then(|mut file| read(&mut file)),
    };
    bytes.map_err(|source| InputError::unreadable(from, source))
}

/// A file's name for people: stdin has no name of its own.
pub fn named(from: &Path) -> String {
    match from.to_str() {
        Some("-") => "stdin".to_owned(),
        _ => from.display().to_string(),
    }
}
