//! `cargo xtask patch`: the series on the pin's tree.

use std::process::ExitCode;

use serde_json::json;
use toolchain::series::State;

use crate::{exit, flags, session::Session};

pub fn run(session: &Session, flags: &flags::Patch) -> anyhow::Result<ExitCode> {
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

fn status(
    session: &Session,
    pin: &toolchain::pin::Pin,
    flags: &flags::Patch,
) -> anyhow::Result<ExitCode> {
    let states = session.toolchain.patch_states(pin, flags.tree.as_deref())?;
    if flags.format == flags::Format::Json {
        let rows: Vec<_> = states
            .iter()
            .map(|(patch, state)| json!({"patch": patch.name, "sha256": patch.sha256, "fields": patch.header, "state": state}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        let width = states
            .iter()
            .map(|(patch, _)| patch.name.len())
            .max()
            .unwrap_or(0);
        for (patch, state) in &states {
            println!("{:width$}  {state}  ({})", patch.name, patch.summary());
        }
    }
    let conflict = states
        .iter()
        .any(|(_, state)| matches!(state, State::Conflicts { .. }));
    Ok(if conflict {
        exit::FAILED.into()
    } else {
        ExitCode::SUCCESS
    })
}
