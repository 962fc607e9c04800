//! `cargo xtask patch`: the series on the pin's tree, and the life of a patch.

pub mod gain;
mod life;
mod lint;
pub mod proof;
mod trial;

use std::process::ExitCode;

use patch_series::State;
use pins::Series;
use serde_json::json;

use crate::{
    exit::{self, Result},
    flags::{self, PatchStep},
    out, output, say,
    session::Session,
};

pub fn run(session: &Session, flags: &flags::Patch) -> Result {
    match &flags.step {
        PatchStep::Apply(flags) => apply(session, flags),
        PatchStep::Status(flags) => status(session, flags),
        PatchStep::Try(flags) => trial::run(session, flags),
        PatchStep::Record(flags) => record(session, flags),
        PatchStep::New(flags) => life::new(session, flags),
        PatchStep::Edit(flags) => life::edit(session, flags),
        PatchStep::Refresh(flags) => life::refresh(session, flags),
        PatchStep::Export(flags) => life::export(session, flags),
        PatchStep::Drop(flags) => life::drop(session, flags),
        PatchStep::Lint(flags) => lint::run(session, flags),
    }
}

fn apply(session: &Session, flags: &flags::PatchApply) -> Result {
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let series = flags.series.series;
    let tree = session.toolchain.series().patch(&pin, series)?;
    say!(
        "MLX {} ({series}) is tree {}{}",
        pin.version,
        tree.tree,
        if tree.current {
            ", current"
        } else {
            ", made anew"
        }
    );
    out!("{}", tree.path.display())?;
    Ok(ExitCode::SUCCESS)
}

fn record(session: &Session, flags: &flags::PatchRecord) -> Result {
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let trees = session.toolchain.series().record(&pin)?;
    say!("{} now records", pin.file().display());
    for series in Series::ALL {
        out!("{series} {}", trees.of(series))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn status(session: &Session, flags: &flags::PatchStatus) -> Result {
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let series = session.toolchain.series();
    let states = series.patch_states(&pin, flags.tree.as_deref())?;
    if flags.format == flags::Format::Json {
        let rows: Vec<_> = states
            .iter()
            .map(|(patch, state)| json!({"patch": patch.name, "sha256": patch.sha256, "fields": patch.header, "state": state}))
            .collect();
        output::json(&rows)?;
    } else {
        let width = output::widest(states.iter().map(|(patch, _)| patch.name.as_str()));
        for (patch, state) in &states {
            out!("{:width$}  {state}  ({})", patch.name, patch.summary())?;
        }
    }
    let conflict = states
        .iter()
        .any(|(_, state)| matches!(state, State::Conflicts { .. }));
    Ok(exit::passed(!conflict))
}
