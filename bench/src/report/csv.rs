//! One row a cell.

use super::{CellReport, Report};
use crate::{meter::CableBytes, stats::Summary};

const HEADER: &str = "strategy,backend,cables,frames,prompt_tokens,generation_tokens,verdict,\
tokens_match,ttft_ms_median,ttft_ms_stddev,prompt_tps_median,generation_tps_median,\
generation_tps_stddev,itl_ms_p50,itl_ms_p90,itl_ms_p99,cable_bytes,decode_cable_bytes,detail";

pub(super) fn render(report: &Report) -> String {
    let rows = report.cells.iter().map(row);
    std::iter::once(HEADER.to_owned())
        .chain(rows)
        .map(|line| line + "\n")
        .collect()
}

fn row(cell: &CellReport) -> String {
    let median = |summary: &Option<Summary>| number(summary.as_ref().map(|s| s.median));
    let stddev = |summary: &Option<Summary>| number(summary.as_ref().and_then(|s| s.stddev));
    let itl = cell.itl_ms;
    let fields = [
        cell.strategy.to_string(),
        cell.backend.to_string(),
        cell.cables.to_string(),
        cell.frames.to_string(),
        cell.prompt_tokens.to_string(),
        cell.generation_tokens.to_string(),
        cell.verdict.to_string(),
        cell.tokens_match.to_string(),
        median(&cell.ttft_ms),
        stddev(&cell.ttft_ms),
        median(&cell.prompt_tps),
        median(&cell.generation_tps),
        stddev(&cell.generation_tps),
        number(itl.map(|itl| itl.p50)),
        number(itl.map(|itl| itl.p90)),
        number(itl.map(|itl| itl.p99)),
        bytes(&cell.cable_bytes),
        bytes(&cell.decode_cable_bytes),
        cell.detail.clone().unwrap_or_default(),
    ];
    fields.map(quoted).join(",")
}

fn bytes(bytes: &CableBytes) -> String {
    let each: Vec<_> = bytes
        .iter()
        .map(|(cable, bytes)| format!("{cable}={bytes}"))
        .collect();
    each.join(";")
}

fn number(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.3}")).unwrap_or_default()
}

/// Quotes a field that would otherwise be read as several (RFC 4180).
fn quoted(field: String) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}
