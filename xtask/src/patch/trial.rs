//! `cargo xtask patch try`: reports how a series applies to another MLX.

use patch_series::Trial;
use serde_json::json;

use crate::{
    exit::{self, Result},
    flags::{Format, PatchTry},
    out,
    output::{self, Unprinted},
    session::Session,
};

/// The `schema` of its JSON.
const SCHEMA: &str = "mlx-rails/patch-try/1";

pub fn run(session: &Session, flags: &PatchTry) -> Result {
    let series = session.toolchain.series();
    let trial = series.try_series(&flags.mlx, flags.tree.as_deref())?;
    if flags.format == Format::Json {
        let Trial { mlx, from, patches } = &trial;
        let report = json!({"schema": SCHEMA, "mlx": mlx, "from": from, "patches": patches});
        output::json(&report)?;
    } else {
        print(&trial)?;
    }
    Ok(exit::passed(!trial.has_conflict()))
}

fn print(trial: &Trial) -> std::result::Result<(), Unprinted> {
    out!("The series of {} on MLX {}:", trial.from, trial.mlx)?;
    let width = output::widest(trial.patches.iter().map(|tried| tried.patch.as_str()));
    for tried in &trial.patches {
        out!(
            "  {:width$}  {}  (Applied-Upstream: {})",
            tried.patch,
            tried.state,
            tried.applied_upstream
        )?;
    }
    out!("By behaviour, the verdict that shows the defect; pass when it is gone:")?;
    for tried in &trial.patches {
        for check in &tried.checks {
            out!(
                "  {:width$}  {:7}  {}",
                tried.patch,
                check.defect,
                check.command
            )?;
        }
    }
    Ok(())
}
