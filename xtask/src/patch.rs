//! `cargo xtask patch`: the series on the pin's tree, and the life of a patch.

mod life;
mod lint;
pub mod proof;
mod trial;

use std::process::ExitCode;

use serde_json::json;
use toolchain::{pin::Pin, series::State};

use crate::{
    exit,
    flags::{self, PatchStep},
    session::Session,
};

pub fn run(session: &Session, flags: &flags::Patch) -> anyhow::Result<ExitCode> {
    match &flags.step {
        None => apply(session, &flags.apply),
        Some(PatchStep::New(flags)) => life::new(session, flags),
        Some(PatchStep::Edit(flags)) => life::edit(session, flags),
        Some(PatchStep::Refresh(flags)) => life::refresh(session, flags),
        Some(PatchStep::Export(flags)) => life::export(session, flags),
        Some(PatchStep::Drop(flags)) => life::drop(session, flags),
        Some(PatchStep::Lint(flags)) => lint::run(session, flags),
    }
}

fn apply(session: &Session, flags: &flags::PatchApply) -> anyhow::Result<ExitCode> {
    if flags.try_nearest {
        return trial::run(session, flags);
    }
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    if flags.record {
        let (stock, patched) = session.toolchain.record(&pin)?;
        eprintln!("{} now records", pin.file().display());
        println!("stock {stock}\npatched {patched}");
        return Ok(ExitCode::SUCCESS);
    }
    if flags.status {
        return status(session, &pin, flags);
    }
    let tree = session.toolchain.patch(&pin, flags.series)?;
    eprintln!(
        "MLX {} ({}) is tree {}{}",
        pin.version,
        flags.series,
        tree.tree,
        if tree.current {
            ", current"
        } else {
            ", made anew"
        }
    );
    println!("{}", tree.path.display());
    Ok(ExitCode::SUCCESS)
}

fn status(session: &Session, pin: &Pin, flags: &flags::PatchApply) -> anyhow::Result<ExitCode> {
    let states = session.toolchain.patch_states(pin, flags.tree.as_deref())?;
    if flags.format == flags::Format::Json {
        let rows: Vec<_> = states
            .iter()
            .map(|(patch, state)| json!({"patch": patch.name, "sha256": patch.sha256, "fields": patch.header, "state": state}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        let width = widest(states.iter().map(|(patch, _)| patch.name.as_str()));
        for (patch, state) in &states {
            println!("{:width$}  {state}  ({})", patch.name, patch.summary());
        }
    }
    let conflict = states
        .iter()
        .any(|(_, state)| matches!(state, State::Conflicts { .. }));
    Ok(failed_if(conflict))
}

fn failed_if(failed: bool) -> ExitCode {
    match failed {
        true => exit::FAILED.into(),
        false => ExitCode::SUCCESS,
    }
}

/// The width of a column of names.
fn widest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(str::len).max().unwrap_or(0)
}
