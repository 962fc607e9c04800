//! A figure against the number of tokens that are in the cache already.

use maud::Markup;

use super::{Axes, HEIGHT, Plot, WIDTH, top};
use crate::{
    figures::{Group, Metric, distinct},
    input::{Cell, Place, Task},
    palette::Ink,
    svg::Canvas,
    words::number,
};

/// A line of the chart: a place, and its figure at each depth.
pub struct Line<'a> {
    pub place: &'a Place,
    points: Vec<(f64, f64)>,
}

/// The lines of a strategy over groups that differ in their depth alone.
pub fn lines<'a>(groups: &[&Group<'a>], strategy: &str, metric: Metric) -> Vec<Line<'a>> {
    let cells = || {
        groups
            .iter()
            .flat_map(|group| group.of(strategy))
            .filter(|cell| cell.passed())
    };
    let places = distinct(cells().map(|cell| &cell.place));
    let lines = places.into_iter().map(|place| {
        let cells = cells().filter(|cell| cell.place == *place);
        let mut points: Vec<_> = cells.filter_map(|cell| point(cell, metric)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { place, points }
    });
    lines.filter(|line| line.points.len() > 1).collect()
}

fn point(cell: &Cell, metric: Metric) -> Option<(f64, f64)> {
    Some((cell.task.depth as f64, metric.of(cell)?.median))
}

/// The groups by everything but their depth, where there are several depths.
pub fn sweeps<'a, 'b>(groups: &'b [Group<'a>]) -> Vec<Vec<&'b Group<'a>>> {
    let without = |group: &Group| Task {
        depth: 0,
        ..group.task.clone()
    };
    let mut sweeps: Vec<Vec<&Group>> = Vec::new();
    for group in groups {
        match sweeps
            .iter_mut()
            .find(|sweep| without(sweep[0]) == without(group))
        {
            Some(sweep) => sweep.push(group),
            None => sweeps.push(vec![group]),
        }
    }
    sweeps.retain(|sweep| sweep.len() > 1);
    sweeps
}

/// Draws a line for each place. None if no place has two depths.
pub fn draw(id: &str, lines: &[Line], strategy: &str, metric: Metric) -> Option<Markup> {
    let all = || lines.iter().flat_map(|line| line.points.iter());
    let deepest = all().map(|(depth, _)| *depth).fold(0.0, f64::max);
    if deepest <= 0.0 {
        return None;
    }
    let mut ticks = distinct(all().map(|(depth, _)| *depth));
    ticks.sort_by(f64::total_cmp);
    // Labels that are nearer than this would touch.
    let mut last = f64::NEG_INFINITY;
    ticks.retain(|tick| {
        let far = tick - last > deepest / 7.0;
        if far {
            last = *tick;
        }
        far
    });
    let unit = metric.unit();
    let each = lines.iter().map(|line| {
        let points = line.points.iter();
        let points: Vec<_> = points
            .map(|(x, y)| format!("{} {unit} at {x}", number(*y)))
            .collect();
        format!("{}: {}.", line.place.name(), points.join(", "))
    });
    let desc = each.collect::<Vec<_>>().join(" ");
    let title = format!("{}, {strategy}, against depth", metric.name());
    Some(Canvas::draw(
        (WIDTH, HEIGHT),
        id,
        &title,
        &desc,
        |canvas, area| {
            let axes = Axes {
                x: -0.03 * deepest..1.06 * deepest,
                x_ticks: ticks.clone(),
                x_name: "tokens in the cache",
                x_label: &|depth| format!("{depth}"),
                y_max: top(all().map(|(_, value)| *value)),
            };
            let plot = Plot::new(canvas, area, &axes)?;
            for (series, line) in lines.iter().enumerate() {
                let pixels: Vec<_> = line.points.iter().map(|(x, y)| plot.at(*x, *y)).collect();
                plot.line(pixels.clone(), Ink::Series(series), 2)?;
                for (at, (depth, value)) in pixels.into_iter().zip(&line.points) {
                    let name = line.place.name();
                    let words = format!("{name}, depth {depth}: {} {unit}", number(*value));
                    plot.group("", &words, || plot.mark(series, at, false))?;
                }
            }
            Ok(())
        },
    ))
}
