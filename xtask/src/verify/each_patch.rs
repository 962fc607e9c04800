//! `--each-patch`: holds every patch to the claims of its header.

use collectives::{Cells, Meter, Options, compared};
use patch_series::{Class, Patch};
use pins::{Pin, Series};
use rail_verify::{
    group::Programs,
    proof::{Gain, Proof, Report},
    run::{Outcome, Runner, Stop},
    selection::Selection,
    verdict::Verdict,
};
use terminal::Terminal;
use toolchain::build::Request;

use super::variant;
use crate::{
    exit::{self, Context, Failure, Kind, Result},
    flags::ReportFormat,
    out, output,
    patch::{gain, proof},
    programs, say,
    session::Session,
    verify_flags::Verify,
};

/// How often a gain that falls short is measured: other work of the machine may have delayed
/// one side.
const ATTEMPTS: usize = 2;

pub fn run(session: &Session, flags: &Verify, pins: &[Pin]) -> Result {
    let series = flags.series.iter().max().copied().unwrap_or_default();
    let claims = claims(session, pins, series, &flags.patch)?;
    let programs = programs::of_verify(session)?;
    let progress = Terminal::default();
    let runner = Runner {
        programs: &programs,
        given: None,
        jobs: flags.groups.unwrap_or_else(Runner::usual_jobs),
        stop_after_hang: false,
        launcher: &session.launcher,
        progress: &progress,
    };
    let (mut proofs, mut gains) = (Vec::new(), Vec::new());
    let mut ended = Ok(());
    for (number, claim) in claims.iter().enumerate() {
        let place = format!("{} of {}", number + 1, claims.len());
        ended = match &claim.of {
            Of::Verdict(before, selection) => {
                prove(session, &runner, claim, (*before, selection), &place)
                    .map(|proof| proofs.push(proof))
            }
            Of::Time(ratio, cells) => measure(session, &programs, claim, (*ratio, cells), &place)
                .map(|gain| gains.push(gain)),
        };
        if ended.is_err() {
            break;
        }
    }
    let interrupted = ended.is_err() && session.launcher.cancel().check().is_err();
    let report = Report::new((&proofs, &gains), claims.len(), interrupted);
    if ended.is_ok() || interrupted || !proofs.is_empty() || !gains.is_empty() {
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
    let all_hold = proofs.iter().all(Proof::holds) && gains.iter().all(Gain::holds);
    Ok(exit::passed(all_hold))
}

/// Runs the cases of a claim without its patch and with it.
fn prove(
    session: &Session,
    runner: &Runner<'_>,
    claim: &Claim<'_>,
    (before, selection): (Verdict, &Selection),
    place: &str,
) -> Result<Proof> {
    let Claim { pin, patch, .. } = claim;
    let sides = session.toolchain.series().sides(pin, patch)?;
    let sweep = |without: &[String], with: &str| -> Result<Outcome> {
        let request = Request {
            without: without.to_vec(),
            ..Request::jaccl(pin, sides.series)
        };
        let variant = variant(session, &request)?;
        let what = format!("{patch} of MLX {}, {with} it ({place})", pin.version);
        let mut outcome = runner.prove(&what, &variant, selection)?;
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
        (before, claim.flags.clone()),
        &sweep(&sides.without, "without")?,
        &sweep(&sides.with, "with")?,
    ))
}

/// Measures the benchmark of a claim without its patch and with it, in turns.
fn measure(
    session: &Session,
    programs: &Programs,
    claim: &Claim<'_>,
    (ratio, cells): (f64, &Cells),
    place: &str,
) -> Result<Gain> {
    let Claim { pin, patch, .. } = claim;
    let sides = session.toolchain.series().sides(pin, patch)?;
    let mut variants = Vec::new();
    for without in [sides.without, sides.with] {
        let request = Request {
            without,
            ..Request::jaccl(pin, sides.series)
        };
        variants.push(variant(session, &request)?);
    }
    let progress = Terminal::default();
    let meter = Meter {
        programs,
        launcher: &session.launcher,
        progress: &progress,
        meter: None,
        rig: None,
    };
    say!(
        "what {patch} of MLX {} gains, without it and with it ({place})",
        pin.version
    );
    let mut gain = Gain {
        mlx: pin.version.clone(),
        patch: patch.clone(),
        flags: claim.flags.clone(),
        claim: ratio,
        measured: Vec::new(),
    };
    for _ in 0..ATTEMPTS {
        let measured = meter.measure(&variants, cells, &Options::default())?;
        match measured.stopped {
            None => {}
            Some(Stop::Failed(error)) => return Err(error.into()),
            Some(Stop::Interrupted) => session.launcher.cancel().check()?,
        }
        gain.measured = compared(&measured.rows);
        if gain.holds() {
            break;
        }
    }
    Ok(gain)
}

/// One line of a patch's `X-Verdicts` or `X-Gain`.
struct Claim<'a> {
    pin: &'a Pin,
    patch: String,
    flags: String,
    of: Of,
}

/// What is claimed.
enum Of {
    /// The verdict of cases without the patch; with it they pass.
    Verdict(Verdict, Selection),
    /// The time of cells with the patch, as a share of the time without it.
    Time(f64, Cells),
}

/// The claims of the patches of the pins' series, or of the named ones. Each name must be a
/// patch of some pin that proves itself; a line reports the pins that lack it.
fn claims<'a>(
    session: &Session,
    pins: &'a [Pin],
    series: Series,
    wanted: &[String],
) -> Result<Vec<Claim<'a>>> {
    let mut of_pins: Vec<(&Pin, Vec<Patch>)> = Vec::new();
    for pin in pins {
        let mut patches = session.toolchain.series().patches(pin, series)?;
        patches.retain(|patch| patch.class != Class::Portability);
        of_pins.push((pin, patches));
    }
    for name in wanted {
        let has = |patches: &[Patch]| patches.iter().any(|patch| patch.name == *name);
        let lacking = of_pins.iter().filter(|(_, patches)| !has(patches));
        let lacking: Vec<&str> = lacking.map(|(pin, _)| pin.version.as_str()).collect();
        if lacking.len() == of_pins.len() {
            let known = of_pins.iter().flat_map(|(_, patches)| patches);
            let error = Failure::from(patch_series::Error::UnknownPatch {
                wanted: name.clone(),
                pin: lacking.join(", "),
                known: known.map(|patch| patch.name.clone()).collect(),
            });
            return Err(match series {
                Series::Tuned => error,
                _ => error.help("performance patches are proved with --series tuned".to_owned()),
            });
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
    let claim = |flags: &[String], of: Result<Of, String>, line: String| {
        let of = of
            .map_err(|problem| Failure::ours(anyhow::Error::msg(problem)))
            .with_context(|| format!("what {} claims: {line}", patch.file.display()))?;
        Ok::<_, Failure>(Claim {
            pin,
            patch: patch.name.clone(),
            flags: flags.join(" "),
            of,
        })
    };
    let mut claims = Vec::new();
    for proof in patch.proofs(&proof::check)? {
        let of = proof::read(&proof).map(|(before, cases)| Of::Verdict(before, cases));
        claims.push(claim(&proof.flags, of, proof.to_string())?);
    }
    for gain in patch.gains(&gain::check)? {
        let of = gain::read(&gain).map(|cells| Of::Time(gain.ratio(), cells));
        claims.push(claim(&gain.flags, of, gain.to_string())?);
    }
    Ok(claims)
}
