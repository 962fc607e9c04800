//! The table for people, and what to know to read it.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use rail_matrix::{Cable, units};

use super::{CellReport, Report};
use crate::{protocol::Strategy, stats::Summary, sweep::Backend, verdict::Verdict};

/// What stands where there is no figure.
const NONE: &str = "-";

const COLUMNS: [&str; 12] = [
    "cell",
    "verdict",
    "tokens",
    "TTFT ms",
    "TTFT gain",
    "prompt tok/s",
    "decode tok/s",
    "decode gain",
    "ITL ms p50",
    "p90",
    "p99",
    "MB a cable",
];

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    heading(&mut text, report);
    text += &table(report);
    text.push('\n');
    failures(&mut text, report);
    notes(&mut text, report);
    text
}

fn heading(text: &mut String, report: &Report) {
    let build = &report.build;
    line(text, format_args!("# MLX {}, {}", build.mlx, build.series));
    line(text, "");
    line(
        text,
        format_args!("Build {}, tree {}.", build.key, build.patched_tree),
    );
    let nodes: Vec<_> = report
        .rig
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    let cables = report.rig.cables.len();
    line(
        text,
        format_args!(
            "Nodes {}; {cables} cables{}.",
            nodes.join(", "),
            link(&report.rig.cables)
        ),
    );
    if let Some(cell) = report.cells.first() {
        line(
            text,
            format_args!(
                "Prompt of {} tokens, {} generated, {} frames.",
                cell.prompt_tokens, cell.generation_tokens, cell.frames
            ),
        );
    }
    line(text, "");
}

/// The link of the cables when they are all alike.
fn link(cables: &[Cable]) -> String {
    match cables {
        [first, rest @ ..] if rest.iter().all(|cable| cable.link == first.link) => {
            let rate = units::format_rate(first.link.bytes_per_second);
            format!(" of {rate} and {}", units::format_time(first.link.latency))
        }
        _ => String::new(),
    }
}

fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(COLUMNS);
    for (index, column) in table.column_iter_mut().enumerate() {
        if index >= 3 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for cell in &report.cells {
        table.add_row(row(report, cell));
    }
    let trimmed = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    trimmed.collect()
}

fn row(report: &Report, cell: &CellReport) -> [String; COLUMNS.len()] {
    let ttft_gain = report.gain(cell, |cell| Some(1.0 / cell.ttft_ms.as_ref()?.median));
    let decode_gain = report.gain(cell, |cell| Some(cell.generation_tps.as_ref()?.median));
    let itl = cell.itl_ms;
    let tokens = match cell.verdict {
        Verdict::Pass => "match",
        Verdict::Wrong => "differ",
        _ => NONE,
    };
    [
        cell.cell().to_string(),
        cell.verdict.to_string(),
        tokens.to_owned(),
        spread(&cell.ttft_ms),
        gain(ttft_gain),
        cell.prompt_tps
            .as_ref()
            .map_or(NONE.to_owned(), |tps| format!("{:.0}", tps.median)),
        spread(&cell.generation_tps),
        gain(decode_gain),
        figure(itl.map(|itl| itl.p50)),
        figure(itl.map(|itl| itl.p90)),
        figure(itl.map(|itl| itl.p99)),
        megabytes(cell),
    ]
}

fn spread(summary: &Option<Summary>) -> String {
    match summary {
        None => NONE.to_owned(),
        Some(Summary {
            median,
            stddev: None,
            ..
        }) => format!("{median:.1}"),
        Some(Summary {
            median,
            stddev: Some(stddev),
            ..
        }) => format!("{median:.1} ± {stddev:.1}"),
    }
}

fn gain(gain: Option<f64>) -> String {
    gain.map_or(NONE.to_owned(), |gain| format!("{gain:.2}x"))
}

fn figure(value: Option<f64>) -> String {
    value.map_or(NONE.to_owned(), |value| format!("{value:.2}"))
}

/// The bytes of each rail; how far the rails are apart when there are several.
fn megabytes(cell: &CellReport) -> String {
    let bytes: Vec<f64> = cell
        .cable_bytes
        .values()
        .map(|&bytes| bytes as f64)
        .collect();
    let each: Vec<_> = bytes
        .iter()
        .map(|bytes| format!("{:.1}", bytes / 1e6))
        .collect();
    let mean = bytes.iter().sum::<f64>() / bytes.len() as f64;
    let least = bytes.iter().copied().fold(f64::INFINITY, f64::min);
    let most = bytes.iter().copied().fold(0.0, f64::max);
    match each.len() {
        0 => NONE.to_owned(),
        1 => each[0].clone(),
        _ if mean == 0.0 => each.join(" / "),
        _ => format!(
            "{} ({:.1} %)",
            each.join(" / "),
            100.0 * (most - least) / mean
        ),
    }
}

fn failures(text: &mut String, report: &Report) {
    let mut any = false;
    for cell in &report.cells {
        if let Some(detail) = &cell.detail {
            line(
                text,
                format_args!("- **{}: {}**: {detail}", cell.cell(), cell.verdict),
            );
            any = true;
        }
    }
    if any {
        line(text, "");
    }
}

fn notes(text: &mut String, report: &Report) {
    line(
        text,
        "A cell passes when every token of every run on every rank equals the single process's. \
         TTFT and decode are medians ± sample standard deviation; ITL percentiles are by nearest \
         rank over all measured runs. Gains are against ring-1 of the same strategy, so that a \
         change of backend is not taken for the gain of a cable. Cables count both directions, \
         warm-up included; in brackets how far the rails are apart, of their mean.",
    );
    let strategies = |strategy| report.cells.iter().any(|cell| cell.strategy == strategy);
    if strategies(Strategy::Tp) {
        line(text, "");
        line(
            text,
            "jaccl sends an all-reduce of up to 64 KiB (32 KiB from MLX 0.32.1) over one cable. \
             A token's all-reduces are smaller, so TP decode at batch 1 cannot gain from further \
             cables; prefill can.",
        );
    }
    if let Some(gains) = decode_gains(report) {
        line(
            text,
            format_args!("Measured, decode over the most cables against one: {gains}."),
        );
    }
}

/// The decode gain of each strategy's widest ring.
fn decode_gains(report: &Report) -> Option<String> {
    let mut gains = String::new();
    for strategy in [Strategy::Tp, Strategy::Pp] {
        let rings = report
            .cells
            .iter()
            .filter(|cell| cell.strategy == strategy && cell.backend == Backend::Ring);
        let widest = rings
            .max_by_key(|cell| cell.cables)
            .filter(|cell| cell.cables > 1);
        let gain = widest.and_then(|cell| {
            let gain = report.gain(cell, |c| Some(c.generation_tps.as_ref()?.median))?;
            Some(format!("{} {gain:.2}x", cell.cell()))
        });
        if let Some(gain) = gain {
            let separator = if gains.is_empty() { "" } else { ", " };
            gains = gains + separator + &gain;
        }
    }
    (!gains.is_empty()).then_some(gains)
}

fn line(text: &mut String, content: impl std::fmt::Display) {
    writeln!(text, "{content}").expect("a string can be written to");
}
