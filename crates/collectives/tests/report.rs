//! The three formats.

use collectives::{
    Cells, Measured, Options, Ratio, Row, Times, bandwidth,
    cells::Cell,
    foreign::Foreign,
    report::{Report, SCHEMA},
};
use rail_verify::{
    group::Build,
    run::{Stop, Variant},
    verdict::Verdict,
};
use serde_json::Value;

fn variant(series: &str) -> Variant {
    Variant {
        mlx: "0.31.2".to_owned(),
        series: series.to_owned(),
        wheel: None,
        build: Build {
            library: "libjaccl_shim.so".into(),
            key: "0123".to_owned(),
        },
        manifest: Value::Null,
    }
}

fn cell(flags: &str) -> Cell {
    Cells::parse(flags).expect("cells").cells()[0]
}

fn row(series: &str, flags: &str, samples: &[f64]) -> Row {
    let cell = cell(flags);
    let time_us = Times::of(samples.to_vec());
    let bandwidths = time_us
        .as_ref()
        .and_then(|times| bandwidth::of(&cell, times.median / 1e6, 50_000_000));
    Row {
        build: 0,
        cell,
        mlx: "0.31.2".to_owned(),
        series: series.to_owned(),
        op: cell.op,
        backend: cell.backend.name(),
        ranks: cell.ranks,
        cables: cell.cables,
        frames: cell.frames.name(),
        bytes: cell.bytes,
        count: cell.count(),
        dtype: cell.dtype.name(),
        verdict: Verdict::Pass,
        detail: None,
        time_us,
        algbw: bandwidths.map(|it| it.algorithm),
        busbw: bandwidths.map(|it| it.bus),
        line_share: bandwidths.map(|it| it.line_share),
        wrong: 0,
        ratio: None,
        foreign: None,
        turns: 1,
        dilate: 1,
        bandwidth: 50_000_000,
        latency: 20.0,
    }
}

/// A row that was measured, one that is faster, one with wrong data, and one that hangs.
fn measured() -> Measured {
    let sum = "--backend ring --cables 3 --frames big --bytes 1MiB";
    let first = row("patched", sum, &[10_800.0, 10_750.0, 10_900.0]);
    let mut faster = row("tuned", sum, &[7_050.0, 7_040.0]);
    faster.ratio = Some(Ratio {
        median: 0.652_314,
        min: 0.648,
        max: 0.701,
    });
    let mut wrong = row(
        "patched",
        "--op all_gather --backend mesh --cables 1 --bytes 4KiB",
        &[125.25],
    );
    wrong.wrong = 3;
    wrong.verdict = Verdict::Wrong;
    wrong.detail = Some("rank 1 has wrong data: byte 0 of 8192".to_owned());
    wrong.foreign = Some(Foreign {
        time_us: Some(123.4),
        check: "FAIL".to_owned(),
    });
    let mut hang = row("patched", "--op send --backend ring --bytes 12288", &[]);
    hang.verdict = Verdict::Hang;
    hang.detail = Some("rank 0 is done; rank 1 waits in jaccl::RingGroup::recv".to_owned());
    Measured {
        rows: vec![first, faster, wrong, hang],
        planned: 6,
        stopped: Some(Stop::Interrupted),
    }
}

fn with<T>(options: &Options, render: impl FnOnce(Report<'_>) -> T) -> T {
    let variants = [variant("patched"), variant("tuned")];
    render(Report {
        variants: &variants,
        options,
        rig: None,
        measured: &measured(),
        nodes: &[],
    })
}

#[test]
fn people_get_a_table_and_what_it_does_not_show() {
    let text = with(&Options::default(), |report| report.markdown());
    insta::assert_snapshot!(text);
}

#[test]
fn virtual_time_says_so() {
    let options = Options {
        dilate: 1000,
        ..Options::default()
    };
    let text = with(&options, |report| report.markdown());
    let heading = text.lines().next().expect("a heading");
    assert!(heading.contains("Virtual time: the cables ran 1000 times slower"));
    assert!(heading.contains("No Mac was measured"));
}

#[test]
fn a_line_has_a_field_for_each_column() {
    insta::assert_snapshot!(with(&Options::default(), |report| report.csv()));
}

#[test]
fn programs_get_every_sample_under_fixed_names() {
    let text = with(&Options::default(), |report| report.json());
    let json: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&json["schema"], &json["interrupted"]),
        (&SCHEMA.into(), &true.into())
    );
    assert_eq!(json["builds"][1]["series"], "tuned");
    let first = &json["rows"][0];
    let names = "mlx series op backend ranks cables frames bytes dtype time_us algbw busbw \
                 line_share wrong verdict dilate bandwidth latency ratio";
    for name in names.split_whitespace() {
        assert!(first.get(name).is_some(), "{name}");
    }
    assert_eq!(first["time_us"]["median"], 10_800.0);
    assert_eq!(first["time_us"]["p99"], 10_900.0);
    assert_eq!(
        first["time_us"]["samples"].as_array().map(Vec::len),
        Some(3)
    );
    let share = first["line_share"].as_f64().expect("a share");
    assert!(
        (share - 1_048_576.0 / 10_800e-6 / 150e6).abs() < 1e-9,
        "{share}"
    );
    let hang = &json["rows"][3];
    assert_eq!(hang["verdict"], "hang");
    assert!(hang["time_us"].is_null() && hang["busbw"].is_null());
}

#[test]
fn it_is_three_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    with(&Options::default(), |report| report.write(folder.path())).expect("a report");
    for name in ["collectives.json", "collectives.md", "collectives.csv"] {
        let text = std::fs::read_to_string(folder.path().join(name)).expect(name);
        assert!(text.ends_with('\n'), "{name}");
    }
}

#[test]
fn what_is_not_right_does_not_pass() {
    let mut measured = measured();
    measured.stopped = None;
    assert!(!measured.passed());
    measured.rows.truncate(2);
    assert!(measured.passed());
    measured.rows[0].foreign = Some(Foreign {
        time_us: None,
        check: "it did not end".to_owned(),
    });
    assert!(!measured.passed());
}
