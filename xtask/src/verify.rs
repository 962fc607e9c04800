//! `cargo xtask verify`: which cases hold on which build of jaccl.

use std::{
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use rail_verify::{
    args::{Format, Level, Series as Wanted, VerifyArgs},
    group::Programs,
    progress::Progress,
    report,
    run::{Outcome, Runner, Variant},
};
use toolchain::{DEFAULT_PIN, build::Request, pin::Pin, series::Series};

use crate::{exit, programs, session::Session};

pub fn run(session: &Session, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let requests = requested(session, args)?;
    let variants = requests
        .iter()
        .map(|(pin, series)| variant(session, &Request::jaccl(pin, *series)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let programs = programs::of_verify(session)?;
    let outcomes = verify(session, args, &programs, &variants)?;
    let report = report::Report::new(args.level, &outcomes);
    if let Some(folder) = &args.output {
        report.write(folder)?;
        eprintln!(
            "verify.json, verify.md and verify.html are in {}",
            folder.display()
        );
    }
    match args.format {
        Format::Md => print!("{}", report.markdown()),
        Format::Json => println!("{}", report.json()),
    }
    Ok(match outcomes.iter().all(Outcome::passed) {
        true => ExitCode::SUCCESS,
        false => exit::FAILED.into(),
    })
}

/// Every mistake of the user's comes out before the first build.
fn requested(session: &Session, args: &VerifyArgs) -> anyhow::Result<Vec<(Pin, Series)>> {
    let default = [DEFAULT_PIN.to_owned()];
    let versions = match args.mlx.as_slice() {
        [] => &default,
        named => named,
    };
    let mut requests = Vec::new();
    for version in versions {
        for series in &args.series {
            let series = match series {
                Wanted::Stock => Series::Stock,
                Wanted::Patched => Series::Patched,
            };
            requests.push((session.toolchain.pin(version)?, series));
        }
    }
    Ok(requests)
}

/// Builds what is asked for; jaccl alone takes half a minute.
pub fn variant(session: &Session, request: &Request<'_>) -> anyhow::Result<Variant> {
    let build = session.toolchain.build(request)?;
    let series = match request.without {
        None => request.series.to_string(),
        Some(patch) => format!("{} without {patch}", request.series),
    };
    Ok(Variant {
        mlx: request.pin.version.clone(),
        series,
        library: build.library(),
        manifest: serde_json::to_value(&build.manifest).context("a manifest is JSON")?,
    })
}

fn verify(
    session: &Session,
    args: &VerifyArgs,
    programs: &Programs,
    variants: &[Variant],
) -> anyhow::Result<Vec<Outcome>> {
    let progress = Progress::stderr();
    let interrupted = session.cancel.flag();
    let runner = Runner {
        programs,
        jobs: args.jobs.unwrap_or_else(Runner::usual_jobs),
        interrupted,
        progress: &progress,
    };
    let seed = args.selection.seed.first().copied().unwrap_or_else(now);
    if args.level == Level::Soak {
        eprintln!("soaking from --seed {seed}");
        if args.minutes.is_none() && std::io::stderr().is_terminal() {
            eprintln!("Ctrl-C ends it and prints the report");
        }
    }
    variants
        .iter()
        .map(|variant| {
            let outcome = match args.level {
                Level::Soak => {
                    let span = args.minutes.map(|n| Duration::from_secs(60 * n));
                    let until = span.map(|span| Instant::now() + span);
                    runner.soak(variant, &args.selection, seed, until)
                }
                level => runner.sweep(variant, level, &args.selection),
            };
            session.unless_interrupted(outcome.map_err(Into::into))
        })
        .collect()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
