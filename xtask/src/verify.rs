//! `cargo xtask verify`: runs cases on builds of jaccl and reports the verdicts.

mod each_patch;
mod wheel;

use std::{
    io::IsTerminal,
    num::NonZeroUsize,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use pins::{DEFAULT_PIN, Pin, Series};
use rail_bench::AfterHang;
use rail_matrix::Given;
use rail_verify::{
    group::{Build, Programs},
    report,
    resources::{self, Resources},
    run::{Outcome, Runner, Stop, Variant},
    selection::{Level, Selection},
    setup::{GivenMatrix, GivenMatrixError},
};
use rig::{Cables, Rig};
use terminal::Terminal;
use toolchain::build::Request;

use crate::{
    exit::{self, Context, Failure, Kind, Result},
    flags::ReportFormat,
    hosts::{self, Ready},
    job_matrix, out, output, say,
    session::Session,
    verify_flags::Verify,
};

/// Stands for every existing pin.
const EVERY_PIN: &str = "all";

pub fn run(session: &Session, flags: &Verify) -> Result {
    // Every error in the user's input is reported before the first build.
    flags.check()?;
    let given = given(flags)?;
    let rig = given.as_ref().map(GivenMatrix::rig);
    let elsewhere = rig.is_some_and(Rig::needs_hosts);
    if let Some(file) = &flags.wheel {
        if elsewhere {
            let problem = "--wheel: a wheel is installed on this machine, and the rig has others";
            let help = "`bench --engine mlx-lm` runs the patched wheel on the nodes";
            return Err(Failure::input(problem).help(help.to_owned()));
        }
        return wheel::run(session, flags, file, given.as_ref());
    }
    if flags.resources && rig.is_some_and(|rig| rig.kind == Cables::Real) {
        let problem = "--resources: real devices do not tell what is in use";
        return Err(Failure::input(problem).help("name an emulated rig".to_owned()));
    }
    let pins = pins(session, &flags.mlx)?;
    if let Some(folder) = &flags.out_dir {
        report::check_output(folder)?;
    }
    match flags.each_patch {
        true => each_patch::run(session, flags, &pins),
        false => variants(session, flags, &pins, given.as_ref()),
    }
}

/// The matrix of `--devices`, over the cabling of `--rig` or over the one that it states; or
/// the planner's for `--rig`.
fn given(flags: &Verify) -> Result<Option<GivenMatrix>> {
    let rig = flags.rig.as_deref().map(Rig::read).transpose()?;
    let named = [("--devices", &flags.devices), ("--rig", &flags.rig)];
    let named = named.iter().filter_map(|(flag, file)| {
        let file = file.as_ref()?.display();
        Some(format!("{flag} '{file}'"))
    });
    let named = named.collect::<Vec<_>>().join(" ");
    let Some(path) = &flags.devices else {
        let selection = flags.selection.selection();
        let planned = rig.map(|rig| GivenMatrix::planned(rig, &selection, named));
        return planned.transpose().with_context(|| "--rig");
    };
    let document = job_matrix::document(path)?;
    let given = match rig {
        None => GivenMatrix::alone(&document, named),
        Some(rig) => {
            let given = Given::over(&document, &rig);
            given
                .map_err(GivenMatrixError::from)
                .and_then(|given| GivenMatrix::new(given, rig, named))
        }
    };
    given.map(Some).with_context(|| job_matrix::place(path))
}

/// The named pins, or the default one.
pub fn pins(session: &Session, named: &[String]) -> Result<Vec<Pin>> {
    let versions = match named {
        [] => vec![DEFAULT_PIN.to_owned()],
        [one] if one == EVERY_PIN => Pin::versions(&session.toolchain.patches_folder())?,
        named => named.to_vec(),
    };
    let pins = versions.iter().map(|it| session.toolchain.pin(it));
    Ok(pins.collect::<Result<_, _>>()?)
}

/// Verifies each variant, and reports the results even if it does not finish.
fn variants(
    session: &Session,
    flags: &Verify,
    pins: &[Pin],
    given: Option<&GivenMatrix>,
) -> Result {
    let rig = given.map(GivenMatrix::rig);
    let ready = rig.map(|rig| Ready::of(session, rig));
    let ready = ready.transpose()?.unwrap_or_default();
    let variants = variants_of(session, pins, &flags.series)?;
    let programs = hosts::of_verify(session, ready, variants.iter().map(|it| &it.build))?;
    let selection = flags.selection.selection();
    if flags.resources {
        return count(session, flags, (&programs, given), &variants, &selection);
    }
    sweep(session, flags, (&programs, given), &variants, &selection)
}

/// Prints what the variants take of each device; the check fails where a setting does.
fn count(
    session: &Session,
    flags: &Verify,
    (programs, given): (&Programs, Option<&GivenMatrix>),
    variants: &[Variant],
    selection: &Selection,
) -> Result {
    let progress = Terminal::default();
    let runner = Runner {
        programs,
        given,
        jobs: NonZeroUsize::MIN,
        stop_after_hang: false,
        launcher: &session.launcher,
        progress: &progress,
    };
    let mut counted = Vec::new();
    for variant in variants {
        counted.push(runner.resources(variant, selection)?);
        session.launcher.cancel().check()?;
    }
    match flags.format {
        ReportFormat::Md => output::document(&resources::markdown(&counted))?,
        ReportFormat::Json => out!("{:#}", resources::json(&counted))?,
    }
    let passed = counted.iter().all(Resources::passed);
    let stopped = counted.into_iter().find_map(|counted| counted.stopped);
    match stopped {
        Some(Stop::Failed(error)) => Err(error.into()),
        _ => Ok(exit::passed(passed)),
    }
}

/// Sweeps the variants, prints the report, and gives the exit code.
fn sweep(
    session: &Session,
    flags: &Verify,
    (programs, given): (&Programs, Option<&GivenMatrix>),
    variants: &[Variant],
    selection: &Selection,
) -> Result {
    let (outcomes, error) = verify(session, flags, (programs, given), variants, selection);
    let report = report::Report::new(flags.level, &outcomes).on(programs.nodes());
    if !outcomes.is_empty() {
        if let Some(folder) = &flags.out_dir {
            report.write(folder)?;
            let folder = folder.display();
            say!("verify.json, verify.md and verify.html are in {folder}");
        }
        match flags.format {
            ReportFormat::Md => output::document(&report.markdown())?,
            ReportFormat::Json => out!("{}", report.json())?,
        }
    }
    if let Some(error) = error {
        return Err(error);
    }
    if report.interrupted() || outcomes.is_empty() {
        say!(
            "interrupted: the report has the verdicts so far; the same command tries every case again"
        );
        return Ok(Kind::Interrupted.into());
    }
    let all_passed = outcomes.iter().all(Outcome::passed);
    let stopped = outcomes.into_iter().find_map(|outcome| outcome.stopped);
    match (stopped, all_passed) {
        (Some(Stop::Failed(error)), _) => Err(error.into()),
        (_, all_passed) => Ok(exit::passed(all_passed)),
    }
}

/// Builds jaccl alone for every pin in every series, the series of a pin beside each other.
pub fn variants_of(session: &Session, pins: &[Pin], series: &[Series]) -> Result<Vec<Variant>> {
    let requests = pins.iter().flat_map(|pin| {
        series
            .iter()
            .map(move |series| Request::jaccl(pin, *series))
    });
    requests.map(|request| variant(session, &request)).collect()
}

/// Builds a variant; jaccl alone takes half a minute.
pub fn variant(session: &Session, request: &Request<'_>) -> exit::Result<Variant> {
    let build = session.toolchain.build(request)?;
    let series = match request.without.as_slice() {
        [] => request.series.to_string(),
        patches => format!("{} without {}", request.series, patches.join(", ")),
    };
    Ok(Variant {
        mlx: request.pin.version.clone(),
        series,
        wheel: None,
        build: Build {
            library: build.library(),
            key: build.manifest.key.clone(),
        },
        manifest: serde_json::to_value(&build.manifest)
            .map_err(Failure::ours)
            .with_context(|| "a manifest is JSON")?,
    })
}

/// The outcome of each variant, up to one that cannot be verified, and the reason.
fn verify(
    session: &Session,
    flags: &Verify,
    (programs, given): (&Programs, Option<&GivenMatrix>),
    variants: &[Variant],
    selection: &Selection,
) -> (Vec<Outcome>, Option<Failure>) {
    let progress = Terminal::default();
    // Groups on other machines would share the devices of one rig.
    let jobs = match programs.hosts {
        Some(_) => NonZeroUsize::MIN,
        None => Runner::usual_jobs(),
    };
    let usual = given.map(|given| AfterHang::usual(given.rig()));
    let after_hang = flags.after_hang.or(usual);
    let runner = Runner {
        programs,
        given,
        jobs: flags.groups.unwrap_or(jobs),
        stop_after_hang: after_hang == Some(AfterHang::Stop),
        launcher: &session.launcher,
        progress: &progress,
    };
    let seed = selection.seed.first().copied().unwrap_or_else(now);
    if flags.level == Level::Soak {
        say!("soaking from --seed {seed}");
        if flags.span.is_none() && std::io::stderr().is_terminal() {
            say!("Ctrl-C ends it and prints the report");
        }
    }
    let mut outcomes = Vec::new();
    for variant in variants {
        let interrupted = session.launcher.cancel().check().is_err();
        let outcome = match flags.level {
            // The usual end of a soak. The next soak has not begun by then.
            Level::Soak if interrupted => {
                say!("{} was not begun", variant.name());
                continue;
            }
            _ if interrupted => Ok(Outcome::not_begun(variant)),
            Level::Soak => {
                let until = flags.span.map(|span| Instant::now() + span);
                runner.soak(variant, selection, seed, until)
            }
            level => runner.sweep(variant, level, selection),
        };
        match outcome {
            Err(error) => return (outcomes, Some(error.into())),
            Ok(outcome) => {
                let failed = matches!(outcome.stopped, Some(Stop::Failed(_)));
                outcomes.push(outcome);
                if failed {
                    break;
                }
            }
        }
    }
    (outcomes, None)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
