//! A folder of reports: `DIR/HOST/system_profiler.json` and similar files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rail_matrix::read::{HostReport, ReportKind};

use crate::input::{self, InputError};

/// The reports below a folder, which has one folder for each node, by their names.
pub fn read(folder: &Path) -> Result<Vec<HostReport>, InputError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| InputError::unreadable(folder, source))? {
        let entry = entry.map_err(|source| InputError::unreadable(folder, source))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let not_text = io::Error::new(io::ErrorKind::InvalidData, "its name is not UTF-8");
            return Err(InputError::unreadable(&entry.path(), not_text));
        };
        if !name.starts_with('.') && entry.path().is_dir() {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() {
        return Err(InputError::NoNodes {
            path: folder.to_owned(),
        });
    }
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| of_node(folder, name))
        .collect()
}

fn of_node(folder: &Path, name: String) -> Result<HostReport, InputError> {
    let mut texts = Vec::new();
    for kind in ReportKind::ALL {
        let path = folder.join(&name).join(kind.file());
        if path.exists() {
            let text = input::file(&path);
            let text = text.map_err(|source| InputError::unreadable(&path, source))?;
            texts.push((kind, text));
        }
    }
    Ok(HostReport { name, texts })
}

/// Writes the reports of a node below a folder, in place of its earlier ones.
pub fn save(folder: &Path, host: &HostReport) -> Result<(), SaveError> {
    let own = folder.join(&host.name);
    let at = |path: PathBuf| move |source| SaveError { path, source };
    fs::create_dir_all(&own).map_err(at(own.clone()))?;
    for kind in ReportKind::ALL {
        let path = own.join(kind.file());
        let outcome = match host.texts.iter().find(|(of, _)| *of == kind) {
            Some((_, text)) => fs::write(&path, text),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        outcome.map_err(at(path))?;
    }
    Ok(())
}

/// Why a report cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct SaveError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl SaveError {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        Some("give --save a folder that can be written".to_owned())
    }
}
