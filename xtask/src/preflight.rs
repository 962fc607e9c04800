//! `cargo xtask preflight`: every rail by itself, before work starts.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use rail_matrix::Rig;
use rail_verify::preflight::{self, Plan, Ranks, Report};
use toolchain::{build::Request, pin::Pin, progress::Progress, series::Series};

use crate::{exit, flags, programs, session::Session, terminal::Terminal};

/// For rails that a person did not choose to try: a healthy one answers within a
/// millisecond.
pub const TIMEOUT: Duration = Duration::from_secs(2);

pub fn run(session: &Session, flags: &flags::Preflight) -> anyhow::Result<ExitCode> {
    // Every mistake of the user's comes out before the first build.
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let rig = match &flags.rig {
        Some(path) => Rig::read(path).context("--rig")?,
        None => Rig::embedded(),
    };
    let plan = match &flags.devices {
        Some(path) => Plan::of_device_file(rig, path)?,
        None => Plan::of_rig(rig)?,
    };
    let report = check(session, plan, &pin, flags.series, flags.timeout)?;
    print!("{}", report.render(flags.format));
    Ok(if report.all_ok() {
        ExitCode::SUCCESS
    } else {
        exit::FAILED.into()
    })
}

/// Exercises the rails with the jaccl of a pin, which is built first when it is not
/// there.
pub fn check(
    session: &Session,
    plan: Plan,
    pin: &Pin,
    series: Series,
    timeout: Duration,
) -> anyhow::Result<Report> {
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
        interrupted: session.cancel.flag(),
    };
    let terminal = Terminal::default();
    let checked = preflight::check(&plan, &mut ranks, |what| {
        terminal.step("Trying", what);
    });
    terminal.finish();
    let rails = session.unless_interrupted(checked.map_err(Into::into))?;
    Ok(Report::new(&pin.version, series.name(), plan.rig, rails))
}
