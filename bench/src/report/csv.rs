//! One row for each cell.

use std::{collections::BTreeMap, fmt};

use rail_matrix::{Backend, Frames};
use serde::{Serialize, Serializer};
use stats::Summary;

use super::{CellReport, NO_BACKEND, Parts, Report};
use crate::{engine::Engine, protocol::Strategy, verdict::Verdict};

/// The fields are the columns, in this order.
#[derive(Serialize)]
struct Row<'a> {
    strategy: Strategy,
    backend: &'static str,
    cables: usize,
    frames: Frames,
    prompt_tokens: usize,
    generation_tokens: usize,
    verdict: Verdict,
    tokens_match: bool,
    #[serde(serialize_with = "figure")]
    ttft_ms_median: Option<f64>,
    #[serde(serialize_with = "figure")]
    ttft_ms_stddev: Option<f64>,
    #[serde(serialize_with = "figure")]
    prompt_tps_median: Option<f64>,
    #[serde(serialize_with = "figure")]
    generation_tps_median: Option<f64>,
    #[serde(serialize_with = "figure")]
    generation_tps_stddev: Option<f64>,
    #[serde(serialize_with = "figure")]
    itl_ms_p50: Option<f64>,
    #[serde(serialize_with = "figure")]
    itl_ms_p90: Option<f64>,
    #[serde(serialize_with = "figure")]
    itl_ms_p99: Option<f64>,
    cable_bytes: String,
    decode_cable_bytes: String,
    detail: Option<&'a str>,
    engine: Engine,
    load_ms: String,
    peak_bytes: String,
    weight_bytes: String,
    test: &'a str,
    depth: usize,
    prefill_step: Option<usize>,
    fast_synch: bool,
    env: String,
    #[serde(serialize_with = "figure")]
    tpot_ms_median: Option<f64>,
    #[serde(serialize_with = "figure")]
    tpot_ms_stddev: Option<f64>,
    #[serde(serialize_with = "figure")]
    e2e_ms_median: Option<f64>,
    #[serde(serialize_with = "figure")]
    e2e_ms_stddev: Option<f64>,
    rank_ttft_ms: String,
    rank_tpot_ms: String,
    rank_e2e_ms: String,
    #[serde(serialize_with = "figure")]
    skew_ms_p50: Option<f64>,
    #[serde(serialize_with = "figure")]
    skew_ms_p99: Option<f64>,
    #[serde(serialize_with = "figure")]
    line_mb_s: Option<f64>,
    #[serde(serialize_with = "figure")]
    prefill_busbw_mb_s: Option<f64>,
    #[serde(serialize_with = "figure")]
    decode_busbw_mb_s: Option<f64>,
    prefill_split_ms: String,
    decode_split_ms: String,
}

pub(super) fn render(report: &Report) -> String {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for cell in &report.cells {
        csv.serialize(Row::of(cell)).expect("a row is plain data");
    }
    let bytes = csv.into_inner().expect("a vector takes everything");
    String::from_utf8(bytes).expect("every field is text")
}

impl<'a> Row<'a> {
    fn of(cell: &'a CellReport) -> Self {
        let median = |summary: &Option<Summary>| summary.as_ref().map(|s| s.median);
        let stddev = |summary: &Option<Summary>| summary.as_ref().and_then(|s| s.stddev);
        let (itl, workload) = (cell.itl_ms, cell.workload);
        let split = cell.time_split.as_ref();
        Self {
            strategy: cell.strategy,
            backend: cell.backend.map_or(NO_BACKEND, Backend::name),
            cables: cell.cables,
            frames: workload.frames,
            prompt_tokens: workload.prompt_tokens,
            generation_tokens: workload.generation_tokens,
            verdict: cell.verdict,
            tokens_match: cell.tokens_match,
            ttft_ms_median: median(&cell.ttft_ms),
            ttft_ms_stddev: stddev(&cell.ttft_ms),
            prompt_tps_median: median(&cell.prompt_tps),
            generation_tps_median: median(&cell.generation_tps),
            generation_tps_stddev: stddev(&cell.generation_tps),
            itl_ms_p50: itl.map(|itl| itl.p50),
            itl_ms_p90: itl.map(|itl| itl.p90),
            itl_ms_p99: itl.map(|itl| itl.p99),
            cable_bytes: pairs(&cell.cable_bytes),
            decode_cable_bytes: pairs(&cell.decode_cable_bytes),
            detail: cell.detail.as_deref(),
            engine: cell.engine,
            load_ms: each(&cell.load_ms, |ms| format!("{ms:.3}")),
            peak_bytes: each(&cell.peak_bytes, u64::to_string),
            weight_bytes: each(&cell.weight_bytes, u64::to_string),
            test: &cell.test,
            depth: workload.depth,
            prefill_step: workload.prefill_step,
            fast_synch: workload.fast_synch,
            env: pairs(&cell.env),
            tpot_ms_median: median(&cell.tpot_ms),
            tpot_ms_stddev: stddev(&cell.tpot_ms),
            e2e_ms_median: median(&cell.e2e_ms),
            e2e_ms_stddev: stddev(&cell.e2e_ms),
            rank_ttft_ms: each(&cell.ranks, |rank| of_rank(&rank.ttft_ms)),
            rank_tpot_ms: each(&cell.ranks, |rank| of_rank(&rank.tpot_ms)),
            rank_e2e_ms: each(&cell.ranks, |rank| of_rank(&rank.e2e_ms)),
            skew_ms_p50: cell.skew_ms.map(|skew| skew.p50),
            skew_ms_p99: cell.skew_ms.map(|skew| skew.p99),
            line_mb_s: cell.busbw.map(|busbw| busbw.line / 1e6),
            prefill_busbw_mb_s: cell.busbw.map(|busbw| busbw.prefill / 1e6),
            decode_busbw_mb_s: cell.busbw.and_then(|busbw| Some(busbw.decode? / 1e6)),
            prefill_split_ms: split.map_or(String::new(), |it| parts(&it.prefill_ms)),
            decode_split_ms: split.map_or(String::new(), |it| parts(&it.decode_ms)),
        }
    }
}

/// Three decimals are enough for a reader of medians; JSON has every digit.
fn figure<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(&format_args!("{value:.3}")),
        None => serializer.serialize_none(),
    }
}

/// The figures of the ranks in their order.
fn each<T>(ranks: &[T], text: impl Fn(&T) -> String) -> String {
    let ranks: Vec<_> = ranks.iter().map(text).collect();
    ranks.join(";")
}

fn of_rank(summary: &Option<Summary>) -> String {
    let median = summary.as_ref().map(|it| format!("{:.3}", it.median));
    median.unwrap_or_default()
}

/// The parts of the first rank's time.
fn parts(ranks: &[Parts]) -> String {
    let first = ranks.first().into_iter();
    let parts = first.flat_map(|it| Parts::NAMES.into_iter().zip(it.each()));
    let each: Vec<_> = parts.map(|(name, ms)| format!("{name}={ms:.3}")).collect();
    each.join(";")
}

fn pairs<T: fmt::Display>(values: &BTreeMap<String, T>) -> String {
    let pairs = values.iter();
    let pairs: Vec<_> = pairs
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join(";")
}
