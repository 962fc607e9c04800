//! The report as exo's benchmark writes its own.
//!
//! The fields are those of `bench/exo_bench.py` of exo-explore/exo at commit b5375f8 (June
//! 2026), and `stats` is its `GenerationStats` (`src/exo/api/types/api.py`).

use rail_matrix::Backend;
use serde::Serialize;

use super::{CellReport, Report};
use crate::protocol::Strategy;

#[derive(Serialize)]
struct Results<'a> {
    runs: Vec<Run<'a>>,
}

/// A measured run of a cell.
#[derive(Serialize)]
struct Run<'a> {
    elapsed_s: f64,
    output_text_preview: &'a str,
    stats: Stats,
    model_short_id: &'a str,
    model_id: &'a str,
    placement_sharding: &'static str,
    placement_instance_meta: &'static str,
    placement_nodes: usize,
    instance_id: String,
    pp_tokens: usize,
    tg: usize,
    repeat_index: usize,
    concurrency: usize,
}

#[derive(Serialize)]
struct Stats {
    prompt_tps: f64,
    generation_tps: f64,
    prompt_tokens: usize,
    generation_tokens: usize,
    peak_memory_usage: Memory,
    prefix_cache_hit: &'static str,
}

#[derive(Serialize)]
struct Memory {
    #[serde(rename = "inBytes")]
    in_bytes: u64,
}

pub(super) fn render(report: &Report) -> String {
    let cells = report.cells.iter();
    let passed = cells.filter(|cell| cell.verdict.is_sound());
    let results = Results {
        runs: passed.flat_map(|cell| runs(report, cell)).collect(),
    };
    let mut json = serde_json::to_string_pretty(&results).expect("a report is plain data");
    json.push('\n');
    json
}

fn runs<'a>(report: &'a Report, cell: &'a CellReport) -> Vec<Run<'a>> {
    /// As many characters of a text as exo keeps.
    const PREVIEW: usize = 200;

    let samples = |figure: &'a Option<stats::Summary>| match figure {
        None => &[][..],
        Some(summary) => &summary.samples,
    };
    let (prompt_tps, generation_tps) = (samples(&cell.prompt_tps), samples(&cell.generation_tps));
    let elapsed = samples(&cell.e2e_ms).iter().zip(prompt_tps).enumerate();
    let name = report.model.name();
    let text = cell.text.as_deref().unwrap_or_default();
    let end = text
        .char_indices()
        .nth(PREVIEW)
        .map_or(text.len(), |(at, _)| at);
    let (sharding, instance_meta) = placement(cell);
    elapsed
        .map(|(index, (ms, prompt_tps))| Run {
            elapsed_s: ms / 1e3,
            output_text_preview: &text[..end],
            stats: Stats {
                prompt_tps: *prompt_tps,
                generation_tps: generation_tps.get(index).copied().unwrap_or(0.0),
                prompt_tokens: cell.workload.prompt_tokens,
                generation_tokens: cell.workload.generation_tokens,
                peak_memory_usage: Memory {
                    in_bytes: cell.peak_bytes.first().copied().unwrap_or(0),
                },
                prefix_cache_hit: "none",
            },
            model_short_id: name.rsplit('/').next().unwrap_or(name),
            model_id: name,
            placement_sharding: sharding,
            placement_instance_meta: instance_meta,
            placement_nodes: cell.nodes.len().max(1),
            instance_id: cell.cell().to_string(),
            pp_tokens: cell.workload.prompt_tokens,
            tg: cell.workload.generation_tokens,
            repeat_index: index,
            concurrency: 1,
        })
        .collect()
}

/// exo's words for how the model is spread and how its ranks are joined. With jaccl it has
/// one word for mesh and ring. One node always has the words of the reference.
fn placement(cell: &CellReport) -> (&'static str, &'static str) {
    let sharding = match cell.strategy {
        Strategy::Tp => "Tensor",
        Strategy::Pp | Strategy::Single => "Pipeline",
    };
    let instance_meta = match cell.backend {
        Some(Backend::Mesh | Backend::Ring) => "MlxJaccl",
        None => "MlxRing",
    };
    (sharding, instance_meta)
}
