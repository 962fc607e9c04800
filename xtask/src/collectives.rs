//! `cargo xtask collectives`: measures jaccl's collectives and prints a table.

use std::path::PathBuf;

use collectives::{Meter, report::Report};
use pins::Pin;
use rail_verify::{
    report::check_output,
    run::{Stop, Variant},
};
use rig::Rig;
use terminal::Terminal;
use toolchain::build::Request;

use crate::{
    collectives_flags::{Collectives, Format},
    exit::{self, Kind, Result},
    hosts::{self, Ready},
    out, output, programs, say,
    session::Session,
    verify::{pins, variants_of},
};

pub fn run(session: &Session, flags: &Collectives) -> Result {
    // Every error in the user's input is reported before the first build.
    let rig = flags.rig.as_deref().map(Rig::read).transpose()?;
    let (cells, options) = (flags.cells(rig.as_ref()), flags.options(rig.as_ref()));
    cells.check()?;
    options.check()?;
    let pins = pins(session, &flags.mlx)?;
    if let Some(folder) = &flags.out_dir {
        check_output(folder)?;
    }
    let ready = rig.as_ref().map(|rig| Ready::of(session, rig));
    let ready = ready.transpose()?.unwrap_or_default();
    let mut variants = variants_of(session, &pins, &flags.series)?;
    let programs = hosts::of_verify(session, ready, variants.iter().map(|it| &it.build))?;
    let library = flags.meter.then(|| programs::meter(session)).transpose()?;
    if library.is_some() {
        let both = |it: Variant| [it.clone(), metered(it)];
        variants = variants.into_iter().flat_map(both).collect();
    }
    let progress = Terminal::default();
    let meter = Meter {
        programs: &programs,
        launcher: &session.launcher,
        progress: &progress,
        meter: library.as_deref(),
        rig: rig.as_ref(),
    };
    let mut measured = meter.measure(&variants, &cells, &options)?;
    let mut ran = Ok(());
    if flags.foreign && measured.stopped.is_none() {
        let programs = foreign(session, flags, &pins)?;
        ran = meter.measure_foreign(&programs, &options, &mut measured);
        if ran.is_err() && session.launcher.cancel().is_cancelled() {
            measured.stopped = Some(Stop::Interrupted);
        }
    }
    let report = Report {
        variants: &variants,
        options: &options,
        rig: rig.as_ref(),
        measured: &measured,
        nodes: programs.nodes(),
    };
    if let Some(folder) = &flags.out_dir {
        report.write(folder)?;
        let folder = folder.display();
        say!("collectives.json, collectives.md and collectives.csv are in {folder}");
    }
    match flags.format {
        Format::Md => output::document(&report.markdown())?,
        Format::Json => out!("{}", report.json())?,
        Format::Csv => output::document(&report.csv())?,
    }
    let passed = measured.passed();
    match measured.stopped {
        None => ran.map(|()| exit::passed(passed)).map_err(Into::into),
        Some(Stop::Interrupted) => {
            say!("interrupted: the report has the rows so far");
            Ok(Kind::Interrupted.into())
        }
        Some(Stop::Failed(error)) => Err(error.into()),
    }
}

/// A build under the name that it has behind the meter.
fn metered(build: Variant) -> Variant {
    Variant {
        series: format!("{}, metered", build.series),
        ..build
    }
}

/// MLX's own benchmark of each build, in the order of the builds.
fn foreign(session: &Session, flags: &Collectives, pins: &[Pin]) -> Result<Vec<PathBuf>> {
    let mut programs = Vec::new();
    for pin in pins {
        for series in &flags.series {
            let tree = session.toolchain.series().patch(pin, *series)?;
            let build = session.toolchain.build(&Request::jaccl(pin, *series))?;
            programs.push(session.toolchain.allreduce_bench(&build, &tree.path)?);
        }
    }
    Ok(programs)
}
