//! Real ranks on MLX, one process each, over emulated cables, with the launcher's
//! verdict.

use std::path::PathBuf;

use launch::Launcher;
use models::{
    Family,
    tiny::{self, Weights},
};
use rail_bench::{
    BuildInfo, Harness, Options, Plan, Report, RunError, Settings, Workload,
    cabling::Emulated,
    engine::EngineProgram,
    model::{Folder, Model, Preset},
    progress::Progress,
    protocol::Strategy,
};
use rail_matrix::{Backend, Frames};

/// The key of the MLX that this test, and so the rank, is linked against.
fn linked() -> &'static str {
    mlx_core::build_key()
}

/// Runs the benchmark for a build.
fn run(options: Options, build: &str) -> Result<Report, RunError> {
    let plan = Plan::new(options).unwrap();
    let harness = Harness {
        engines: vec![EngineProgram::rust(
            PathBuf::from(env!("CARGO_BIN_EXE_rail-rank")),
            build.to_owned(),
        )],
        cabling: &Emulated::beside_this_program().unwrap(),
        build: BuildInfo {
            mlx: "the default pin".to_owned(),
            series: "patched".to_owned(),
            tree: String::new(),
            patched_tree: String::new(),
            key: build.to_owned(),
            manifest: serde_json::Value::Null,
        },
        launcher: &Launcher::default(),
        progress: Progress::hidden(),
        resumed: vec![],
        record: &|_| Ok(()),
        warnings: vec![],
    };
    let measured = rail_bench::run(&plan, &harness)?;
    assert!(measured.stopped.is_none(), "{:?}", measured.stopped);
    Ok(measured.report)
}

/// Runs the benchmark. Panics with the details of the cells that do not pass.
fn all_pass(options: Options) -> Report {
    let report = run(options, linked()).unwrap();
    assert!(report.all_pass(), "{:#?}", report.cells);
    report
}

/// A small model, one measured run, over this many cables.
fn tiny(cables: &str) -> Options {
    Options {
        cables: Some(cables.parse().unwrap()),
        workloads: vec![Workload {
            prompt_tokens: 24,
            generation_tokens: 12,
            ..Workload::DEFAULT
        }],
        settings: Settings {
            model: Preset::find("qwen3-tiny").unwrap().into(),
            repeat: 1,
            warmup: 0,
            ..Settings::default()
        },
        ..Options::default()
    }
}

#[test]
fn every_strategy_and_backend_decodes_the_single_processs_tokens() {
    let mut options = tiny("1,2");
    options.settings.warmup = 1;
    let report = all_pass(options);
    // The reference, and tp and pp by mesh-1, ring-1 and ring-2.
    assert_eq!(report.cells.len(), 7);
}

#[test]
fn a_rank_names_the_build_that_it_is_linked_against() {
    let error = run(tiny("1"), "0123").unwrap_err();
    assert!(
        matches!(&error, RunError::OtherBuild { loaded, .. } if loaded == linked()),
        "{error}"
    );
}

#[test]
fn a_decode_message_of_8192_bytes_crosses_two_and_three_cables() {
    // The place where an unpatched ring's receive hangs.
    let mut options = tiny("2,3");
    options.strategies = vec![Strategy::Pp];
    options.backends = vec![Backend::Ring];
    options.settings.model = Settings::default().model;
    options.workloads[0].prompt_tokens = 8;
    options.workloads[0].generation_tokens = 4;
    let report = all_pass(options);
    let widest = report.cells.last().unwrap();
    let decode: Vec<u64> = widest.decode_cable_bytes.values().copied().collect();
    assert_eq!(decode.len(), 3);
    assert!(
        decode.iter().all(|&bytes| bytes >= 3 * 8192 / 3),
        "{decode:?}"
    );
}

#[test]
fn big_frames_decode_the_same() {
    let mut options = tiny("3");
    options.workloads[0].frames = Frames::Big;
    all_pass(options);
}

#[test]
fn a_folder_has_the_same_bits_on_all_ranks_and_in_pp_the_single_processs_tokens() {
    for (family, weights) in [
        (Family::Llama, Weights::Quantised),
        (Family::Qwen3, Weights::Plain),
    ] {
        let root = tempfile::tempdir().unwrap();
        tiny::write(family, weights, 7, root.path()).unwrap();
        let mut options = tiny("2");
        options.settings.model = Model::Folder(Folder::open(None, root.path()).unwrap());
        let report = run(options, linked()).unwrap();
        assert!(!report.any_failed(), "{:#?}", report.cells);
        let noise = report.cells[0].evidence.as_ref().unwrap().noise.unwrap();
        for cell in &report.cells[1..] {
            let checks = cell.checks.iter().map(|it| it.name());
            match cell.strategy {
                // Another order of sums moves logits, and no farther than the model's own
                // noise says.
                Strategy::Tp => {
                    assert!(checks.eq(["ranks", "cross", "logits"]), "{cell:#?}");
                    let moved = cell.movement.unwrap();
                    assert!(moved > 0.0 && moved <= 8.0 * noise, "{moved} {noise}");
                }
                _ => {
                    assert!(checks.eq(["ranks", "exact"]), "{cell:#?}");
                    assert!(cell.tokens_match, "{cell:#?}");
                }
            }
        }
    }
}

#[test]
fn a_run_with_a_split_says_where_the_time_of_every_rank_went() {
    let mut options = tiny("2");
    options.settings.split = 2;
    let report = all_pass(options);
    for cell in &report.cells {
        let split = cell.time_split.as_ref().unwrap();
        let ranks = cell.nodes.len().max(1);
        let phases = [&split.prefill_ms, &split.decode_ms];
        assert_eq!(phases.map(Vec::len), [ranks; 2], "{}", cell.cell());
        for parts in phases.into_iter().flatten() {
            assert!(parts.compute > 0.0 && parts.host > 0.0, "{parts:?}");
            assert_eq!(parts.cable > 0.0, ranks > 1, "{}: {parts:?}", cell.cell());
        }
        assert_eq!(split.cost.apart.is_some(), ranks > 1);
    }
}
