//! `cargo xtask patch lint`: reports every error in the patches.

use pins::Pin;
use serde_json::json;

use crate::{
    exit::{self, Result},
    flags::{Format, PatchLint},
    out, output, say,
    session::Session,
};

/// The `schema` of its JSON.
const SCHEMA: &str = "mlx-rails/patch-lint/1";

pub fn run(session: &Session, flags: &PatchLint) -> Result {
    let series = session.toolchain.series();
    let pins = match &flags.mlx {
        Some(version) => vec![version.clone()],
        None => Pin::versions(&series.patches_folder())?,
    };
    let mut problems = Vec::new();
    for version in &pins {
        problems.extend(series.lint_patches(&series.pin(version)?, super::proof::CHECKS)?);
    }
    if flags.format == Format::Json {
        let report = json!({"schema": SCHEMA, "pins": pins, "problems": problems});
        output::json(&report)?;
    } else {
        for problem in &problems {
            out!("{problem}")?;
        }
        say!(
            "{} problems in the patches of {}",
            problems.len(),
            pins.join(", ")
        );
    }
    Ok(exit::passed(problems.is_empty()))
}
