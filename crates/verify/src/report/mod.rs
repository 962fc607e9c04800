//! The reports of a run: JSON for programs, tables and a page for people.

mod html;
mod json;
mod markdown;
mod tally;

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nodes::NodeFacts;
use tempfile::NamedTempFile;

use crate::{
    run::{Outcome, Stop},
    selection::Level,
    setup::GivenMatrix,
};

/// The outcomes of a run, to be rendered.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    level: Level,
    outcomes: &'a [Outcome],
    nodes: &'a [NodeFacts],
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report {}", path.display())]
pub struct WriteError {
    /// The file.
    path: PathBuf,
    /// The reason.
    #[source]
    source: io::Error,
}

impl WriteError {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        Some("name another folder".to_owned())
    }

    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| WriteError { path, source }
    }
}

impl<'a> Report<'a> {
    /// The report of variants that were verified at a level.
    pub fn new(level: Level, outcomes: &'a [Outcome]) -> Self {
        Report {
            level,
            outcomes,
            nodes: &[],
        }
    }

    /// The same report of ranks on these machines.
    #[must_use]
    pub fn on(self, nodes: &'a [NodeFacts]) -> Self {
        Report { nodes, ..self }
    }

    /// Schema `mlx-rails/verify/1`.
    pub fn json(&self) -> String {
        let report = json::report(self.level, self.outcomes, self.nodes);
        serde_json::to_string_pretty(&report).expect("a report is plain data")
    }

    /// Tables.
    pub fn markdown(&self) -> String {
        markdown::report(self.level, self.outcomes)
    }

    /// One page without external resources. Its size grows with the failures, of which it
    /// lists 200 of each kind, and with the lengths at which verdicts change, but not
    /// with the cases.
    pub fn html(&self) -> String {
        html::report(self.level, self.outcomes)
    }

    /// Writes `verify.json`, `verify.md` and `verify.html` into a folder. No file gets
    /// its name before all are complete.
    ///
    /// # Errors
    /// If one of them cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        write_all(
            folder,
            [
                ("verify.json", self.json() + "\n"),
                ("verify.md", self.markdown()),
                ("verify.html", self.html()),
            ],
        )
    }

    /// Whether the caller asked to stop before the end.
    pub fn interrupted(&self) -> bool {
        self.outcomes.iter().any(Outcome::interrupted)
    }
}

/// Writes files into a folder. No file gets its name before all are complete.
///
/// # Errors
/// If one of them cannot be written.
pub fn write_all<const N: usize>(
    folder: &Path,
    files: [(&str, String); N],
) -> Result<(), WriteError> {
    check_output(folder)?;
    let whole = files
        .into_iter()
        .map(|(name, text)| {
            let path = folder.join(name);
            let file = unnamed(folder, &text).map_err(WriteError::at(&path))?;
            Ok((file, path))
        })
        .collect::<Result<Vec<_>, _>>()?;
    for (file, path) in whole {
        file.persist(&path)
            .map_err(|error| WriteError::at(&path)(error.error))?;
    }
    Ok(())
}

/// Creates the folder if it is missing and checks that a file can be created in it, so
/// that a sweep does not end in a report that cannot be written.
///
/// # Errors
/// If it cannot.
pub fn check_output(folder: &Path) -> Result<(), WriteError> {
    fs::create_dir_all(folder)
        .and_then(|()| unnamed(folder, ""))
        .map(drop)
        .map_err(WriteError::at(folder))
}

/// A complete file that is removed if it is dropped before it gets its name.
fn unnamed(folder: &Path, text: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".verify-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// What the counts do not show: the matrix that was given, the cases that were not run,
/// and the hangs that did not recur.
fn notes(outcome: &Outcome) -> Vec<String> {
    let cases = |n: usize| if n == 1 { "case was" } else { "cases were" };
    let mut notes = Vec::new();
    if let Some(given) = outcome.given.as_ref().map(GivenMatrix::given) {
        let matrix = serde_json::to_string(given.devices()).expect("a matrix is strings");
        let nodes = given.nodes().join(", ");
        notes.push(format!(
            "every case ran over the matrix that was given, with ranks on {nodes}: {matrix}."
        ));
    }
    let over = outcome.cases.len() + outcome.skipped.len() + outcome.killed.len();
    match &outcome.stopped {
        None => {}
        Some(Stop::Interrupted) if outcome.planned == 0 => {
            notes.push("interrupted before its first case. The same command begins it.".to_owned())
        }
        Some(Stop::Interrupted) => notes.push(format!(
            "interrupted after {over} of {} cases. The same command tries all of them again.",
            outcome.planned
        )),
        Some(Stop::Failed(error)) => notes.push(format!(
            "stopped after {over} of {} cases by an error: {error}.",
            outcome.planned
        )),
    }
    let skipped = outcome.skipped.len();
    if skipped > 0 {
        let cases = cases(skipped);
        notes.push(format!(
            "{skipped} {cases} NOT run, because there was not enough memory."
        ));
    }
    let killed = outcome.killed.len();
    if killed > 0 {
        let cases = cases(killed);
        notes.push(format!(
            "{killed} {cases} NOT judged, because the system or somebody killed a rank \
             (SIGKILL), most often for want of memory."
        ));
    }
    let dismissed = outcome.dismissed.len();
    if dismissed > 0 {
        let cases = cases(dismissed);
        notes.push(format!(
            "{dismissed} {cases} silent too long among others and passed alone."
        ));
    }
    notes
}
