//! One line for each row.

use rail_verify::verdict::Verdict;
use serde::Serialize;

use crate::{Op, Row};

/// The fields are the columns, in this order.
#[derive(Serialize)]
struct Line<'a> {
    mlx: &'a str,
    series: &'a str,
    op: Op,
    backend: &'a str,
    ranks: usize,
    cables: usize,
    frames: &'a str,
    bytes: usize,
    count: usize,
    dtype: &'a str,
    verdict: Verdict,
    time_us_median: Option<f64>,
    time_us_p99: Option<f64>,
    time_us_min: Option<f64>,
    calls: usize,
    algbw: Option<f64>,
    busbw: Option<f64>,
    line_share: Option<f64>,
    wrong: u64,
    ratio_median: Option<f64>,
    ratio_min: Option<f64>,
    ratio_max: Option<f64>,
    foreign_us: Option<f64>,
    dilate: u32,
    bandwidth: u64,
    latency: f64,
    detail: Option<&'a str>,
}

pub(super) fn render(rows: &[Row]) -> String {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for row in rows {
        csv.serialize(line(row)).expect("a row is plain data");
    }
    let bytes = csv.into_inner().expect("a vector takes everything");
    String::from_utf8(bytes).expect("every field is text")
}

fn line(row: &Row) -> Line<'_> {
    let times = row.time_us.as_ref();
    Line {
        mlx: &row.mlx,
        series: &row.series,
        op: row.op,
        backend: row.backend,
        ranks: row.ranks,
        cables: row.cables,
        frames: row.frames,
        bytes: row.bytes,
        count: row.count,
        dtype: row.dtype,
        verdict: row.verdict,
        time_us_median: times.map(|it| it.median),
        time_us_p99: times.map(|it| it.p99),
        time_us_min: times.map(|it| it.min),
        calls: times.map_or(0, |it| it.samples.len()),
        algbw: row.algbw,
        busbw: row.busbw,
        line_share: row.line_share,
        wrong: row.wrong,
        ratio_median: row.ratio.map(|it| it.median),
        ratio_min: row.ratio.map(|it| it.min),
        ratio_max: row.ratio.map(|it| it.max),
        foreign_us: row.foreign.as_ref().and_then(|it| it.time_us),
        dilate: row.dilate,
        bandwidth: row.bandwidth,
        latency: row.latency,
        detail: row.detail.as_deref(),
    }
}
