//! Real ranks on MLX, one process each, over emulated cables, judged by the
//! launcher.

use std::path::PathBuf;

use clap::Parser;
use launch::Launcher;
use rail_bench::{
    BenchArgs, BuildInfo, Harness, Plan, Report, cabling::Emulated, launch::RankProgram,
    progress::Progress,
};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

/// Runs a command line of the benchmark. Every cell passes, or the details of
/// those that do not are in the panic.
fn all_pass(line: &str) -> Report {
    let words = std::iter::once("bench").chain(line.split_whitespace());
    let plan = Plan::from_args(&Cli::try_parse_from(words).unwrap().bench).unwrap();
    let harness = Harness {
        program: RankProgram {
            path: PathBuf::from(env!("CARGO_BIN_EXE_rail-rank")),
            env: vec![("OPENBLAS_NUM_THREADS".to_owned(), "1".to_owned())],
        },
        cabling: &Emulated::beside_this_program().unwrap(),
        build: BuildInfo {
            mlx: "the default pin".to_owned(),
            series: "patched".to_owned(),
            tree: String::new(),
            patched_tree: String::new(),
            key: String::new(),
        },
        launcher: &Launcher::default(),
        progress: Progress::hidden(),
        warnings: vec![],
    };
    let report = rail_bench::run(&plan, &harness).unwrap();
    assert!(report.all_pass(), "{:#?}", report.cells);
    report
}

#[test]
fn every_strategy_and_backend_decodes_the_single_processs_tokens() {
    let report = all_pass("--model qwen3-tiny -p 24 -g 12 -r 1 --warmup 1 --cables 1,2");
    // The reference, and tp and pp by mesh-1, ring-1 and ring-2.
    assert_eq!(report.cells.len(), 7);
}

#[test]
fn a_decode_message_of_8192_bytes_crosses_two_and_three_cables() {
    // Where an unpatched ring's receive hangs.
    let report = all_pass("--strategy pp --backend ring --cables 2,3 -p 8 -g 4 -r 1 --warmup 0");
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
    all_pass("--model qwen3-tiny --frames big --cables 3 -p 24 -g 12 -r 1 --warmup 0");
}
