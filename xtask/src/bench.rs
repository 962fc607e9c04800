//! `cargo xtask bench`: builds MLX and the ranks, and prints a table of measured cells.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::anyhow;
use pins::{Pin, Series};
use rail_bench::{
    BuildInfo, Harness, Measured, Plan, Report,
    baseline::Baseline,
    cabling::{Between, Cabling, Emulated, Metered},
    dry_run,
    hosts::Hosts,
    lines::{self, Resume},
    progress::Progress,
    protocol::JobModel,
    report::check_folder,
};
use rail_verify::preflight::{self, Verdict::Slow};
use rig::Cables;
use terminal::Terminal;
use toolchain::build::{Build, Request};

use crate::{
    bench_flags::{Bench, Format},
    exit::{Context, Failure, Kind, Result},
    hosts, job_matrix, model, output, predict,
    programs::{self, Programs},
    report as page, rig_doctor, say,
    session::Session,
    warn,
};

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
        for workload in &mut options.workloads {
            workload.prompt_tokens = text.ids.len();
        }
        options.settings.text = Some(text);
    }
    let plan = Plan::new(options)?;
    let baseline = flags.baseline.as_deref().map(Baseline::read).transpose()?;
    if let Some(baseline) = &baseline {
        baseline.check_plan(&plan, &flags.mlx, flags.series.name())?;
    }
    let resume = flags.resume.as_deref().map(Resume::read).transpose()?;
    if let Some(resume) = &resume {
        resume.check_plan(&plan, &flags.mlx, flags.series.name())?;
    }
    let out_dir = flags.out_dir.clone().unwrap_or_else(|| {
        let reports = session.toolchain.root().join("target/bench");
        reports.join(format!("{}-{}", flags.mlx, flags.series))
    });
    if flags.dry_run {
        let earlier = baseline.or_else(|| earlier(&out_dir, &plan));
        output::document(&dry_run::describe(&plan, earlier.as_ref()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let hosts = plan
        .rig
        .needs_hosts()
        .then(|| hosts::connect(session, &plan.rig));
    let hosts = hosts.transpose()?;
    if let (Some(hosts), JobModel::Folder(folder)) = (&hosts, plan.settings.model.of_job()) {
        for host in hosts.all() {
            host.check_model(&folder)?;
        }
    }
    let unwritable = |error| {
        let problem = anyhow::Error::from(error);
        let problem = problem.context(format!("cannot write reports to {}", out_dir.display()));
        Failure::new(Kind::Input, problem).help("name another folder with --out-dir".to_owned())
    };
    check_folder(&out_dir).map_err(unwritable)?;
    let mut nodes = rig_doctor::before_ranks(&session.launcher, &plan.rig)?.nodes;
    let warnings = match flags.no_preflight {
        true => vec![],
        false => preflight(session, hosts.clone(), &plan, (&pin, flags.series))?,
    };
    let build = session.toolchain.build(&Request::mlx(&pin, flags.series))?;
    let info = build_info(&build)?;
    if let Some(baseline) = &baseline {
        baseline.check_build(&info)?;
    }
    if let Some(resume) = &resume {
        resume.check_build(&info)?;
        say!("{} launches are taken from before", resume.len());
    }
    let series = (&pin, flags.series);
    let programs = Programs::compile(session, series, &build, &plan.engines)?;

    let emulated = Emulated {
        provider: programs.provider,
        parent: softrail::default_parent(),
    };
    let printed = flags.format == Format::Jsonl;
    if let (true, Some(resume)) = (printed, &resume) {
        output::document(&resume.text())?;
    }
    let lines = lines::Writer::new(&out_dir, resume.as_ref());
    let record = |line: &str| {
        if printed {
            // A reader that left is no reason to stop, because the file has the line.
            let _ = output::line(format_args!("{line}"));
        }
        lines.append(line)
    };
    let meter = flags.meter.then(|| programs::meter(session)).transpose()?;
    let cabling: Box<dyn Cabling> = match hosts {
        None => metered(emulated, meter),
        Some(hosts) => {
            let emulator = plan.rig.kind == Cables::Emulated;
            let emulator = emulator.then_some(&*emulated.provider);
            let libraries = programs::in_place_of_verbs(emulator, meter.as_deref());
            let mut hosts = Hosts::new(hosts);
            for (engine, parts) in programs.engines.iter().zip(&programs.parts) {
                let parts = [&**parts, &*libraries].concat();
                hosts.stage(engine.engine, &parts, &Terminal::default())?;
            }
            metered(Between { hosts, emulated }, meter)
        }
    };
    let harness = Harness {
        resumed: resume.as_ref().map(Resume::launched).unwrap_or_default(),
        record: &record,
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
    let changed = rig_doctor::after_ranks(&session.launcher, &mut nodes);
    report.warnings.extend(changed);
    report.nodes = nodes;
    // Whoever stops a run wants no further measurement.
    if stopped.is_none() && !flags.no_explain {
        explain(session, (&pin, flags.series), &plan, &mut report);
    }

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
        Format::Exo => report.exo(),
        Format::Llama => report.llama(),
        Format::LlamaMd => report.llama_markdown(),
        // Printed launch by launch.
        Format::Jsonl => String::new(),
    })?;
    saved?;
    say!("{}", report.tally());
    say!(
        "report.html, bench.json, bench.md, bench.csv and bench.jsonl are in {}",
        out_dir.display()
    );
    let (measured, all) = (report.measured(), report.cells.len());
    match stopped {
        Some(why) if why.is_interrupted() => {
            say!(
                "interrupted: {measured} of {all} cells were measured; --resume {} goes on from \
                 here",
                out_dir.display()
            );
            Ok(Kind::Interrupted.into())
        }
        Some(why) => Err(why).with_context(|| format!("{measured} of {all} cells were measured")),
        // The reports are whole without the explanation.
        None if session.launcher.cancel().is_cancelled() => Ok(Kind::Interrupted.into()),
        None if report.any_failed() || slower => Ok(Kind::Check.into()),
        None if measured < all => Err(Failure::ours(anyhow!(
            "{measured} of {all} cells were measured"
        ))),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Says how much of each cell is explained. What was measured counts without it.
fn explain(session: &Session, series: (&Pin, Series), plan: &Plan, report: &mut Report) {
    if let Err(why) = predict::explain(session, series, plan, report) {
        let warning = format!("not every cell is explained: {why}");
        warn!("warning: {warning}");
        report.warnings.push(warning);
    }
}

/// The cables, behind a meter if there is one.
fn metered(cables: impl Cabling + 'static, meter: Option<PathBuf>) -> Box<dyn Cabling> {
    match meter {
        None => Box::new(cables),
        Some(meter) => Box::new(Metered { cables, meter }),
    }
}

/// The report of an earlier run of the model in a folder, if there is one.
fn earlier(folder: &Path, plan: &Plan) -> Option<Baseline> {
    let report = Baseline::read(&folder.join("bench.json")).ok()?;
    report.is_of_model(&plan.settings.model).then_some(report)
}

/// Refuses a rig with a rail that does not carry; returns the other problems of the rig.
fn preflight(
    session: &Session,
    hosts: Option<remote::Hosts>,
    plan: &Plan,
    series: (&Pin, Series),
) -> Result<Vec<String>> {
    let rails = preflight::Plan::of_matrices(plan.rig.clone(), plan.matrices());
    let report = crate::preflight::check(session, hosts, rails, series, crate::preflight::TIMEOUT)?;
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

/// The build as a report has it.
pub fn build_info(build: &Build) -> Result<BuildInfo> {
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
