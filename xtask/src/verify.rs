//! `cargo xtask verify`: which cases hold on which build of jaccl.

use std::{
    io::IsTerminal,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rail_verify::{
    args::{Format, Level, Selection, Series as Wanted, VerifyArgs},
    group::Programs,
    progress::Progress,
    proof::{self, Proof},
    report,
    run::{Outcome, Runner, Variant},
    verdict::Verdict,
};
use toolchain::{
    DEFAULT_PIN,
    build::Request,
    pin::Pin,
    series::{Class, Patch, Series},
};

use crate::{
    exit::{self, Context, Failure},
    out, output, programs, say,
    session::Session,
};

pub fn run(session: &Session, args: &VerifyArgs) -> exit::Result {
    if args.each_patch {
        return each_patch(session, args);
    }
    let requests = requested(session, args)?;
    if let Some(folder) = &args.output {
        report::check_output(folder)?;
    }
    let variants = requests
        .iter()
        .map(|(pin, series)| variant(session, &Request::jaccl(pin, *series)))
        .collect::<exit::Result<Vec<_>>>()?;
    let programs = programs::of_verify(session)?;
    let outcomes = verify(session, args, &programs, &variants)?;
    let report = report::Report::new(args.level, &outcomes);
    if let Some(folder) = &args.output {
        report.write(folder)?;
        say!(
            "verify.json, verify.md and verify.html are in {}",
            folder.display()
        );
    }
    match args.format {
        Format::Md => output::document(&report.markdown())?,
        Format::Json => out!("{}", report.json())?,
    }
    Ok(exit::passed(outcomes.iter().all(Outcome::passed)))
}

fn versions(args: &VerifyArgs) -> Vec<String> {
    match args.mlx.as_slice() {
        [] => vec![DEFAULT_PIN.to_owned()],
        named => named.to_vec(),
    }
}

/// Every mistake of the user's comes out before the first build.
fn requested(session: &Session, args: &VerifyArgs) -> exit::Result<Vec<(Pin, Series)>> {
    let mut requests = Vec::new();
    for version in versions(args) {
        for series in &args.series {
            let series = match series {
                Wanted::Stock => Series::Stock,
                Wanted::Patched => Series::Patched,
            };
            requests.push((session.toolchain.pin(&version)?, series));
        }
    }
    Ok(requests)
}

/// Builds what is asked for; jaccl alone takes half a minute.
fn variant(session: &Session, request: &Request<'_>) -> exit::Result<Variant> {
    let build = session.toolchain.build(request)?;
    let series = match request.without {
        None => request.series.to_string(),
        Some(patch) => format!("{} without {patch}", request.series),
    };
    Ok(Variant {
        mlx: request.pin.version.clone(),
        series,
        library: build.library(),
        manifest: serde_json::to_value(&build.manifest)
            .map_err(Failure::ours)
            .with_context(|| "a manifest is JSON")?,
    })
}

/// Holds every fix to what its header claims.
fn each_patch(session: &Session, args: &VerifyArgs) -> exit::Result {
    let mut claims = Vec::new();
    for version in versions(args) {
        let pin = session.toolchain.pin(&version)?;
        let patches = session.toolchain.patches(&pin, Series::Patched)?;
        claims.extend(claims_of(&pin, &patches, &args.patch)?);
    }
    let programs = programs::of_verify(session)?;
    let progress = Progress::silent();
    let runner = Runner {
        programs: &programs,
        jobs: args.jobs.unwrap_or_else(Runner::usual_jobs),
        launcher: &session.launcher,
        progress: &progress,
    };
    let mut proofs = Vec::new();
    for claim in &claims {
        let Claim { pin, patch, .. } = claim;
        say!("proving {patch} of MLX {}", pin.version);
        let patched = Request::jaccl(pin, Series::Patched);
        let [without, with] = [Some(patch.as_str()), None].map(|without| {
            let variant = variant(
                session,
                &Request {
                    without,
                    ..patched.clone()
                },
            )?;
            let outcome = runner.sweep(&variant, Level::Quick, &claim.selection);
            session.unless_interrupted(outcome.map_err(Into::into))
        });
        proofs.push(Proof::new(
            (pin.version.clone(), patch.clone()),
            (claim.before, claim.flags.clone()),
            &without?,
            &with?,
        ));
    }
    match args.format {
        Format::Md => output::document(&proof::markdown(&proofs))?,
        Format::Json => out!("{}", proof::json(&proofs))?,
    }
    Ok(exit::passed(proofs.iter().all(Proof::holds)))
}

/// One line of a patch's `X-Verdicts`.
struct Claim {
    pin: Pin,
    patch: String,
    before: Verdict,
    flags: String,
    selection: Selection,
}

fn claims_of(pin: &Pin, patches: &[Patch], wanted: &[String]) -> exit::Result<Vec<Claim>> {
    let fixes = || patches.iter().filter(|patch| patch.class == Class::Fix);
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !fixes().any(|p| p.name == **name))
    {
        let error = toolchain::Error::UnknownPatch {
            wanted: unknown.clone(),
            pin: pin.version.clone(),
            known: fixes().map(|patch| patch.name.clone()).collect(),
        };
        return Err(error.into());
    }
    let mut claims = Vec::new();
    for patch in fixes().filter(|patch| wanted.is_empty() || wanted.contains(&patch.name)) {
        for proof in patch.proofs()? {
            let unread = |problem| Failure::ours(anyhow::Error::msg(problem));
            let at = || format!("the X-Verdicts of {}: {proof}", patch.file.display());
            claims.push(Claim {
                pin: pin.clone(),
                patch: patch.name.clone(),
                before: proof.before.parse().map_err(unread).with_context(at)?,
                selection: Selection::parse(&proof.flags)
                    .map_err(unread)
                    .with_context(at)?,
                flags: proof.flags.join(" "),
            });
        }
    }
    Ok(claims)
}

fn verify(
    session: &Session,
    args: &VerifyArgs,
    programs: &Programs,
    variants: &[Variant],
) -> exit::Result<Vec<Outcome>> {
    let progress = match output::is_quiet() {
        true => Progress::silent(),
        false => Progress::stderr(),
    };
    let runner = Runner {
        programs,
        jobs: args.jobs.unwrap_or_else(Runner::usual_jobs),
        launcher: &session.launcher,
        progress: &progress,
    };
    let seed = args.selection.seed.first().copied().unwrap_or_else(now);
    if args.level == Level::Soak {
        say!("soaking from --seed {seed}");
        if args.minutes.is_none() && std::io::stderr().is_terminal() {
            say!("Ctrl-C ends it and prints the report");
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
