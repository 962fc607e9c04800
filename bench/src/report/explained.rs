//! How much of a cell's time is explained by what it should take.

use serde::Serialize;
use stats::Summary;

use super::{Report, detail::table, markdown::figure};

/// What a cell should take by the reference of its report, beside what it took. The crate
/// `predict` has the arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Explained {
    /// The time to the first token.
    pub ttft: Explanation,
    /// The time of a token after the first.
    pub token: Explanation,
}

/// What a time should be, and its parts, of which it is the sum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Explanation {
    /// The time in milliseconds.
    pub predicted_ms: f64,
    /// Computing, as one process without cables did it.
    pub compute_ms: f64,
    /// What messages cost beside jaccl.
    pub fence_ms: f64,
    /// jaccl and the cables.
    pub cables_ms: f64,
    /// The time as a part of the measured median. Above 1 the cell was faster.
    pub part: f64,
}

/// What each cell should take beside what it took. Empty if nothing is explained.
pub(super) fn section(report: &Report) -> String {
    let rows = report.cells.iter().filter_map(|cell| {
        let Explained { ttft, token } = cell.explained?;
        let median = |summary: &Option<Summary>| summary.as_ref().map(|it| it.median);
        Some(vec![
            cell.cell().to_string(),
            cell.workload.to_string(),
            figure(median(&cell.ttft_ms), 1),
            format!("{:.1}", ttft.predicted_ms),
            percent(&ttft),
            figure(median(&cell.generation_tps), 1),
            format!("{:.1}", 1e3 / token.predicted_ms),
            percent(&token),
        ])
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = [
        "cell",
        "test",
        "TTFT ms",
        "predicted",
        "explained: compute + fence + cables",
        "decode tok/s",
        "predicted",
        "explained: compute + fence + cables",
    ];
    format!(
        "How much of the time is explained: what a cell should take by the time of the single \
         process, by jaccl's messages over emulated cables of the rig's figures, and by fences, \
         as a part of what it took.\n\n{}",
        table(&columns, rows)
    )
}

/// The part that is explained, and what it is made of, each of the measured time.
fn percent(time: &Explanation) -> String {
    let Explanation {
        predicted_ms,
        compute_ms,
        fence_ms,
        cables_ms,
        part,
    } = *time;
    let of_measured = |ms: f64| 100.0 * part * ms / predicted_ms;
    let [whole, compute, fence, cables] =
        [predicted_ms, compute_ms, fence_ms, cables_ms].map(of_measured);
    format!("{whole:.0} %: {compute:.0} + {fence:.0} + {cables:.0}")
}
