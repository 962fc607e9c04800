//! `check`: checks an existing matrix.

use std::path::Path;

use launch::Launcher;
use rail_matrix::check::{self, Document};
use terminal::ReportFormat;

use crate::{
    Answer, Error,
    error::At,
    flags::{self, Series},
    input,
};

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
    let mut document = check::read(&bytes).at(|| input::named(&flags.matrix))?;
    let topology = match &flags.from {
        Some(path) => Some(input::topology(launcher.cancel(), Some(path), None)?),
        None => document.topology.take(),
    };
    let topology = topology.map(|it| it.accept_one_sided(flags.accept_one_sided));
    let several = document.matrices.len();
    if several > 1 && !flags.nodes.is_empty() {
        let file = input::named(&flags.matrix);
        return Err(CheckFlagsError { file, several }.into());
    }
    if !flags.nodes.is_empty() {
        for existing in &mut document.matrices {
            existing.nodes = Some(flags.nodes.clone());
        }
    }
    let wanted = flags.backend.map(Into::into);
    let jaccl = flags.mlx.patched(flags.series != Series::Stock);
    let verdicts = check::check_document(&document, topology.as_ref(), wanted, &jaccl)
        .at(|| place(&flags.matrix, &document))?;
    let checked: Vec<_> = document.matrices.into_iter().zip(verdicts).collect();
    Ok(Answer {
        document: match flags.format {
            ReportFormat::Md => check::markdown(&checked, &jaccl),
            ReportFormat::Json => check::json(&checked, &jaccl),
        },
        passed: checked.iter().all(|(_, verdict)| verdict.is_safe()),
    })
}

/// The file, and the instance in it.
fn place(file: &Path, document: &Document) -> String {
    let file = input::named(file);
    match document.matrices.first().and_then(|it| it.name.as_ref()) {
        Some(instance) => format!("{file}: instance {instance}"),
        None => file,
    }
}
