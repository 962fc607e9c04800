//! `cargo xtask verify`: runs cases on builds of jaccl and reports the verdicts.

mod wheel;

use std::{
    io::IsTerminal,
    num::NonZeroUsize,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use patch_series::{Class, Patch};
use pins::{DEFAULT_PIN, Pin, Series};
use rail_matrix::Given;
use rail_verify::{
    group::{Build, Programs},
    proof::{self, Proof},
    report,
    resources::{self, Resources},
    run::{Outcome, Runner, Stop, Variant},
    selection::{Level, Selection},
    setup::{GivenMatrix, GivenMatrixError},
    verdict::Verdict,
};
use terminal::Terminal;
use toolchain::build::Request;

use crate::{
    exit::{self, Context, Failure, Kind, Result},
    flags::{ReportFormat, RigFile},
    job_matrix, out, output,
    patch::proof as read,
    programs, say,
    session::Session,
    verify_flags::Verify,
};

/// Stands for every existing pin.
const EVERY_PIN: &str = "all";

pub fn run(session: &Session, flags: &Verify) -> Result {
    // Every error in the user's input is reported before the first build.
    flags.check()?;
    let given = given(flags)?;
    if let Some(file) = &flags.wheel {
        return wheel::run(session, flags, file, given.as_ref());
    }
    let pins = pins(session, &flags.mlx)?;
    if let Some(folder) = &flags.out_dir {
        report::check_output(folder)?;
    }
    match flags.each_patch {
        true => each_patch(session, flags, &pins),
        false => variants(session, flags, &pins, given.as_ref()),
    }
}

/// The matrix of `--devices`, over the cabling of `--rig` or over the one that it states.
fn given(flags: &Verify) -> Result<Option<GivenMatrix>> {
    let Some(path) = &flags.devices else {
        return Ok(None);
    };
    let document = job_matrix::document(path)?;
    let mut named = format!("--devices '{}'", path.display());
    let given = match &flags.rig {
        None => GivenMatrix::alone(&document, named),
        Some(file) => {
            named += &format!(" --rig '{}'", file.display());
            let rig = RigFile {
                file: Some(file.clone()),
            }
            .read()?;
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
    let requests = pins
        .iter()
        .flat_map(|pin| flags.series.iter().map(move |series| (pin, *series)));
    let variants = requests
        .map(|(pin, series)| variant(session, &Request::jaccl(pin, series)))
        .collect::<Result<Vec<_>>>()?;
    let programs = programs::of_verify(session)?;
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
    let report = report::Report::new(flags.level, &outcomes);
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

/// Builds the requested variants; jaccl alone takes half a minute.
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
    let runner = Runner {
        programs,
        given,
        jobs: flags.groups.unwrap_or_else(Runner::usual_jobs),
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

/// Compares every fix with the claim of its header.
fn each_patch(session: &Session, flags: &Verify, pins: &[Pin]) -> Result {
    let claims = claims(session, pins, &flags.patch)?;
    let programs = programs::of_verify(session)?;
    let progress = Terminal::default();
    let runner = Runner {
        programs: &programs,
        given: None,
        jobs: flags.groups.unwrap_or_else(Runner::usual_jobs),
        launcher: &session.launcher,
        progress: &progress,
    };
    let mut proofs = Vec::new();
    let mut ended = Ok(());
    for (number, claim) in claims.iter().enumerate() {
        let place = format!("{} of {}", number + 1, claims.len());
        match prove(session, &runner, claim, &place) {
            Ok(proof) => proofs.push(proof),
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    let interrupted = ended.is_err() && session.launcher.cancel().check().is_err();
    let report = proof::Report::new(&proofs, claims.len(), interrupted);
    if ended.is_ok() || interrupted || !proofs.is_empty() {
        if let Some(folder) = &flags.out_dir {
            report.write(folder)?;
            let folder = folder.display();
            say!("verify-patches.json and verify-patches.md are in {folder}");
        }
        match flags.format {
            ReportFormat::Md => output::document(&report.markdown())?,
            ReportFormat::Json => out!("{}", report.json())?,
        }
    }
    if interrupted {
        say!(
            "interrupted: the report has the proofs so far; the same command tries every claim again"
        );
        return Ok(Kind::Interrupted.into());
    }
    ended?;
    Ok(exit::passed(proofs.iter().all(Proof::holds)))
}

/// Runs the cases of a claim without its patch and with it.
fn prove(session: &Session, runner: &Runner<'_>, claim: &Claim<'_>, place: &str) -> Result<Proof> {
    let Claim { pin, patch, .. } = claim;
    let sweep = |without: Option<&str>| -> Result<Outcome> {
        let request = Request {
            without: without.into_iter().map(str::to_owned).collect(),
            ..Request::jaccl(pin, Series::Patched)
        };
        let variant = variant(session, &request)?;
        let with = if without.is_some() { "without" } else { "with" };
        let what = format!("{patch} of MLX {}, {with} it ({place})", pin.version);
        let mut outcome = runner.prove(&what, &variant, &claim.selection)?;
        match outcome.stopped.take() {
            None => Ok(outcome),
            Some(Stop::Failed(error)) => Err(error.into()),
            Some(Stop::Interrupted) => {
                session.launcher.cancel().check()?;
                Ok(outcome)
            }
        }
    };
    Ok(Proof::new(
        (pin.version.clone(), patch.clone()),
        (claim.before, claim.flags.clone()),
        &sweep(Some(patch))?,
        &sweep(None)?,
    ))
}

/// One line of a patch's `X-Verdicts`.
struct Claim<'a> {
    pin: &'a Pin,
    patch: String,
    before: Verdict,
    flags: String,
    selection: Selection,
}

/// The claims of the pins' fixes, or of the named fixes. Each name must be a fix of some
/// pin; a line reports the pins that lack it.
fn claims<'a>(session: &Session, pins: &'a [Pin], wanted: &[String]) -> Result<Vec<Claim<'a>>> {
    let mut of_pins: Vec<(&Pin, Vec<Patch>)> = Vec::new();
    for pin in pins {
        let mut patches = session.toolchain.series().patches(pin, Series::Patched)?;
        patches.retain(|patch| patch.class == Class::Fix);
        of_pins.push((pin, patches));
    }
    for name in wanted {
        let has = |patches: &[Patch]| patches.iter().any(|patch| patch.name == *name);
        let lacking = of_pins.iter().filter(|(_, patches)| !has(patches));
        let lacking: Vec<&str> = lacking.map(|(pin, _)| pin.version.as_str()).collect();
        if lacking.len() == of_pins.len() {
            let known = of_pins.iter().flat_map(|(_, patches)| patches);
            let error = patch_series::Error::UnknownPatch {
                wanted: name.clone(),
                pin: lacking.join(", "),
                known: known.map(|patch| patch.name.clone()).collect(),
            };
            return Err(error.into());
        }
        if !lacking.is_empty() {
            say!("{name} is no patch of MLX {}", lacking.join(", "));
        }
    }
    let mut claims = Vec::new();
    for (pin, patches) in &of_pins {
        let chosen = |patch: &&Patch| wanted.is_empty() || wanted.contains(&patch.name);
        for patch in patches.iter().filter(chosen) {
            claims.extend(claims_of(pin, patch)?);
        }
    }
    Ok(claims)
}

fn claims_of<'a>(pin: &'a Pin, patch: &Patch) -> Result<Vec<Claim<'a>>> {
    let mut claims = Vec::new();
    for proof in patch.proofs(&read::check)? {
        let (before, selection) = read::read(&proof)
            .map_err(|problem| Failure::ours(anyhow::Error::msg(problem)))
            .with_context(|| format!("the X-Verdicts of {}: {proof}", patch.file.display()))?;
        claims.push(Claim {
            pin,
            patch: patch.name.clone(),
            before,
            selection,
            flags: proof.flags.join(" "),
        });
    }
    Ok(claims)
}
