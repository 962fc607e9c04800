//! `cargo xtask verify --wheel FILE`: the artefact itself, installed as a user installs it.

use std::path::Path;

use rail_verify::{
    group::Programs,
    python::{self, Installed},
    run::Variant,
    setup::GivenMatrix,
};
use serde_json::json;
use toolchain::venv::Examined;

use super::sweep;
use crate::{
    exit::{self, Failure, Kind, Result},
    flags::ReportFormat,
    out, output, programs, say,
    session::Session,
    verify_flags::Verify,
};

pub fn run(session: &Session, flags: &Verify, file: &Path, given: Option<&GivenMatrix>) -> Result {
    let selection = flags.selection.selection();
    let selection = python::reached(match given {
        Some(given) => given.select(&selection),
        None => selection,
    })?;
    let examined = session.toolchain.examine_wheel(file)?;
    if let Some(folder) = &flags.out_dir {
        if !examined.runs_here {
            let problem = anyhow::anyhow!(
                "{} is for another system or processor, so no case runs here and there is no \
                 report for --out-dir",
                file.display()
            );
            let help = "leave --out-dir out, and the wheel's structure is checked";
            return Err(Failure::new(Kind::Input, problem).help(help.to_owned()));
        }
        rail_verify::report::check_output(folder)?;
    }
    for check in &examined.checks {
        let ok = if check.ok { "ok" } else { "NO" };
        say!("  {ok}  {:<10}  {}", check.name, check.detail);
    }
    if !examined.runs_here || !examined.holds() {
        return structure_alone(&examined, flags, file);
    }
    let venv = session.toolchain.install_wheel(&examined)?;
    let installed = Installed::probe(&venv.python(), venv.folder(), &session.launcher)?;
    let programs = Programs {
        rank: installed.rank.clone(),
        provider: programs::provider(session)?,
        hosts: None,
    };
    let variant = Variant {
        mlx: examined.name.version.to_string(),
        series: "wheel".to_owned(),
        wheel: Some(file.to_owned()),
        build: installed.build.clone(),
        manifest: json!({
            "wheel": description(&examined, file),
            "python": installed.python,
            "key": installed.build.key,
        }),
    };
    sweep(session, flags, (&programs, given), &[variant], &selection)
}

/// What the report says of the file.
fn description(examined: &Examined, file: &Path) -> serde_json::Value {
    json!({
        "path": file,
        "sha256": examined.sha256,
        "checks": examined.checks,
        "manifest": examined.manifest,
    })
}

/// The report of a wheel that was not run: it is for another machine, or a check does not hold.
fn structure_alone(examined: &Examined, flags: &Verify, file: &Path) -> Result {
    let (name, holds) = (examined.name.to_string(), examined.holds());
    let why = match examined.runs_here {
        false => "it is for another system or processor than this machine's",
        true => "a check does not hold",
    };
    match flags.format {
        ReportFormat::Md => {
            let mut text = format!("# {name}\n\nOnly the structure was checked: {why}.\n\n");
            for check in &examined.checks {
                let ok = if check.ok { "ok" } else { "NOT ok" };
                text += &format!("- {}: {ok}, {}\n", check.name, check.detail);
            }
            output::document(&text)?;
        }
        ReportFormat::Json => {
            let report = json!({
                "schema": "mlx-rails/verify-structure/1",
                "wheel": description(examined, file),
                "ran": false,
                "why": why,
            });
            let text = serde_json::to_string_pretty(&report).map_err(Failure::ours)?;
            out!("{text}")?;
        }
    }
    say!("only the structure was checked: {why}");
    Ok(exit::passed(holds))
}
