//! Descriptions of a cabling: a file, a folder of reports, stdin, or the embedded rig.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use launch::Cancel;
use rail_matrix::{
    Topology,
    read::{self, Input, MAX_BYTES, ReadError, ReportKind},
};
use rig::Rig;

use crate::{Error, error::At, reports};

/// How often the caller's stop flag is checked while stdin is read.
const TICK: Duration = Duration::from_millis(20);

/// Why a description cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A folder is none of reports.
    #[error("{} has no folder of a node", path.display())]
    NoNodes {
        /// The folder.
        path: PathBuf,
    },
}

impl InputError {
    pub(crate) fn unreadable(path: &Path, source: io::Error) -> Self {
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
            Self::NoNodes { path } => format!(
                "keep what each node's tools say in a folder of its name, such as {}/HOST/{}, as \
                 `discover --save` does",
                path.display(),
                ReportKind::SystemProfiler
            ),
        })
    }
}

/// The cabling that `from` describes, or the embedded rig's.
pub fn topology(
    cancel: &Cancel,
    from: Option<&Path>,
    input: Option<Input>,
) -> Result<Topology, Error> {
    let Some(from) = from else {
        return Ok(Topology::from_rig(&Rig::embedded()).map_err(ReadError::from)?);
    };
    if from.is_dir() && matches!(input, None | Some(Input::Reports)) {
        return read::reports(&reports::read(from)?).at(|| named(from));
    }
    let bytes = bytes(cancel, from)?;
    read::read(&bytes, input).at(|| named(from))
}

/// The contents of a file or of stdin (`-`), but at most one byte more than the limit for
/// reading.
pub fn bytes(cancel: &Cancel, from: &Path) -> Result<Vec<u8>, Error> {
    let bytes = match from.to_str() {
        Some("-") => stdin(cancel)?,
        _ => file(from),
    };
    Ok(bytes.map_err(|source| InputError::unreadable(from, source))?)
}

/// The contents of a file, but at most one byte more than the limit for reading.
///
/// # Errors
/// If it cannot be read.
pub fn file(path: &Path) -> io::Result<Vec<u8>> {
    limited(File::open(path)?)
}

fn limited(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    reader.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads stdin, which a signal does not end: it may wait for a person.
fn stdin(cancel: &Cancel) -> Result<io::Result<Vec<u8>>, Error> {
    let (sender, receiver) = mpsc::channel();
    // Nobody receives it after the caller asked to stop.
    thread::spawn(move || drop(sender.send(limited(io::stdin().lock()))));
    loop {
        cancel.check()?;
        match receiver.recv_timeout(TICK) {
            Ok(read) => return Ok(read),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(Err(io::Error::other("it panicked"))),
        }
    }
}

/// A file's name for people: stdin has no name of its own.
pub fn named(from: &Path) -> String {
    match from.to_str() {
        Some("-") => "stdin".to_owned(),
        _ => from.display().to_string(),
    }
}
