//! `cargo xtask preflight`: every rail by itself, before work starts.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use rail_bench::plan::read_rig;
use rail_matrix::Rig;
use rail_verify::{
    group::GroupError,
    preflight::{self, Plan, Ranks, Report},
};
use toolchain::{build::Request, pin::Pin, progress::Progress, series::Series};

use crate::{exit, flags, programs, session::Session, terminal::Terminal, verify_flags::Format};

/// For rails that a person did not choose to try: a healthy one answers within a
/// millisecond.
pub const TIMEOUT: Duration = Duration::from_secs(2);

pub fn run(session: &Session, flags: &flags::Preflight) -> anyhow::Result<ExitCode> {
    // Every mistake of the user's comes out before the first build.
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let rig = match &flags.rig {
        Some(path) => read_rig(path)?,
        None => Rig::embedded(),
    };
    let plan = match &flags.devices {
        Some(path) => Plan::of_device_file(rig, path).context("--devices")?,
        None => Plan::of_rig(rig)?,
    };
    let (report, error) = examine(session, plan, &pin, flags.series, flags.timeout)?;
    if error.is_none() || !report.rails.is_empty() {
        match flags.format {
            Format::Md => print!("{}", report.markdown()),
            Format::Json => println!("{}", report.json()),
        }
    }
    if let Some(error) = error {
        return Err(error.into());
    }
    if report.interrupted {
        eprintln!(
            "interrupted: the report has the rails so far; the same command tries every rail again"
        );
        return Ok(exit::INTERRUPTED.into());
    }
    Ok(if report.all_ok() {
        ExitCode::SUCCESS
    } else {
        exit::FAILED.into()
    })
}

/// Exercises every rail with the jaccl of a pin, which is built first when it is not there.
///
/// # Errors
/// Also when the caller asked to stop: what is to follow needs every rail.
pub fn check(
    session: &Session,
    plan: Plan,
    pin: &Pin,
    series: Series,
    timeout: Duration,
) -> anyhow::Result<Report> {
    match examine(session, plan, pin, series, timeout)? {
        (_, Some(error)) => Err(error.into()),
        (report, None) => {
            if report.interrupted {
                session.launcher.cancel().check()?;
            }
            Ok(report)
        }
    }
}

/// What was found of the rails, and what kept the rest from being tried, if anything did.
fn examine(
    session: &Session,
    plan: Plan,
    pin: &Pin,
    series: Series,
    timeout: Duration,
) -> anyhow::Result<(Report, Option<GroupError>)> {
    for fault in plan.left_out() {
        eprintln!(
            "warning: rails are tried without this fault of the rig: {}",
            fault.defect
        );
    }
    let library = session
        .toolchain
        .build(&Request::jaccl(pin, series))?
        .library();
    let programs = programs::of_verify(session)?;
    let mut ranks = Ranks {
        programs: &programs,
        library: &library,
        rig: &plan.rig,
        timeout,
        launcher: &session.launcher,
    };
    let terminal = Terminal::default();
    let checked = preflight::check(&plan, &mut ranks, |what| {
        terminal.step("Trying", what);
    });
    terminal.finish();
    let report = Report::new(&pin.version, series.name(), plan, checked.rails);
    Ok(match checked.stopped {
        None => (report, None),
        Some(GroupError::Interrupted(_)) => (report.interrupted(), None),
        Some(error) => (report, Some(error)),
    })
}
