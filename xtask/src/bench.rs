//! `cargo xtask bench`: builds MLX and the ranks, and prints a table of measured cells.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::anyhow;
use pins::{Pin, Series};
use rail_bench::{
    BuildInfo, Harness, Measured, Options, Plan, Report, RunError,
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
use remote::Part;
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
    let inputs = Inputs::read(session, flags)?;
    let Inputs {
        pin, plan, out_dir, ..
    } = &inputs;
    if flags.dry_run {
        let earlier = earlier(out_dir, plan);
        let baseline = inputs.baseline.as_ref().or(earlier.as_ref());
        output::document(&dry_run::describe(plan, baseline))?;
        return Ok(ExitCode::SUCCESS);
    }
    let hosts = connected(session, plan)?;
    check_folder(out_dir).map_err(|error| unwritable(out_dir, error))?;
    let mut nodes = rig_doctor::before_ranks(&session.launcher, &plan.rig)?.nodes;
    let series = (pin, flags.series);
    let warnings = match flags.no_preflight {
        true => vec![],
        false => preflight(session, hosts.clone(), plan, series)?,
    };
    let build = session.toolchain.build(&Request::mlx(pin, flags.series))?;
    let info = build_info(&build)?;
    inputs.check_build(&info)?;
    let programs = Programs::compile(session, series, &build, &plan.engines)?;
    let cabling = cabling(session, flags, plan, &programs, hosts)?;
    let resume = inputs.resume.as_ref();
    let harness = Harness {
        resumed: resume.map(Resume::launched).unwrap_or_default(),
        record: &recorder(flags.format, out_dir, resume)?,
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
    let measured = match rail_bench::run(plan, &harness) {
        Err(why) if why.is_interrupted() => {
            say!("interrupted before anything was measured");
            return Ok(Kind::Interrupted.into());
        }
        measured => measured?,
    };
    let Measured {
        mut report,
        stopped,
    } = measured;
    let baseline = inputs.baseline.as_ref();
    report.against = baseline.map(|it| it.compare(&report, flags.fail_over));
    let changed = rig_doctor::after_ranks(&session.launcher, &mut nodes);
    report.warnings.extend(changed);
    report.nodes = nodes;
    // Whoever stops a run wants no further measurement.
    if stopped.is_none() && !flags.no_explain {
        explain(session, series, plan, &mut report);
    }
    publish(&report, flags.format, out_dir)?;
    conclude(session, &report, stopped, out_dir)
}

/// What the user gives.
struct Inputs {
    pin: Pin,
    plan: Plan,
    baseline: Option<Baseline>,
    resume: Option<Resume>,
    /// The folder of the reports.
    out_dir: PathBuf,
}

impl Inputs {
    fn read(session: &Session, flags: &Bench) -> Result<Self> {
        let pin = session.toolchain.pin(&flags.mlx)?;
        let plan = Plan::new(options(session, flags, &pin)?)?;
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
        Ok(Self {
            pin,
            plan,
            baseline,
            resume,
            out_dir,
        })
    }

    /// Refuses a build that is not the one of the earlier reports.
    fn check_build(&self, info: &BuildInfo) -> Result<()> {
        if let Some(baseline) = &self.baseline {
            baseline.check_build(info)?;
        }
        if let Some(resume) = &self.resume {
            resume.check_build(info)?;
            say!("{} launches are taken from before", resume.len());
        }
        Ok(())
    }
}

/// What to measure, by the flags and the files that they name.
fn options(session: &Session, flags: &Bench, pin: &Pin) -> Result<Options> {
    let rig = flags.rig.read_any()?;
    let given = flags.devices.as_deref();
    let given = given
        .map(|path| job_matrix::given(path, &rig))
        .transpose()?;
    let model = model::named(session, &flags.model)?;
    let text = flags.prompt.as_deref();
    let text = text.map(|text| model::text(&model, text)).transpose()?;
    let mut options = flags.options(rig, job_matrix::jaccl(pin)?, model, given);
    if let Some(text) = text {
        for workload in &mut options.workloads {
            workload.prompt_tokens = text.ids.len();
        }
        options.settings.text = Some(text);
    }
    Ok(options)
}

/// The nodes of the rig that are machines of their own, which have the model.
fn connected(session: &Session, plan: &Plan) -> Result<Option<remote::Hosts>> {
    if !plan.rig.needs_hosts() {
        return Ok(None);
    }
    let hosts = hosts::connect(session, &plan.rig)?;
    check_model(&hosts, plan)?;
    Ok(Some(hosts))
}

/// Checks that nodes have the model of a plan.
pub fn check_model(hosts: &remote::Hosts, plan: &Plan) -> Result<()> {
    if let JobModel::Folder(folder) = plan.settings.model.of_job() {
        for host in hosts.all() {
            host.check_model(&folder)?;
        }
    }
    Ok(())
}

/// The cables of the rig, and on its machines what the ranks need.
fn cabling(
    session: &Session,
    flags: &Bench,
    plan: &Plan,
    programs: &Programs,
    hosts: Option<remote::Hosts>,
) -> Result<Box<dyn Cabling>> {
    let emulated = Emulated {
        provider: programs.provider.clone(),
        parent: softrail::default_parent(),
    };
    let meter = flags.meter.then(|| programs::meter(session)).transpose()?;
    let Some(hosts) = hosts else {
        return Ok(metered(emulated, meter));
    };
    let emulator = plan.rig.kind == Cables::Emulated;
    let emulator = emulator.then_some(&*emulated.provider);
    let libraries = programs::in_place_of_verbs(emulator, meter.as_deref());
    let hosts = staged(hosts, programs, &libraries)?;
    Ok(metered(Between { hosts, emulated }, meter))
}

/// Brings the programs of the engines to the nodes, and libraries that each of them loads.
pub fn staged(hosts: remote::Hosts, programs: &Programs, libraries: &[Part]) -> Result<Hosts> {
    let mut hosts = Hosts::new(hosts);
    for (engine, parts) in programs.engines.iter().zip(&programs.parts) {
        let parts = [&**parts, libraries].concat();
        hosts.stage(engine.engine, &parts, &Terminal::default())?;
    }
    Ok(hosts)
}

/// Keeps a line for each launch: in the folder, and on stdout if that is the format.
fn recorder<'a>(
    format: Format,
    out_dir: &'a Path,
    resume: Option<&Resume>,
) -> Result<impl Fn(&str) -> io::Result<()> + use<'a>> {
    let printed = format == Format::Jsonl;
    if let (true, Some(resume)) = (printed, resume) {
        output::document(&resume.text())?;
    }
    let lines = lines::Writer::new(out_dir, resume);
    Ok(move |line: &str| {
        if printed {
            // A reader that left is no reason to stop, because the file has the line.
            let _ = output::line(format_args!("{line}"));
        }
        lines.append(line)
    })
}

/// Prints the report, and stores it with its page. The measurements are printed even if they
/// cannot be stored.
fn publish(report: &Report, format: Format, out_dir: &Path) -> Result<()> {
    let saved = report.save(out_dir);
    let saved = saved.map_err(|error| unwritable(out_dir, error));
    let saved = saved.and_then(|()| {
        let html = page::page(&report.json())?;
        page::write(&out_dir.join(page::NAME), &html).map_err(|error| unwritable(out_dir, error))
    });
    output::document(&match format {
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
    Ok(())
}

fn unwritable(out_dir: &Path, error: io::Error) -> Failure {
    let problem = anyhow::Error::from(error);
    let problem = problem.context(format!("cannot write reports to {}", out_dir.display()));
    Failure::new(Kind::Input, problem).help("name another folder with --out-dir".to_owned())
}

/// What the command ends with.
fn conclude(
    session: &Session,
    report: &Report,
    stopped: Option<RunError>,
    out_dir: &Path,
) -> Result {
    let (measured, all) = (report.measured(), report.cells.len());
    let against = report.against.as_ref();
    let slower = against.is_some_and(|it| it.slower().next().is_some());
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
    let ready = hosts::Ready {
        hosts,
        ..hosts::Ready::default()
    };
    let rails = preflight::Plan::of_matrices(plan.rig.clone(), plan.matrices());
    let report = crate::preflight::check(session, ready, rails, series, crate::preflight::TIMEOUT)?;
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
