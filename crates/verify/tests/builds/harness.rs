//! Builds, and a runner for them.

use std::num::NonZeroUsize;

use launch::Launcher;
use pins::{DEFAULT_PIN, Series};
use rail_verify::{
    group::{Build, Programs},
    progress::Silent,
    run::{Outcome, RunError, Runner, Variant},
    selection::{Level, Selection},
    setup::GivenMatrix,
    verdict::Verdict,
};
use toolchain::{Toolchain, build::Request};

/// A pin's jaccl without one of its patches, built first if the store does not have it.
pub fn build(version: &str, series: Series, without: Option<&str>) -> Variant {
    let toolchain = Toolchain::open().unwrap_or_else(|error| panic!("{error}"));
    build_by(&toolchain, version, series, without)
}

/// The same of the toolchain's checkout.
pub fn build_by(
    toolchain: &Toolchain,
    version: &str,
    series: Series,
    without: Option<&str>,
) -> Variant {
    let make = || -> toolchain::Result<Build> {
        let pin = toolchain.pin(version)?;
        let request = Request {
            without: without.into_iter().map(str::to_owned).collect(),
            ..Request::jaccl(&pin, series)
        };
        let build = toolchain.build(&request)?;
        Ok(Build {
            library: build.library(),
            key: build.manifest.key,
        })
    };
    Variant {
        mlx: version.to_owned(),
        series: series.to_string(),
        wheel: None,
        build: make().unwrap_or_else(|error| panic!("{error}")),
        manifest: serde_json::Value::Null,
    }
}

/// The default pin's jaccl with all fixes.
pub fn patched() -> Variant {
    build(DEFAULT_PIN, Series::Patched, None)
}

/// The default pin's jaccl with all patches.
pub fn tuned() -> Variant {
    build(DEFAULT_PIN, Series::Tuned, None)
}

/// The default pin's unpatched jaccl.
pub fn stock() -> Variant {
    build(DEFAULT_PIN, Series::Stock, None)
}

pub fn programs() -> Programs {
    Programs {
        rank: env!("CARGO_BIN_EXE_jaccl-rank").into(),
        provider: softrail::provider_library().expect("the provider"),
        hosts: None,
    }
}

pub fn select(flags: &str) -> Selection {
    let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
    Selection::parse(&flags).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs the cases of the quick level that the flags select.
pub fn sweep(variant: &Variant, flags: &str) -> Outcome {
    try_sweep(variant, flags, &Launcher::default()).unwrap_or_else(|error| panic!("{error}"))
}

pub fn try_sweep(variant: &Variant, flags: &str, launcher: &Launcher) -> Result<Outcome, RunError> {
    sweep_with(&programs(), variant, flags, launcher)
}

/// The same with other programs.
pub fn sweep_with(
    programs: &Programs,
    variant: &Variant,
    flags: &str,
    launcher: &Launcher,
) -> Result<Outcome, RunError> {
    sweep_over(None, programs, variant, flags, launcher)
}

/// The same over a matrix that was given.
pub fn sweep_over(
    given: Option<&GivenMatrix>,
    programs: &Programs,
    variant: &Variant,
    flags: &str,
    launcher: &Launcher,
) -> Result<Outcome, RunError> {
    let runner = Runner {
        programs,
        given,
        jobs: NonZeroUsize::new(2).expect("two"),
        stop_after_hang: false,
        launcher,
        progress: &Silent,
    };
    runner.sweep(variant, Level::Quick, &select(flags))
}

/// Asserts that every case passed.
#[track_caller]
pub fn expect_pass(outcome: &Outcome) {
    let failures: Vec<String> = outcome
        .failures()
        .map(|(case, finding)| format!("{case}: {}: {}", finding.verdict, finding.detail))
        .collect();
    assert!(outcome.passed(), "{failures:#?}");
}

/// Asserts that every case ended with this verdict.
#[track_caller]
pub fn expect_all(outcome: &Outcome, verdict: Verdict) {
    let count = outcome.count();
    assert_eq!(count[&verdict], outcome.cases.len(), "{count:?}");
}
