//! A figure against the number of cables.

use maud::Markup;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Axes, HEIGHT, Plot, WIDTH, top};
use crate::{
    figures::{Group, Metric, distinct, interval, same, series_of},
    input::{Bench, Cell},
    palette::Ink,
    svg::{Canvas, Drawn},
    words::{count, number},
};

/// How much of the distance between two numbers of cables a backend takes.
const LANE: f64 = 0.3;

/// A cell that passed, with its figure, and where it is drawn.
struct Point<'a> {
    cell: &'a Cell,
    x: f64,
}

/// Draws every repeat, the medians with their intervals, the single process, and what the
/// baseline would become if only the cables' rate mattered.
pub fn draw(
    id: &str,
    group: &Group,
    strategy: &str,
    metric: Metric,
    against: Option<&Bench>,
) -> Option<Markup> {
    let backends = group.backends(strategy);
    let lanes = backends.len() as f64;
    let lane = |k: usize, cables: u32| f64::from(cables) + LANE * (k as f64 - (lanes - 1.0) / 2.0);
    let rows: Vec<(&str, Vec<Point>)> = backends
        .iter()
        .enumerate()
        .map(|(k, backend)| {
            let row = group.row(strategy, backend).into_iter();
            let points = row.map(|cell| Point {
                cell,
                x: lane(k, cell.place.cables) - LANE / 4.0,
            });
            (*backend, points.collect())
        })
        .collect();
    let measured = |cell: &&Cell| cell.passed() && metric.of(cell).is_some();
    let cells = || {
        rows.iter()
            .flat_map(|(_, points)| points.iter().map(|it| it.cell))
    };
    cells().find(measured)?;

    let single = group
        .reference()
        .filter(measured)
        .and_then(|cell| metric.of(cell));
    let others = || {
        cells()
            .filter_map(|cell| same(against?, cell))
            .filter(measured)
    };
    let figures = cells().filter(measured).filter_map(|cell| metric.of(cell));
    let values = figures.flat_map(|it| it.samples.iter().copied().chain([it.median]));
    let others = others().filter_map(|cell| metric.of(cell));
    let values = values.chain(others.chain(single).map(|it| it.median));
    let y_max = top(values);
    let mut ticks = distinct(cells().map(|cell| f64::from(cell.place.cables)));
    ticks.sort_by(f64::total_cmp);
    let (first, last) = (ticks[0], ticks[ticks.len() - 1]);

    let title = format!(
        "{}, {strategy}, against the number of cables",
        metric.name()
    );
    let desc = words(&rows, metric, single.map(|it| it.median));
    Some(Canvas::draw(
        (WIDTH, HEIGHT),
        id,
        &title,
        &desc,
        |canvas, area| {
            let axes = Axes {
                x: first - 0.5..last + 0.5,
                x_ticks: ticks.clone(),
                x_name: "cables",
                x_label: &|cables| format!("{cables}"),
                y_max,
            };
            let plot = Plot::new(canvas, area, &axes)?;
            let base = rows
                .iter()
                .find_map(|(_, points)| points.iter().find(|it| measured(&it.cell)));
            if let Some(base) = base.filter(|_| last > first) {
                ideal(&plot, base, metric, last, y_max)?;
            }
            if let Some(single) = single {
                let ends = [first - 0.5, last + 0.5].map(|x| plot.at(x, single.median));
                let words = format!(
                    "one process, no cable: {} {}",
                    number(single.median),
                    metric.unit()
                );
                plot.group("dotted", &words, || plot.line(ends.to_vec(), Ink::Muted, 1))?;
                // Where the ideal and the cells seldom are.
                let medians = cells().filter(measured).filter_map(|cell| metric.of(cell));
                let is_lowest = medians
                    .map(|it| it.median)
                    .all(|median| single.median < median);
                let (x, across) = match metric {
                    Metric::Ttft => (ends[0].0 + 4, HPos::Left),
                    Metric::Decode => (ends[1].0 - 2, HPos::Right),
                };
                let (y, down) = match is_lowest {
                    true => (ends[0].1 + 4, VPos::Top),
                    false => (ends[0].1 - 2, VPos::Bottom),
                };
                plot.text("one process", (x, y), Ink::Muted, (across, down))?;
            }
            for (backend, points) in &rows {
                let series = series_of(backend);
                row(&plot, points, series, metric, against)?;
            }
            Ok(())
        },
    ))
}

/// A line through what the base would become over more cables.
fn ideal(plot: &Plot, base: &Point, metric: Metric, last: f64, y_max: f64) -> Drawn {
    const PARTS: u32 = 24;

    let figure = metric.of(base.cell).map_or(0.0, |it| it.median);
    let cables = f64::from(base.cell.place.cables.max(1));
    let points = (0..=PARTS).map(|part| {
        let more = (last - cables) * f64::from(part) / f64::from(PARTS);
        (
            base.x + more,
            metric.ideal(figure, (cables + more) / cables),
        )
    });
    let inside: Vec<_> = points
        .take_while(|(_, y)| *y <= y_max)
        .map(|(x, y)| plot.at(x, y))
        .collect();
    let Some(&(x, y)) = inside.last() else {
        return Ok(());
    };
    plot.group("dashed", "the ideal: only the cables' rate matters", || {
        plot.line(inside, Ink::Muted, 1)
    })?;
    plot.text("ideal", (x + 5, y), Ink::Muted, (HPos::Left, VPos::Center))
}

/// The cells of a backend.
fn row(
    plot: &Plot,
    points: &[Point],
    series: usize,
    metric: Metric,
    against: Option<&Bench>,
) -> Drawn {
    let ink = Ink::Series(series);
    let medians: Vec<_> = points
        .iter()
        .filter(|point| point.cell.passed())
        .filter_map(|point| Some(plot.at(point.x, metric.of(point.cell)?.median)))
        .collect();
    if medians.len() > 1 {
        plot.line(medians, ink, 2)?;
    }
    for Point { cell, x } in points {
        let name = cell.place.name();
        let Some(figure) = metric.of(cell).filter(|_| cell.passed()) else {
            let at = plot.at(*x, 0.0);
            let (words, at) = (format!("\u{d7} {}", cell.verdict), (at.0, at.1 - 4));
            plot.group("strong", &format!("{name}: {}", cell.verdict), || {
                plot.text(&words, at, ink, (HPos::Center, VPos::Bottom))
            })?;
            continue;
        };
        let unit = metric.unit();
        let repeats = figure.samples.len();
        for (k, sample) in figure.samples.iter().enumerate() {
            let part = (k as f64 + 1.0) / (repeats as f64 + 1.0);
            let at = plot.at(x + 0.06 + part * (LANE - 0.1), *sample);
            let words = format!("{name}, repeat {}: {} {unit}", k + 1, number(*sample));
            plot.group("", &words, || plot.dot(at, ink))?;
        }
        let other = against.and_then(|other| same(other, cell));
        if let Some(other) = other.filter(|it| it.passed()).and_then(|it| metric.of(it)) {
            // Beside this report's mark, which would hide it.
            let at = plot.at(x - 0.1, other.median);
            let words = format!(
                "{name} of the other report: {} {unit}",
                number(other.median)
            );
            plot.group("", &words, || plot.mark(series, at, true))?;
        }
        let median = plot.at(*x, figure.median);
        let mut words = format!("{name}: median {} {unit}", number(figure.median));
        let interval = interval(figure);
        if let Some(it) = interval {
            words += &format!(", {} to {}", number(it.low), number(it.high));
        }
        plot.group("", &words, || {
            if let Some(it) = interval {
                plot.interval(*x, it.low, it.high, ink)?;
            }
            plot.mark(series, median, false)
        })?;
        // Labels of neighbours would touch if all were above.
        let (low, high) = interval.map_or((figure.median, figure.median), |it| (it.low, it.high));
        let (at, down) = match series {
            0 => (plot.at(*x, high.max(figure.median)), VPos::Bottom),
            _ => (plot.at(*x, low.min(figure.median)), VPos::Top),
        };
        let away = if series == 0 { -6 } else { 7 };
        plot.group("strong", "", || {
            let at = (at.0, at.1 + away);
            plot.text(&number(figure.median), at, Ink::Text, (HPos::Center, down))
        })?;
    }
    Ok(())
}

/// The medians, for readers who do not see the chart.
fn words(rows: &[(&str, Vec<Point>)], metric: Metric, single: Option<f64>) -> String {
    let unit = metric.unit();
    let mut sentences = Vec::new();
    for (backend, points) in rows {
        let each = points.iter().map(|Point { cell, .. }| {
            let cables = count(cell.place.cables, "cable");
            match metric.of(cell).filter(|_| cell.passed()) {
                Some(figure) => format!("{cables} {} {unit}", number(figure.median)),
                None => format!("{cables} {}", cell.verdict),
            }
        });
        sentences.push(format!(
            "{backend}: {}.",
            each.collect::<Vec<_>>().join(", ")
        ));
    }
    sentences
        .extend(single.map(|it| format!("One process without cables: {} {unit}.", number(it))));
    sentences.join(" ")
}
