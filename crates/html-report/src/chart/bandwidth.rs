//! The bus bandwidth of an operation against its length.

use maud::Markup;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Axes, HEIGHT, Plot, WIDTH, top};
use crate::{
    figures::distinct,
    input::{Collectives, Row},
    palette::Ink,
    svg::Canvas,
    words::{bytes, cut, number},
};

/// What the rows of a chart have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject<'a> {
    pub op: &'a str,
    pub mlx: &'a str,
    pub series: &'a str,
    pub ranks: u32,
    pub frames: &'a str,
}

/// A length of message that a benchmark sends, and what for.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    pub what: &'static str,
    pub bytes: u64,
}

/// What has charts: each operation of each build that has a bandwidth.
pub fn subjects(collectives: &Collectives) -> Vec<Subject<'_>> {
    distinct(collectives.rows.iter().filter(|row| drawn(row)).map(of))
}

fn of(row: &Row) -> Subject<'_> {
    Subject {
        op: &row.op,
        mlx: &row.mlx,
        series: &row.series,
        ranks: row.ranks,
        frames: &row.frames,
    }
}

fn drawn(row: &Row) -> bool {
    let usable = |value: f64| (1e-9..1e15).contains(&value);
    row.verdict == "pass" && row.bytes > 0 && row.busbw.is_some_and(usable)
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// Its series, which it has in all charts of the collectives.
    pub series: usize,
    pub backend: &'a str,
    pub cables: u32,
}

impl Line<'_> {
    fn has(&self, row: &Row) -> bool {
        (row.backend.as_str(), row.cables) == (self.backend, self.cables)
    }
}

/// The lines of a chart, in the order of their series.
pub fn lines<'a>(collectives: &'a Collectives, subject: &Subject) -> Vec<Line<'a>> {
    let rows = || collectives.rows.iter().filter(|row| drawn(row));
    let mut all = distinct(rows().map(|row| (row.backend.as_str(), row.cables)));
    all.sort_by_key(|(backend, cables)| (crate::figures::series_of(backend), *cables));
    let all = all.into_iter().enumerate();
    let lines = all.map(|(series, (backend, cables))| Line {
        series,
        backend,
        cables,
    });
    let here = |line: &Line| rows().any(|row| of(row) == *subject && line.has(row));
    lines.filter(here).collect()
}

/// Draws a line for each backend and number of cables, what the cables carry at most, and
/// the lengths that a benchmark sends.
pub fn draw(id: &str, collectives: &Collectives, subject: &Subject, marks: &[Mark]) -> Markup {
    let rows = || {
        collectives
            .rows
            .iter()
            .filter(|row| drawn(row) && of(row) == *subject)
    };
    let lines = lines(collectives, subject);
    let exponents = || rows().map(|row| (row.bytes as f64).log2());
    let first = exponents().fold(f64::INFINITY, f64::min);
    let last = exponents().fold(0.0, f64::max);
    // The cables' rate follows from a row's share of it.
    let rate = |row: &Row| {
        let share = row.line_share.filter(|share| *share > 1e-6)?;
        Some(row.busbw? / share / 1e6)
    };
    let rates: Vec<_> = lines
        .iter()
        .map(|line| rows().filter(|row| line.has(row)).find_map(rate))
        .collect();
    let megabytes = |row: &Row| row.busbw.unwrap_or_default() / 1e6;
    let values = rows().map(megabytes).chain(rates.iter().flatten().copied());
    let y_max = top(values);
    let each = lines.iter().map(|line| {
        let row = rows().filter(|row| line.has(row));
        let points = row.map(|row| format!("{} {} MB/s", bytes(row.bytes), number(megabytes(row))));
        let points: Vec<_> = points.collect();
        format!("{}-{}: {}.", line.backend, line.cables, points.join(", "))
    });
    let desc = each.collect::<Vec<_>>().join(" ");
    let title = format!("Bus bandwidth of {} against the length", subject.op);
    Canvas::draw((WIDTH, HEIGHT), id, &title, &desc, |canvas, area| {
        let wide = (last - first).max(1.0);
        let step = (wide / 4.0).ceil().max(1.0);
        let begin = first.ceil();
        let ticks = (0..=4).map(|k| begin + step * f64::from(k));
        let axes = Axes {
            x: first - 0.06 * wide..last + 0.06 * wide,
            x_ticks: ticks.filter(|tick| *tick <= last).collect(),
            x_name: "length of a message",
            x_label: &|exponent| bytes(exponent.exp2().round() as u64),
            y_max,
        };
        let plot = Plot::new(canvas, area, &axes)?;
        for rate in distinct(rates.iter().flatten().map(|rate| rate.round())) {
            let ends = [axes.x.start, axes.x.end].map(|x| plot.at(x, rate));
            let words = format!("what the cables carry: {} MB/s", number(rate));
            plot.group("dashed", &words, || plot.line(ends.to_vec(), Ink::Muted, 1))?;
        }
        for mark in marks {
            let x = (mark.bytes.max(1) as f64).log2();
            if !(axes.x.start..axes.x.end).contains(&x) {
                continue;
            }
            let ends = [0.0, y_max].map(|y| plot.at(x, y));
            let words = format!("{}: {}", mark.what, bytes(mark.bytes));
            plot.group("dotted", &words, || plot.line(ends.to_vec(), Ink::Text, 1))?;
            let (across, beside) = match x > first + 0.75 * wide {
                true => (HPos::Right, -3),
                false => (HPos::Left, 3),
            };
            let at = (ends[1].0 + beside, ends[1].1);
            plot.text(&cut(&words, 24), at, Ink::Text, (across, VPos::Bottom))?;
        }
        for line in &lines {
            let row = rows().filter(|row| line.has(row));
            let mut row: Vec<_> = row.collect();
            row.sort_by_key(|row| row.bytes);
            let at = |row: &Row| plot.at((row.bytes as f64).log2(), megabytes(row));
            plot.line(
                row.iter().map(|row| at(row)).collect(),
                Ink::Series(line.series),
                2,
            )?;
            for row in row {
                let words = format!(
                    "{}-{}, {}: {} MB/s{}",
                    row.backend,
                    row.cables,
                    bytes(row.bytes),
                    number(megabytes(row)),
                    row.line_share.map_or(String::new(), |share| {
                        format!(", {:.0} % of the line", 100.0 * share)
                    })
                );
                plot.group("", &words, || plot.mark(line.series, at(row), false))?;
            }
        }
        Ok(())
    })
}
