//! `cargo xtask patch --try`: what becomes of a series on another MLX.

use std::process::ExitCode;

use serde_json::json;
use toolchain::series::Trial;

use crate::{
    flags::{Format, PatchApply},
    session::Session,
};

/// The `schema` of its JSON.
const SCHEMA: &str = "mlx-rails/patch-try/1";

pub fn run(session: &Session, flags: &PatchApply) -> anyhow::Result<ExitCode> {
    let trial = session
        .toolchain
        .try_series(&flags.pin.mlx, flags.tree.as_deref())?;
    if flags.format == Format::Json {
        let Trial { mlx, from, patches } = &trial;
        let report = json!({"schema": SCHEMA, "mlx": mlx, "from": from, "patches": patches});
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&trial);
    }
    Ok(super::failed_if(trial.has_conflict()))
}

fn print(trial: &Trial) {
    println!("The series of {} on MLX {}:", trial.from, trial.mlx);
    let width = super::widest(trial.patches.iter().map(|tried| tried.patch.as_str()));
    for tried in &trial.patches {
        println!(
            "  {:width$}  {}  (Applied-Upstream: {})",
            tried.patch, tried.state, tried.applied_upstream
        );
    }
    println!("By behaviour, the verdict that shows the defect; pass when it is gone:");
    for tried in &trial.patches {
        for check in &tried.checks {
            println!(
                "  {:width$}  {:7}  {}",
                tried.patch, check.defect, check.command
            );
        }
    }
}
