//! `cargo xtask bench`: from nothing to a table of measured cells.

use std::process::ExitCode;

use anyhow::Context;
use rail_bench::{
    BuildInfo, Harness, Plan, RunError, args::Series as Wanted, cabling::Emulated,
    launch::RankProgram, progress::Progress,
};
use rail_verify::preflight::{self, Verdict::Slow};
use toolchain::{
    DEFAULT_PIN,
    build::{Build, Request},
    pin::Pin,
    series::Series,
};

use crate::{exit, flags, programs::Programs, session::Session};

pub fn run(session: &Session, flags: &flags::Bench) -> anyhow::Result<ExitCode> {
    let mut args = flags.args.clone();
    let version = args.mlx.clone().unwrap_or_else(|| DEFAULT_PIN.to_owned());
    let series = match args.series {
        Wanted::Stock => Series::Stock,
        Wanted::Patched => Series::Patched,
    };
    let output = args
        .output
        .get_or_insert_with(|| {
            let reports = session.toolchain.root().join("target/bench");
            reports.join(format!("{version}-{series}"))
        })
        .clone();
    // Every mistake of the user's comes out before the minutes of a build.
    let pin = session.toolchain.pin(&version)?;
    let plan = Plan::from_args(&args)?;
    let warnings = match args.no_preflight {
        true => vec![],
        false => preflight(session, &plan, &pin, series)?,
    };
    let build = session.toolchain.build(&Request::mlx(&pin, series))?;
    let programs = Programs::compile(session, &build)?;

    let cabling = Emulated {
        provider: programs.provider,
        parent: softrail::default_parent(),
    };
    let harness = Harness {
        program: RankProgram {
            path: programs.rank,
            // One rank a core: OpenBLAS would start a thread for each in each.
            env: vec![("OPENBLAS_NUM_THREADS".to_owned(), "1".to_owned())],
        },
        cabling: &cabling,
        build: build_info(&build),
        warnings,
        launcher: &session.launcher,
        progress: Progress::stderr(),
    };
    let report =
        session.unless_interrupted(rail_bench::run(&plan, &harness).map_err(Into::into))?;
    eprintln!(
        "bench.json, bench.md and bench.csv are in {}",
        output.display()
    );
    print!("{}", report.render(args.format));
    Ok(if report.all_pass() {
        ExitCode::SUCCESS
    } else {
        exit::FAILED.into()
    })
}

/// Refuses a rig with a rail that does not carry; gives what else is to be known of it.
fn preflight(
    session: &Session,
    plan: &Plan,
    pin: &Pin,
    series: Series,
) -> anyhow::Result<Vec<String>> {
    let rails = preflight::Plan::of_rig(plan.used_rig().map_err(RunError::from)?)?;
    let report = crate::preflight::check(session, rails, pin, series, crate::preflight::TIMEOUT)?;
    report
        .fit()
        .context("no cell was measured (--no-preflight measures all the same)")?;
    let warnings = report.findings(&[Slow]);
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    Ok(warnings)
}

fn build_info(build: &Build) -> BuildInfo {
    let inputs = &build.manifest.inputs;
    BuildInfo {
        mlx: inputs.mlx.clone(),
        series: inputs.series.name().to_owned(),
        tree: inputs.tree.to_string(),
        patched_tree: inputs.patched_tree.to_string(),
        key: build.manifest.key.clone(),
    }
}
