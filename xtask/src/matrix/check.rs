//! `cargo xtask matrix check`: checks an existing matrix.

use std::path::Path;

use rail_matrix::check::{self, Document};

use super::input;
use crate::{
    exit::{self, Context, Result},
    flags::{self, ReportFormat},
    output,
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

pub fn run(flags: &flags::MatrixCheck) -> Result {
    let bytes = input::bytes(&flags.matrix)?;
    let mut document = check::read(&bytes).with_context(|| input::named(&flags.matrix))?;
    let topology = flags.from.as_deref();
    let topology = topology
        .map(|path| input::topology(Some(path), None))
        .transpose()?;
    let several = document.matrices.len();
    if several > 1 && !flags.nodes.is_empty() {
        let file = input::named(&flags.matrix);
        return Err(CheckFlagsError { file, several }.into());
    }
    let wanted = flags.backend.map(Into::into);
    if !flags.nodes.is_empty() {
        for existing in &mut document.matrices {
            existing.nodes = Some(flags.nodes.clone());
        }
    }
    let verdicts = check::check_document(&document, topology.as_ref(), wanted, &flags.mlx)
        .with_context(|| place(&flags.matrix, &document))?;
    let checked: Vec<_> = document.matrices.into_iter().zip(verdicts).collect();
    output::document(&match flags.format {
        ReportFormat::Md => check::markdown(&checked, &flags.mlx),
        ReportFormat::Json => check::json(&checked, &flags.mlx),
    })?;
    let safe = checked.iter().all(|(_, verdict)| verdict.is_safe());
    Ok(exit::passed(safe))
}

/// The file, and the instance in it.
fn place(file: &Path, document: &Document) -> String {
    let file = input::named(file);
    match document.matrices.first().and_then(|it| it.name.as_ref()) {
        Some(instance) => format!("{file}: instance {instance}"),
        None => file,
    }
}
