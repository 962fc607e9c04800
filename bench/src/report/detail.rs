//! The tables after the first one: end to end, ranks and cables, and where the time went.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use stats::Summary;

use super::{
    BusBandwidth, CellReport, Parts, RankTimes, Report,
    markdown::{NONE, figure, spread},
};

/// Times that are more than the first table has, and what the cables carried. Empty if
/// nothing was measured.
pub(super) fn times(report: &Report) -> String {
    let measured: Vec<_> = report
        .cells
        .iter()
        .filter(|it| it.e2e_ms.is_some())
        .collect();
    if measured.is_empty() {
        return String::new();
    }
    let columns = [
        "cell",
        "test",
        "end to end ms",
        "TPOT ms",
        "TTFT of ranks",
        "TPOT of ranks",
        "skew ms p50",
        "p99",
        "line MB/s",
        "prefill busbw",
        "decode busbw",
    ];
    table(&columns, measured.into_iter().map(times_row))
}

fn times_row(cell: &CellReport) -> Vec<String> {
    let of_ranks = |of: fn(&RankTimes) -> &Option<Summary>, decimals: usize| {
        let medians = cell.ranks.iter().map(|rank| of(rank).as_ref());
        let medians = medians.map(|it| figure(it.map(|it| it.median), decimals));
        medians.collect::<Vec<_>>().join(" / ")
    };
    let skew = cell.skew_ms;
    vec![
        cell.cell().to_string(),
        cell.workload.to_string(),
        spread(&cell.e2e_ms),
        figure(cell.tpot_ms.as_ref().map(|it| it.median), 2),
        of_ranks(|rank| &rank.ttft_ms, 1),
        of_ranks(|rank| &rank.tpot_ms, 2),
        figure(skew.map(|it| it.p50), 2),
        figure(skew.map(|it| it.p99), 2),
        figure(cell.busbw.map(|it| it.line / 1e6), 0),
        busbw(cell, |it| Some(it.prefill)),
        busbw(cell, |it| it.decode),
    ]
}

/// A bandwidth, and its share of the line.
fn busbw(cell: &CellReport, of: impl Fn(&BusBandwidth) -> Option<f64>) -> String {
    let both = cell.busbw.and_then(|it| Some((of(&it)?, it.line)));
    both.map_or(NONE.to_owned(), |(bus, line)| {
        format!("{:.1} ({:.0} %)", bus / 1e6, 100.0 * bus / line)
    })
}

/// Where the time of the first rank went. Empty if that was not asked for.
pub(super) fn split(report: &Report) -> String {
    let cells = report.cells.iter();
    let rows = cells.filter_map(|cell| {
        let split = cell.time_split.as_ref()?;
        let parts = |ranks: &[Parts]| match ranks.first() {
            None => vec![NONE.to_owned(); Parts::NAMES.len()],
            Some(first) => first.each().map(|ms| format!("{ms:.2}")).into(),
        };
        let apart = split.cost.apart.map(|cost| format!(" / {cost:.2}x"));
        let cost = format!("{:.2}x{}", split.cost.without, apart.unwrap_or_default());
        let mut row = vec![cell.cell().to_string(), cell.workload.to_string()];
        row.extend(parts(&split.prefill_ms));
        row.extend(parts(&split.decode_ms));
        row.push(cost);
        Some(row)
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut columns = vec!["cell".to_owned(), "test".to_owned()];
    for phase in ["prefill", "token"] {
        let [first, rest @ ..] = Parts::NAMES;
        columns.push(format!("{phase} ms: {first}"));
        columns.extend(rest.map(str::to_owned));
    }
    columns.push("cost".to_owned());
    format!(
        "Where the time of rank 0 went, in runs of their own without messages and with each \
         message apart. They take another time than a measured run: the cost is theirs over \
         it.\n\n{}",
        table(&columns, rows)
    )
}

pub(super) fn table(
    columns: &[impl ToString],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(columns.iter().map(ToString::to_string));
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.add_rows(rows);
    table.trim_fmt()
}
