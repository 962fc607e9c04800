//! `check`: checks an existing matrix.

use std::path::Path;

use launch::Launcher;
use rail_matrix::check::{self, Document, Existing};
use terminal::ReportFormat;

use crate::{Answer, Error, error::At, flags, input};

/// Names of nodes were given for a document of several matrices.
#[derive(Debug, thiserror::Error)]
#[error("{file} has {several} matrices, and --nodes names the nodes of one")]
pub struct CheckFlagsError {
    file: String,
    several: usize,
}

impl CheckFlagsError {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        Some("leave --nodes out, or give one instance alone".to_owned())
    }
}

pub fn run(launcher: &Launcher, flags: &flags::Check) -> Result<Answer, Error> {
    let bytes = input::bytes(launcher.cancel(), &flags.matrix)?;
    let Document { matrices, topology } = check::read(&bytes).at(|| input::named(&flags.matrix))?;
    let topology = match &flags.from {
        Some(path) => Some(input::topology(launcher.cancel(), Some(path), None)?),
        None => topology,
    };
    let several = matrices.len();
    if several > 1 && !flags.nodes.is_empty() {
        let file = input::named(&flags.matrix);
        return Err(CheckFlagsError { file, several }.into());
    }
    let wanted = flags.backend.map(Into::into);
    let mut checked = Vec::with_capacity(several);
    for mut existing in matrices {
        if !flags.nodes.is_empty() {
            existing.nodes = Some(flags.nodes.clone());
        }
        let verdict = match check::check(&existing, topology.as_ref(), wanted, &flags.mlx) {
            // The other matrices are still judged.
            Err(error) if several > 1 => check::check_apart(&existing, &error, wanted, &flags.mlx),
            verdict => verdict.at(|| place(&flags.matrix, &existing))?,
        };
        checked.push((existing, verdict));
    }
    Ok(Answer {
        document: match flags.format {
            ReportFormat::Md => check::markdown(&checked, &flags.mlx),
            ReportFormat::Json => check::json(&checked, &flags.mlx),
        },
        passed: checked.iter().all(|(_, verdict)| verdict.is_safe()),
    })
}

/// The file, and the number of the matrix in it.
fn place(file: &Path, existing: &Existing) -> String {
    let file = input::named(file);
    match &existing.name {
        Some(instance) => format!("{file}: instance {instance}"),
        None => file,
    }
}
