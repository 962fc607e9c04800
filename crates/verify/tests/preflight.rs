//! Real jaccl over emulated rigs with faults.

use std::time::Duration;

use launch::Launcher;
use pins::{DEFAULT_PIN, Series};
use rail_matrix::{Given, Options};
use rail_verify::{
    group::{Build, Programs},
    preflight::{
        self, Plan, Ranks, Report,
        Verdict::{self, Crossed, Dead, Ok as Well, Slow},
    },
};
use rig::Rig;
use toolchain::{Toolchain, build::Request};

const WRONG: [Verdict; 3] = [Dead, Crossed, Slow];

/// The shim of the default pin's jaccl.
fn build(series: Series) -> Build {
    let build = || -> toolchain::Result<Build> {
        let toolchain = Toolchain::open()?;
        let pin = toolchain.pin(DEFAULT_PIN)?;
        let build = toolchain.build(&Request::jaccl(&pin, series))?;
        Ok(Build {
            library: build.library(),
            key: build.manifest.key,
        })
    };
    build().unwrap_or_else(|error| panic!("{error}"))
}

/// The embedded rig, with changed text and added faults.
fn rig(change: impl Fn(String) -> String, faults: &str) -> Rig {
    Rig::parse(&(change(Rig::embedded().to_toml()) + faults)).expect("a rig")
}

fn as_it_is(text: String) -> String {
    text
}

fn fault(on: &str, kind: &str) -> String {
    format!("[[fault]]\n{on}\nkind = \"{kind}\"\n")
}

/// Checks a rig with a given matrix, or with its own.
fn check(rig: Rig, matrix: Option<&str>, series: Series) -> Report {
    check_within(Duration::from_secs(1), rig, matrix, series)
}

fn check_within(timeout: Duration, rig: Rig, matrix: Option<&str>, series: Series) -> Report {
    let plan = match matrix {
        Some(json) => {
            let given = Given::over(json.as_bytes(), &rig).expect("a matrix of the rig");
            Plan::of_given(rig, &given)
        }
        None => Plan::of_rig(rig, &Options::default()).expect("a rig with a matrix"),
    };
    let programs = Programs {
        rank: env!("CARGO_BIN_EXE_jaccl-rank").into(),
        provider: softrail::provider_library().expect("the provider"),
        hosts: None,
    };
    let build = build(series);
    let mut ranks = Ranks {
        programs: &programs,
        build: &build,
        rig: &plan.rig,
        timeout,
        launcher: &Launcher::default(),
    };
    let checked = preflight::check(&plan, &mut ranks, |_| {});
    assert!(
        checked.stopped.is_none(),
        "groups start: {:?}",
        checked.stopped
    );
    Report::new("0.31.2", series.name(), plan, checked.rails)
}

fn verdicts(report: &Report) -> Vec<Verdict> {
    report.rails.iter().map(|rail| rail.verdict).collect()
}

/// The embedded rig's three cables, straight.
const STRAIGHT: &str = r#"[[[], ["rdma_en5", "rdma_en6", "rdma_en7"]],
                           [["rdma_en5", "rdma_en6", "rdma_en7"], []]]"#;

#[test]
fn a_healthy_rig_is_ok_on_stock_and_patched() {
    for series in [Series::Stock, Series::Patched] {
        let report = check(rig(as_it_is, ""), None, series);
        assert!(report.all_ok(), "{:#?}", report.rails);
        for rates in report.rails.iter().map(|rail| rail.mb_per_s) {
            let [there, back] = rates.expect("measured");
            assert!(there > 0.0 && back > 0.0, "{there} and {back} MB/s");
        }
    }
}

#[test]
fn swapped_rails_are_found_to_be_swapped() {
    let crossed = r#"[[[], ["rdma_en5", "rdma_en6", "rdma_en7"]], [["rdma_en5", "rdma_en7", "rdma_en6"], []]]"#;
    let report = check(rig(as_it_is, ""), Some(crossed), Series::Patched);
    assert_eq!(verdicts(&report), [Well, Crossed, Crossed]);
    let found = report.findings(&WRONG);
    assert_eq!(found.len(), 1);
    for words in [
        "rails 1 and 2 between a and b are swapped",
        "a's rdma_en6 is cabled to b's rdma_en6 (cable-2)",
        "a's rdma_en7 is cabled to b's rdma_en7 (cable-3)",
    ] {
        assert!(found[0].contains(words), "{}", found[0]);
    }
}

#[test]
fn a_cut_cable_is_dead() {
    let report = check(
        rig(as_it_is, &fault("cable = \"cable-2\"", "cut")),
        None,
        Series::Patched,
    );
    assert_eq!(verdicts(&report), [Well, Dead, Well]);
    let detail = report.rails[1].detail.as_deref().expect("why");
    assert!(detail.contains("look at cable-2"), "{detail}");
}

/// The planner would leave it out.
#[test]
fn a_slow_cable_among_faster_ones_is_slow() {
    let slower = |text: String| {
        let (before, after) = text.split_once("50 MB/s").expect("a bandwidth");
        format!("{before}10 MB/s{after}")
    };
    let report = check(rig(slower, ""), Some(STRAIGHT), Series::Patched);
    assert_eq!(verdicts(&report), [Slow, Well, Well]);
    let detail = report.rails[0].detail.as_deref().expect("why");
    assert!(detail.contains("the pace of this one"), "{detail}");
}

/// A frame takes longer over this cable than the timeout.
#[test]
fn a_cable_that_is_stated_to_be_slow_is_given_its_time() {
    let rig = rig(|text| text.replace("50 MB/s", "10 kB/s"), "");
    let one = rig.with_cables(1).expect("three cables");
    let report = check_within(Duration::from_millis(250), one, None, Series::Patched);
    assert!(report.all_ok(), "{:#?}", report.rails);
}

#[test]
fn a_device_that_is_cabled_to_another_node_is_found_there() {
    let rig = Rig::parse(
        r#"
        node = [{ name = "a" }, { name = "b" }, { name = "c" }]
        cable = [
            { name = "ab", ends = ["a:en1", "b:en1"] },
            { name = "astray", ends = ["a:en2", "c:en2"] },
            { name = "bc", ends = ["b:en2", "c:en1"] },
        ]
        "#,
    )
    .expect("a rig");
    let report = check(
        rig,
        Some(r#"[[null, ["en1", "en2"], null], [["en1", "en2"], null, null], [null, null, null]]"#),
        Series::Patched,
    );
    assert_eq!(verdicts(&report), [Well, Crossed]);
    let detail = report.rails[1].detail.as_deref().expect("why");
    for words in [
        "a's en2 is cabled to c's en2 (astray)",
        "b's en2 is cabled to c's en1 (bc)",
    ] {
        assert!(detail.contains(words), "{detail}");
    }
}

/// The ranks of a probe are on the nodes of its rail, wherever the rig lists them.
#[test]
fn the_rails_of_a_ring_in_another_order_than_the_rigs_are_ok() {
    let rig = Rig::parse(include_str!(
        "../../../crates/rig/examples/ring-of-four.toml"
    ))
    .expect("a rig");
    let report = check(rig, None, Series::Patched);
    assert_eq!(report.rails.len(), 4);
    let carries = |rail: &preflight::RailReport| rail.mb_per_s.is_some();
    assert!(report.rails.iter().all(carries), "{:#?}", report.rails);
}

/// Patched jaccl reports the problem; stock jaccl crashes on a missing device. In both
/// cases the rail is dead, the other rail is not, and the report names the device.
#[test]
fn broken_devices_are_dead_and_named() {
    let kinds = ["absent", "no-gid", "port-down", "refusing", "failing"];
    let patched = kinds.map(|kind| (Series::Patched, kind));
    for (series, kind) in patched.into_iter().chain([(Series::Stock, "absent")]) {
        let broken = rig(as_it_is, &fault("device = \"b:rdma_en6\"", kind));
        let two = broken.with_cables(2).expect("three cables");
        let report = check(two, None, series);
        assert_eq!(verdicts(&report), [Well, Dead], "{series} {kind}");
        let detail = report.rails[1].detail.as_deref().expect("why");
        assert!(detail.contains("b's rdma_en6"), "{series} {kind}: {detail}");
    }
}
