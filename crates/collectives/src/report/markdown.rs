//! The table for people.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use rig::{
    Cables, Rig,
    units::{about_rate, format_rate, format_time},
};

use super::Report;
use crate::{Ratio, Row};

/// Shown in place of a missing figure.
const NONE: &str = "-";

/// The column of jaccl's own benchmark.
const FOREIGN: &str = "allreduce_bench (us)";

/// The columns of words; the others are numbers.
const WORDS: [&str; 7] = [
    "mlx", "series", "op", "backend", "frames", "type", "verdict",
];

pub(super) fn render(report: &Report<'_>) -> String {
    let rows = &report.measured.rows;
    let compared = report.variants.len() > 1;
    let mut heads = vec![
        "mlx",
        "series",
        "op",
        "backend",
        "ranks",
        "cables",
        "frames",
        "size",
        "count",
        "type",
        "time (us)",
        "p99",
        "min",
        "algbw",
        "busbw",
        "line",
        "#wrong",
        "verdict",
    ];
    heads.extend(compared.then_some("of the first"));
    let foreign = rows.iter().any(|row| row.foreign.is_some());
    heads.extend(foreign.then_some(FOREIGN));
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(&heads);
    for (place, head) in heads.iter().enumerate() {
        if !WORDS.contains(head)
            && let Some(column) = table.column_mut(place)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in rows {
        let mut fields = fields(row);
        fields.extend(compared.then(|| row.ratio.map_or(NONE.to_owned(), ratio)));
        fields.extend(foreign.then(|| {
            let time = row.foreign.as_ref().and_then(|it| it.time_us);
            time.map_or(NONE.to_owned(), self::time)
        }));
        table.add_row(fields);
    }
    let mut text = format!("{}\n\n{}\n", heading(report), table.trim_fmt());
    for row in rows {
        let Row {
            mlx,
            series,
            cell,
            verdict,
            ..
        } = row;
        let mut note = |what: &str, detail: &str| {
            let _ = writeln!(text, "\n{what}: MLX {mlx} ({series}), {cell}: {detail}");
        };
        if let Some(detail) = &row.detail {
            note(verdict.name(), detail);
        }
        if let Some(foreign) = row.foreign.as_ref().filter(|it| !it.passed()) {
            note("allreduce_bench", &foreign.check);
        }
    }
    if report.interrupted() {
        let (done, all) = (rows.len(), report.measured.planned);
        let _ = writeln!(
            text,
            "\nInterrupted: {done} of {all} rows were measured. The same command measures all of \
             them again."
        );
    }
    text
}

/// What the figures are of.
fn heading(report: &Report<'_>) -> String {
    let link = report.options.link;
    let (rate, latency) = (
        format_rate(link.bytes_per_second),
        format_time(link.latency),
    );
    let mut text = match report.rig {
        None => format!("Emulated cables of {rate} and {latency}, profile thunderbolt."),
        Some(rig) => format!(
            "{} cables between {}. The line is that of the slowest, as the rig has it: {rate} and \
             {latency}.",
            match rig.kind {
                Cables::Emulated => "Emulated",
                Cables::Real => "Real",
            },
            names(rig)
        ),
    };
    let dilate = report.options.dilate;
    if dilate > 1 {
        let _ = write!(
            text,
            " Virtual time: the cables ran {dilate} times slower and every time is divided by it, \
             so that the processors' own time nearly vanishes. No Mac was measured."
        );
    }
    text
}

fn names(rig: &Rig) -> String {
    let names: Vec<_> = rig.nodes.iter().map(|node| &*node.name).collect();
    names.join(", ")
}

fn fields(row: &Row) -> Vec<String> {
    let times = row.time_us.as_ref();
    let micros = |of: fn(&crate::Times) -> f64| times.map_or(NONE.to_owned(), |it| time(of(it)));
    let rate = |rate: Option<f64>| rate.map_or(NONE.to_owned(), |it| about_rate(it as u64));
    vec![
        row.mlx.clone(),
        row.series.clone(),
        row.op.to_string(),
        row.backend.to_owned(),
        row.ranks.to_string(),
        row.cables.to_string(),
        row.frames.to_owned(),
        row.bytes.to_string(),
        row.count.to_string(),
        row.dtype.to_owned(),
        micros(|it| it.median),
        micros(|it| it.p99),
        micros(|it| it.min),
        rate(row.algbw),
        rate(row.busbw),
        row.line_share
            .map_or(NONE.to_owned(), |it| format!("{:.1} %", 100.0 * it)),
        row.wrong.to_string(),
        row.verdict.to_string(),
    ]
}

/// Microseconds, with the digits that mean something.
fn time(micros: f64) -> String {
    match micros {
        ..100.0 => format!("{micros:.2}"),
        100.0..10_000.0 => format!("{micros:.1}"),
        _ => format!("{micros:.0}"),
    }
}

fn ratio(ratio: Ratio) -> String {
    let Ratio { median, min, max } = ratio;
    format!("{median:.3} ({min:.3} to {max:.3})")
}
