//! `cargo xtask bench`: builds MLX and the ranks, and prints a table of measured cells.

use std::process::ExitCode;

use anyhow::anyhow;
use pins::{Pin, Series};
use rail_bench::{
    BuildInfo, Harness, Measured, Plan,
    baseline::Baseline,
    cabling::{Between, Cabling, Emulated},
    hosts::Hosts,
    progress::Progress,
    protocol::JobModel,
    report::check_folder,
};
use rail_verify::preflight::{self, Verdict::Slow};
use terminal::Terminal;
use toolchain::build::{Build, Request};

use crate::{
    bench_flags::{Bench, Format},
    exit::{Context, Failure, Kind, Result},
    hosts, job_matrix, model, output,
    programs::Programs,
    report as page, rig_doctor, say,
    session::Session,
    warn,
};

/// Of a rig whose nodes preflight cannot reach.
const UNTRIED: &str = "the rails were not tried beforehand: preflight runs on this machine alone";

pub fn run(session: &Session, flags: &Bench) -> Result {
    // Every error in the user's input is reported before the minutes of a build.
    let pin = session.toolchain.pin(&flags.mlx)?;
    let rig = flags.rig.read_any()?;
    let given = flags.devices.as_deref();
    let given = given
        .map(|path| job_matrix::given(path, &rig))
        .transpose()?;
    let model = model::named(session, &flags.model)?;
    let text = flags.prompt.as_deref();
    let text = text.map(|text| model::text(&model, text)).transpose()?;
    let mut options = flags.options(rig, job_matrix::jaccl(&pin)?, model, given);
    if let Some(text) = text {
        options.settings.prompt_tokens = text.ids.len();
        options.settings.text = Some(text);
    }
    let plan = Plan::new(options)?;
    let baseline = flags.baseline.as_deref().map(Baseline::read).transpose()?;
    if let Some(baseline) = &baseline {
        baseline.check_plan(&plan, &flags.mlx, flags.series.name())?;
    }
    let hosts = plan.rig.needs_hosts();
    let hosts = hosts
        .then(|| hosts::connect(session, &plan.rig))
        .transpose()?;
    if let (Some(hosts), JobModel::Folder(folder)) = (&hosts, plan.settings.model.of_job()) {
        for host in hosts.all() {
            host.check_model(&folder)?;
        }
    }
    let out_dir = flags.out_dir.clone().unwrap_or_else(|| {
        let reports = session.toolchain.root().join("target/bench");
        reports.join(format!("{}-{}", flags.mlx, flags.series))
    });
    let unwritable = |error| {
        let problem = anyhow::Error::from(error);
        let problem = problem.context(format!("cannot write reports to {}", out_dir.display()));
        Failure::new(Kind::Input, problem).help("name another folder with --out-dir".to_owned())
    };
    check_folder(&out_dir).map_err(unwritable)?;
    let nodes = rig_doctor::before_ranks(&session.launcher, &plan.rig)?.nodes;
    let warnings = match (&hosts, flags.no_preflight) {
        (_, true) => vec![],
        (None, false) => preflight(session, &plan, &pin, flags.series)?,
        (Some(_), false) => {
            warn!("warning: {UNTRIED}");
            vec![UNTRIED.to_owned()]
        }
    };
    let build = session.toolchain.build(&Request::mlx(&pin, flags.series))?;
    let info = build_info(&build)?;
    if let Some(baseline) = &baseline {
        baseline.check_build(&info)?;
    }
    let series = (&pin, flags.series);
    let programs = Programs::compile(session, series, &build, &plan.engines)?;

    let emulated = Emulated {
        provider: programs.provider,
        parent: softrail::default_parent(),
    };
    let cabling: Box<dyn Cabling> = match hosts {
        None => Box::new(emulated),
        Some(hosts) => {
            let mut hosts = Hosts::new(hosts);
            for (engine, parts) in programs.engines.iter().zip(&programs.parts) {
                hosts.stage(engine.engine, parts, &Terminal::default())?;
            }
            Box::new(Between { hosts, emulated })
        }
    };
    let harness = Harness {
        engines: programs.engines,
        cabling: &*cabling,
        build: info,
        warnings,
        launcher: &session.launcher,
        progress: match output::is_quiet() {
            true => Progress::hidden(),
            false => Progress::stderr(),
        },
    };
    let Measured {
        mut report,
        stopped,
    } = match rail_bench::run(&plan, &harness) {
        Err(why) if why.is_interrupted() => {
            say!("interrupted before anything was measured");
            return Ok(Kind::Interrupted.into());
        }
        measured => measured?,
    };

    let comparison = baseline.map(|it| it.compare(&report, flags.fail_over));
    let slower = comparison
        .as_ref()
        .is_some_and(|it| it.slower().next().is_some());
    report.against = comparison;
    report.nodes = nodes;

    // The measurements are printed even if they cannot be stored.
    let saved = report.save(&out_dir).map_err(unwritable);
    let saved = saved.and_then(|()| {
        let html = page::page(&report.json())?;
        page::write(&out_dir.join(page::NAME), &html).map_err(unwritable)
    });
    output::document(&match flags.format {
        Format::Md => report.markdown(),
        Format::Json => report.json(),
        Format::Csv => report.csv(),
    })?;
    saved?;
    say!(
        "report.html, bench.json, bench.md and bench.csv are in {}",
        out_dir.display()
    );
    let (measured, all) = (report.measured(), report.cells.len());
    match stopped {
        Some(why) if why.is_interrupted() => {
            say!(
                "interrupted: {measured} of {all} cells were measured; a repeat measures every \
                 cell again"
            );
            Ok(Kind::Interrupted.into())
        }
        Some(why) => Err(why).with_context(|| format!("{measured} of {all} cells were measured")),
        None if report.any_failed() || slower => Ok(Kind::Check.into()),
        None if measured < all => Err(Failure::ours(anyhow!(
            "{measured} of {all} cells were measured"
        ))),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Refuses a rig with a rail that does not carry; returns the other problems of the rig.
fn preflight(session: &Session, plan: &Plan, pin: &Pin, series: Series) -> Result<Vec<String>> {
    let rails = preflight::Plan::of_matrices(plan.rig.clone(), plan.matrices());
    let report = crate::preflight::check(session, rails, pin, series, crate::preflight::TIMEOUT)?;
    report
        .fit()
        .with_context(|| "no cell was measured")
        .map_err(|unfit| unfit.help("--no-preflight measures all the same".to_owned()))?;
    let warnings = report.findings(&[Slow]);
    for warning in &warnings {
        warn!("warning: {warning}");
    }
    Ok(warnings)
}

fn build_info(build: &Build) -> Result<BuildInfo> {
    let inputs = &build.manifest.inputs;
    Ok(BuildInfo {
        mlx: inputs.mlx.clone(),
        series: inputs.series.name().to_owned(),
        tree: inputs.tree.to_string(),
        patched_tree: inputs.patched_tree.to_string(),
        key: build.manifest.key.clone(),
        manifest: serde_json::to_value(&build.manifest).map_err(Failure::ours)?,
    })
}
