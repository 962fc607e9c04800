//! `cargo xtask patch lint`: everything that is wrong with the patches.

use std::process::ExitCode;

use serde_json::json;
use toolchain::pin::Pin;

use crate::{
    flags::{Format, PatchLint},
    session::Session,
};

/// The `schema` of its JSON.
const SCHEMA: &str = "mlx-rails/patch-lint/1";

pub fn run(session: &Session, flags: &PatchLint) -> anyhow::Result<ExitCode> {
    let toolchain = &session.toolchain;
    let pins = match &flags.mlx {
        Some(version) => vec![version.clone()],
        None => Pin::versions(&toolchain.patches_folder())?,
    };
    let mut problems = Vec::new();
    for version in &pins {
        problems.extend(toolchain.lint_patches(&toolchain.pin(version)?, &super::proof::check)?);
    }
    if flags.format == Format::Json {
        let report = json!({"schema": SCHEMA, "pins": pins, "problems": problems});
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        for problem in &problems {
            println!("{problem}");
        }
        eprintln!(
            "{} problems in the patches of {}",
            problems.len(),
            pins.join(", ")
        );
    }
    Ok(super::failed_if(!problems.is_empty()))
}
