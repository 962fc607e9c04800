//! `cargo xtask preflight`: checks every rail by itself, before a job starts.

use std::time::Duration;

use pins::{Pin, Series};
use rail_matrix::Options;
use rail_verify::{
    group::{Build, GroupError},
    preflight::{self, Plan, Ranks, Report},
};
use terminal::Terminal;
use toolchain::{build::Request, progress::Progress};

use crate::{
    exit::{self, Kind, Result},
    flags::{self, ReportFormat},
    hosts::{self, Ready},
    job_matrix, out, output, say,
    session::Session,
    warn,
};

/// For rails that are tried without a user's request: a healthy one answers within a
/// millisecond.
pub const TIMEOUT: Duration = Duration::from_secs(2);

pub fn run(session: &Session, flags: &flags::Preflight) -> Result {
    // Every error in the user's input is reported before the first build.
    let pin = session.toolchain.pin(&flags.pin.mlx)?;
    let rig = flags.rig.read_any()?;
    let plan = match &flags.devices {
        Some(path) => {
            let given = job_matrix::given(path, &rig)?;
            Plan::of_given(rig, &given)
        }
        None => {
            let options = Options::default().order(flags.order.into());
            Plan::of_rig(rig, &options.jaccl(job_matrix::jaccl(&pin)?))?
        }
    };
    for unused in &plan.unused {
        say!("note: {unused}");
    }
    let ready = Ready::of(session, &plan.rig)?;
    let series = (&pin, flags.series.series);
    let (report, error) = examine(session, ready, plan, series, flags.timeout)?;
    if error.is_none() || !report.rails.is_empty() {
        match flags.format {
            ReportFormat::Md => output::document(&report.markdown())?,
            ReportFormat::Json => out!("{}", report.json())?,
        }
    }
    if let Some(error) = error {
        return Err(error.into());
    }
    if report.interrupted {
        say!(
            "interrupted: the report has the rails so far; the same command tries every rail again"
        );
        return Ok(Kind::Interrupted.into());
    }
    Ok(exit::passed(report.all_ok()))
}

/// Checks every rail with the jaccl of a pin, which is built first if the store does not
/// have it, on the nodes if they are machines of their own.
///
/// # Errors
/// Also when the caller asked to stop, because the work that follows needs every rail.
pub fn check(
    session: &Session,
    ready: Ready,
    plan: Plan,
    series: (&Pin, Series),
    timeout: Duration,
) -> Result<Report> {
    match examine(session, ready, plan, series, timeout)? {
        (_, Some(error)) => Err(error.into()),
        (report, None) => {
            if report.interrupted {
                session.launcher.cancel().check()?;
            }
            Ok(report)
        }
    }
}

/// The results for the rails, and the error that kept the rest from being tried, if there
/// was one.
fn examine(
    session: &Session,
    ready: Ready,
    plan: Plan,
    (pin, series): (&Pin, Series),
    timeout: Duration,
) -> Result<(Report, Option<GroupError>)> {
    for fault in plan.left_out() {
        warn!(
            "warning: rails are tried without this fault of the rig: {}",
            fault.defect
        );
    }
    let build = session.toolchain.build(&Request::jaccl(pin, series))?;
    let build = Build {
        library: build.library(),
        key: build.manifest.key,
    };
    let programs = hosts::of_verify(session, ready, [&build])?;
    let mut ranks = Ranks {
        programs: &programs,
        build: &build,
        rig: &plan.rig,
        timeout,
        launcher: &session.launcher,
    };
    let terminal = Terminal::default();
    let checked = preflight::check(&plan, &mut ranks, |what| {
        terminal.step("Trying", what);
    });
    terminal.finish();
    let report = Report {
        nodes: programs.nodes().to_vec(),
        ..Report::new(&pin.version, series.name(), plan, checked.rails)
    };
    Ok(match checked.stopped {
        None => (report, None),
        Some(GroupError::Interrupted(_)) => (report.interrupted(), None),
        Some(error) => (report, Some(error)),
    })
}
