//! The report in the words of llama-bench.
//!
//! The fields are those of `tools/llama-bench/llama-bench.cpp` of ggml-org/llama.cpp at
//! commit 0104b15 (`test::get_fields`, `jsonl_printer`, `markdown_printer`). A cell that
//! passed is two tests, its prefill and its decode.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use jiff::Timestamp;
use serde::Serialize;
use stats::Summary;

use super::{CellReport, Report};
use crate::{engine::Engine, protocol::Strategy, workload::Workload};

/// A test. What has no counterpart here is 0, false or empty.
#[derive(Serialize)]
struct Test<'a> {
    /// As `pp512` and `tg128 @ d4096`, of the table alone.
    #[serde(skip)]
    name: String,
    build_commit: &'a str,
    build_number: u32,
    cpu_info: &'static str,
    gpu_info: &'static str,
    backends: String,
    model_filename: &'a str,
    model_type: &'a str,
    model_size: u64,
    model_n_params: u64,
    n_batch: usize,
    n_ubatch: usize,
    n_threads: usize,
    cpu_mask: &'static str,
    cpu_strict: bool,
    poll: u32,
    type_k: &'static str,
    type_v: &'static str,
    n_gpu_layers: i32,
    n_cpu_moe: u32,
    split_mode: &'static str,
    main_gpu: u32,
    no_kv_offload: bool,
    flash_attn: i32,
    devices: String,
    tensor_split: &'static str,
    tensor_buft_overrides: &'static str,
    load_mode: &'static str,
    embeddings: bool,
    no_op_offload: u32,
    no_host: bool,
    fit_target: u32,
    fit_min_ctx: u32,
    n_prompt: usize,
    n_gen: usize,
    n_depth: usize,
    test_time: String,
    avg_ns: u64,
    stddev_ns: u64,
    avg_ts: f64,
    stddev_ts: f64,
    samples_ns: Vec<u64>,
    samples_ts: Vec<f64>,
}

/// A JSON object a line.
pub(super) fn lines(report: &Report) -> String {
    let mut lines = String::new();
    for test in tests(report) {
        lines += &serde_json::to_string(&test).expect("a report is plain data");
        lines.push('\n');
    }
    lines
}

/// The table.
pub(super) fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["model", "size", "backend", "sm", "test", "t/s"]);
    for column in [1, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for test in tests(report) {
        table.add_row([
            test.model_type.replace('|', "\\|"),
            size(test.model_size),
            test.backends.clone(),
            test.split_mode.to_owned(),
            test.name,
            format!("{:.2} ± {:.2}", test.avg_ts, test.stddev_ts),
        ]);
    }
    let build = &report.build.patched_tree;
    format!("{}\n\nbuild: {build} (0)\n", table.trim_fmt())
}

fn tests(report: &Report) -> Vec<Test<'_>> {
    let cells = report.cells.iter();
    let passed = cells.filter(|cell| cell.verdict.is_sound());
    let tests = passed.flat_map(|cell| {
        let prefill = cell.prompt_tps.as_ref();
        let decode = cell.generation_tps.as_ref();
        let Workload {
            prompt_tokens: prompt,
            generation_tokens: generated,
            depth,
            ..
        } = cell.workload;
        // The prompt is in the cache when decode begins.
        [
            prefill.map(|tps| Test::of(report, cell, (prompt, 0, depth), tps)),
            decode.map(|tps| Test::of(report, cell, (0, generated, depth + prompt), tps)),
        ]
    });
    tests.flatten().collect()
}

impl<'a> Test<'a> {
    /// The test of these numbers of tokens (prompt, generated, in the cache before) at these
    /// rates. llama-bench has no token that belongs to the prompt, so the times of generated
    /// tokens are those of as many at the rate of the ones after the first.
    fn of(
        report: &'a Report,
        cell: &CellReport,
        (n_prompt, n_gen, n_depth): (usize, usize, usize),
        tps: &Summary,
    ) -> Self {
        let tokens = (n_prompt + n_gen) as f64;
        let times = tps.samples.iter().map(|rate| 1e9 * tokens / rate);
        let times = Summary::of(times.collect()).expect("a summary has samples");
        let joined = match cell.backend {
            None => String::new(),
            Some(backend) => format!(" jaccl {backend}-{}", cell.cables),
        };
        Self {
            name: match n_gen {
                0 => cell.workload.prefill_test(),
                _ => cell.workload.decode_test(),
            },
            build_commit: &report.build.patched_tree,
            build_number: 0,
            cpu_info: "",
            gpu_info: "",
            backends: match cell.engine {
                Engine::Rust => format!("MLX{joined}"),
                engine => format!("MLX {engine}{joined}"),
            },
            model_filename: report.model.name(),
            model_type: report.model.name(),
            model_size: whole_bytes(report, cell.engine),
            model_n_params: 0,
            n_batch: cell.workload.prefill_step.unwrap_or(0),
            n_ubatch: 0,
            n_threads: 0,
            cpu_mask: "0x0",
            cpu_strict: false,
            poll: 0,
            type_k: "",
            type_v: "",
            n_gpu_layers: 0,
            n_cpu_moe: 0,
            split_mode: match cell.strategy {
                Strategy::Tp => "tensor",
                Strategy::Pp => "layer",
                Strategy::Single => "none",
            },
            main_gpu: 0,
            no_kv_offload: false,
            flash_attn: 0,
            devices: match cell.nodes.is_empty() {
                true => "none".to_owned(),
                false => cell.nodes.join("/"),
            },
            tensor_split: "0.00",
            tensor_buft_overrides: "none",
            load_mode: "none",
            embeddings: false,
            no_op_offload: 0,
            no_host: false,
            fit_target: 0,
            fit_min_ctx: 0,
            n_prompt,
            n_gen,
            n_depth,
            test_time: Timestamp::now().strftime("%FT%TZ").to_string(),
            avg_ns: times.mean.round() as u64,
            stddev_ns: times.stddev.unwrap_or(0.0).round() as u64,
            avg_ts: tps.mean,
            stddev_ts: tps.stddev.unwrap_or(0.0),
            samples_ns: times.samples.iter().map(|ns| ns.round() as u64).collect(),
            samples_ts: tps.samples.clone(),
        }
    }
}

/// The bytes of the whole model's weights; 0 where no single process has loaded them.
fn whole_bytes(report: &Report, engine: Engine) -> u64 {
    let mut cells = report.cells.iter();
    let whole = cells.find(|cell| (cell.strategy, cell.engine) == (Strategy::Single, engine));
    whole
        .and_then(|cell| cell.weight_bytes.first().copied())
        .unwrap_or(0)
}

fn size(bytes: u64) -> String {
    const MIB: f64 = 1048576.0;
    let mib = bytes as f64 / MIB;
    match mib < 1024.0 {
        true => format!("{mib:.2} MiB"),
        false => format!("{:.2} GiB", mib / 1024.0),
    }
}
