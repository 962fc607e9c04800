//! What is handed over: JSON for programs, tables for people.

mod json;
mod markdown;

use std::{fs, io, path::Path, path::PathBuf};

use crate::{args::Level, run::Outcome};

/// The outcomes of a run, to be rendered.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    level: Level,
    outcomes: &'a [Outcome],
}

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report {}: {source}; name another folder", path.display())]
pub struct WriteError {
    /// The file.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

impl<'a> Report<'a> {
    /// Of variants that were verified at a level.
    pub fn new(level: Level, outcomes: &'a [Outcome]) -> Self {
        Report { level, outcomes }
    }

    /// Schema `mlx-rails/verify/1`.
    pub fn json(&self) -> String {
        let report = json::report(self.level, self.outcomes);
        serde_json::to_string_pretty(&report).expect("a report is plain data")
    }

    /// Tables.
    pub fn markdown(&self) -> String {
        markdown::report(self.level, self.outcomes)
    }

    /// Writes `verify.json`, `verify.md` and `verify.html` into a folder, each under
    /// its name only when it is whole.
    ///
    /// # Errors
    /// When one of them cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| WriteError { path, source }
        };
        fs::create_dir_all(folder).map_err(at(folder))?;
        let files = [
            ("verify.json", self.json() + "\n"),
            ("verify.md", self.markdown()),
        ];
        for (name, text) in files {
            let path = folder.join(name);
            let unfinished = path.with_extension("new");
            fs::write(&unfinished, text).map_err(at(&unfinished))?;
            fs::rename(&unfinished, &path).map_err(at(&path))?;
        }
        Ok(())
    }
}
