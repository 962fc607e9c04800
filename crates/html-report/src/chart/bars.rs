//! Bars of cells: the bytes of each cable, and where the time went.

use std::collections::BTreeMap;

use maud::Markup;
use plotters::style::text_anchor::{HPos, VPos};

use super::{WIDTH, fill, line, write};
use crate::{
    figures::Group,
    input::{Cell, Parts},
    palette::Ink,
    svg::Canvas,
    words::{cut, number, percent},
};

const LINE: i32 = 17;
const BETWEEN: i32 = 9;
const NAMES: i32 = 62;

/// Draws what each cable carried in the cells of a strategy. None if none was counted.
pub fn bytes(
    id: &str,
    group: &Group,
    strategy: &str,
    phase: &str,
    of: impl Fn(&Cell) -> &BTreeMap<String, f64>,
) -> Option<Markup> {
    const VALUES: i32 = 116;

    let cells: Vec<_> = group
        .of(strategy)
        .filter(|cell| !of(cell).is_empty())
        .collect();
    let carried = cells.iter().flat_map(|cell| of(cell).values().copied());
    let most = carried.fold(0.0, f64::max);
    if most <= 0.0 || !most.is_finite() {
        return None;
    }
    let bars: usize = cells.iter().map(|cell| of(cell).len()).sum();
    let height = LINE * bars as i32 + BETWEEN * cells.len() as i32;
    let each = cells.iter().map(|cell| {
        let cables = of(cell).iter();
        let cables: Vec<_> = cables
            .map(|(cable, bytes)| format!("{cable} {} MB", megabytes(*bytes)))
            .collect();
        format!("{}: {}.", cell.place.name(), cables.join(", "))
    });
    let title = format!("Bytes a cable in {phase}, {strategy}");
    let desc = each.collect::<Vec<_>>().join(" ");
    let size = (WIDTH, height as u32);
    Some(Canvas::draw(size, id, &title, &desc, |canvas, area| {
        let mut y = BETWEEN / 2;
        for cell in &cells {
            let name = format!("{}-{}", cut(&cell.place.backend, 5), cell.place.cables);
            write(
                area,
                &name,
                (NAMES - 8, y + LINE / 2),
                Ink::Text,
                (HPos::Right, VPos::Center),
            )?;
            for (cable, bytes) in of(cell) {
                let room = f64::from(WIDTH as i32 - NAMES - VALUES);
                let right = NAMES + (bytes / most * room).round().max(1.0) as i32;
                let words = format!("{}, {cable}: {bytes} bytes", cell.place.name());
                let corners = [(NAMES, y + 2), (right, y + LINE - 2)];
                canvas.group("", &words, || match *bytes > 0.0 {
                    true => fill(area, corners, Ink::Series(0)),
                    false => Ok(()),
                })?;
                let value = format!("{} {}", megabytes(*bytes), cut(cable, 11));
                let at = (right + 5, y + LINE / 2);
                write(area, &value, at, Ink::Muted, (HPos::Left, VPos::Center))?;
                y += LINE;
            }
            y += BETWEEN;
        }
        Ok(())
    }))
}

fn megabytes(bytes: f64) -> String {
    number(bytes / 1e6)
}

/// A phase of the cells' time.
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// The parts of the first rank's time.
    pub parts: fn(&Cell) -> Option<&Parts>,
    /// What the same takes in measured runs.
    pub measured: fn(&Cell) -> Option<f64>,
}

/// Draws where the time of each cell went in a phase, and a line where it ends in measured
/// runs. None if no cell has it.
pub fn split(id: &str, group: &Group, phase: &Phase) -> Option<Markup> {
    const VALUES: i32 = 62;
    const LINE: i32 = 24;
    const LEFT: i32 = NAMES + 10;

    let cells = group.cells.iter();
    let cells = cells.filter_map(|cell| Some((cell, (phase.parts)(cell)?)));
    let cells: Vec<_> = cells.filter(|(_, parts)| parts.total() > 0.0).collect();
    let measured = |cell: &Cell| (phase.measured)(cell).unwrap_or(0.0);
    let ends = cells.iter();
    let ends = ends.map(|(cell, parts)| parts.total().max(measured(cell)));
    let most = ends.fold(0.0, f64::max);
    if most <= 0.0 || !most.is_finite() {
        return None;
    }
    let each = cells.iter().map(|(cell, parts)| {
        let parts = parts.each().into_iter();
        let split: Vec<_> = parts
            .map(|(part, ms)| format!("{part} {} ms", number(ms)))
            .collect();
        let whole = number(measured(cell));
        format!(
            "{}: {}; measured {whole} ms.",
            cell.place.name(),
            split.join(", ")
        )
    });
    let desc = each.collect::<Vec<_>>().join(" ");
    let title = format!("Where the time went in {}, by cell", phase.name);
    let size = (WIDTH, (LINE * cells.len() as i32) as u32);
    let room = f64::from(WIDTH as i32 - LEFT - VALUES);
    let at = |ms: f64| LEFT + (ms / most * room).round() as i32;
    Some(Canvas::draw(size, id, &title, &desc, |canvas, area| {
        for (k, (cell, parts)) in cells.iter().enumerate() {
            let y = LINE * k as i32;
            let name = cell.place.name();
            let place = (NAMES + 2, y + LINE / 2);
            let across = (HPos::Right, VPos::Center);
            write(area, &cut(&name, 10), place, Ink::Text, across)?;
            let mut before = 0.0;
            for (series, (part, ms)) in parts.each().into_iter().enumerate() {
                let (left, right) = (at(before), at(before + ms));
                before += ms;
                let share = percent(ms / parts.total());
                let share = share.trim_start_matches('+');
                let words = format!("{name}, {part}: {} ms, {share}", number(ms));
                // A gap of a pixel parts what colours alone would.
                let corners = [(left, y + 4), ((right - 1).max(left), y + LINE - 4)];
                canvas.group("", &words, || match right > left {
                    true => fill(area, corners, Ink::Series(series)),
                    false => Ok(()),
                })?;
            }
            let whole = measured(cell);
            if whole > 0.0 {
                let words = format!("{name}, measured: {} ms", number(whole));
                let x = at(whole);
                let ends = vec![(x, y + 1), (x, y + LINE - 1)];
                canvas.group("", &words, || line(area, ends, Ink::Text, 2))?;
            }
            let right = at(before.max(whole)) + 5;
            let text = format!("{} ms", number(before));
            let across = (HPos::Left, VPos::Center);
            write(area, &text, (right, y + LINE / 2), Ink::Muted, across)?;
        }
        Ok(())
    }))
}
