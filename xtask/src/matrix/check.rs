//! `cargo xtask matrix check`: a matrix that somebody else made.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use rail_matrix::check::{self, Document, Existing};

use super::input;
use crate::{exit, flags};

/// Names of nodes for a document of several matrices.
#[derive(Debug, thiserror::Error)]
#[error(
    "{file} has {several} matrices, and --nodes names the nodes of one; leave it out, or give one \
     instance alone"
)]
pub struct CheckFlagsError {
    file: String,
    several: usize,
}

pub fn run(flags: &flags::MatrixCheck) -> anyhow::Result<ExitCode> {
    let bytes = input::bytes(&flags.matrix)?;
    let Document { matrices, topology } =
        check::read(&bytes).with_context(|| input::named(&flags.matrix))?;
    let topology = match &flags.topology {
        Some(path) => Some(input::topology(Some(path), None)?),
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
            // The others are judged all the same.
            Err(error) if several > 1 => check::check_apart(&existing, &error, wanted, &flags.mlx),
            verdict => verdict.with_context(|| place(&flags.matrix, &existing))?,
        };
        checked.push((existing, verdict));
    }
    print!("{}", check::render(flags.format, &checked, &flags.mlx));
    Ok(if checked.iter().all(|(_, verdict)| verdict.is_safe()) {
        ExitCode::SUCCESS
    } else {
        exit::FAILED.into()
    })
}

/// The file, and which of its matrices.
fn place(file: &Path, existing: &Existing) -> String {
    let file = input::named(file);
    match &existing.name {
        Some(instance) => format!("{file}: instance {instance}"),
        None => file,
    }
}
