//! `cargo xtask verify --wheel FILE`: the artefact itself, installed as a user installs it.

use std::path::Path;

use rail_verify::{
    group::Programs,
    python::{self, Installed},
    run::Variant,
};
use serde_json::json;
use toolchain::store::sha256;

use super::sweep;
use crate::{
    exit::{Context, Failure, Result},
    programs,
    session::Session,
    verify_flags::Verify,
};

pub fn run(session: &Session, flags: &Verify, file: &Path) -> Result {
    let selection = python::reached(flags.selection.selection())?;
    let content = std::fs::read(file)
        .map_err(|error| Failure::input(error))
        .with_context(|| format!("cannot read {}", file.display()))?;
    let front = std::path::PathBuf::from(std::env::var("FRONT").expect("FRONT"));
    let venv = session.toolchain.venv(&[&front, file])?;
    let installed = Installed::probe(&venv.python(), venv.folder(), &session.launcher)?;
    let programs = Programs {
        rank: installed.rank.clone(),
        provider: programs::provider(session)?,
    };
    let variant = Variant {
        mlx: installed.mlx.clone(),
        series: "wheel".to_owned(),
        wheel: Some(file.to_owned()),
        build: installed.build.clone(),
        manifest: json!({
            "wheel": { "path": file, "sha256": sha256(&content) },
            "python": installed.python,
            "key": installed.build.key,
        }),
    };
    sweep(session, flags, &programs, &[variant], &selection)
}
