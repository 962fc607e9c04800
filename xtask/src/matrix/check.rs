//! `cargo xtask matrix check`: a matrix that somebody else made.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use rail_matrix::{
    Topology,
    check::{self, Document, Existing},
};

use super::input;
use crate::{exit, flags};

pub fn run(flags: &flags::MatrixCheck) -> anyhow::Result<ExitCode> {
    let bytes = input::bytes(&flags.matrix)?;
    let Document { matrices, topology } =
        check::read(&bytes).with_context(|| input::named(&flags.matrix))?;
    let topology = match &flags.topology {
        Some(path) => Some(input::topology(Some(path), None)?),
        None => topology,
    };
    let mut checked = Vec::with_capacity(matrices.len());
    for mut existing in matrices {
        if !flags.nodes.is_empty() {
            existing.nodes = Some(flags.nodes.clone());
        }
        let wanted = flags.backend.map(Into::into);
        let topology: Option<&Topology> = topology.as_ref();
        let verdict = check::check(&existing, topology, wanted, &flags.mlx)
            .with_context(|| place(&flags.matrix, &existing))?;
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
