//! Bars of cells: the bytes of each cable, and where the time went.

use std::collections::BTreeMap;

use maud::Markup;
use plotters::style::text_anchor::{HPos, VPos};

use super::{WIDTH, fill, write};
use crate::{
    figures::{Group, distinct},
    input::Cell,
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

/// The parts that the cells' time went into.
pub fn parts<'a>(group: &'a Group) -> Vec<&'a str> {
    let cells = group.cells.iter();
    distinct(cells.flat_map(|cell| cell.time_split_ms.iter().map(|(part, _)| part.as_str())))
}

/// Draws where the time of each cell went. None if no cell has it.
pub fn split(id: &str, group: &Group) -> Option<Markup> {
    const VALUES: i32 = 62;
    const LINE: i32 = 24;

    let total = |cell: &Cell| cell.time_split_ms.iter().map(|(_, ms)| ms).sum::<f64>();
    let cells: Vec<_> = group
        .cells
        .iter()
        .filter(|cell| total(cell) > 0.0)
        .collect();
    let most = cells.iter().map(|cell| total(cell)).fold(0.0, f64::max);
    if most <= 0.0 || !most.is_finite() {
        return None;
    }
    let parts = parts(group);
    let each = cells.iter().map(|cell| {
        let split = cell.time_split_ms.iter();
        let split: Vec<_> = split
            .map(|(part, ms)| format!("{part} {} ms", number(*ms)))
            .collect();
        format!("{}: {}.", cell.place.name(), split.join(", "))
    });
    let desc = each.collect::<Vec<_>>().join(" ");
    let size = (WIDTH, (LINE * cells.len() as i32) as u32);
    Some(Canvas::draw(
        size,
        id,
        "Where the time went, by cell",
        &desc,
        |canvas, area| {
            for (k, cell) in cells.iter().enumerate() {
                let y = LINE * k as i32;
                let name = cut(&cell.place.name(), 10);
                write(
                    area,
                    &name,
                    (NAMES + 2, y + LINE / 2),
                    Ink::Text,
                    (HPos::Right, VPos::Center),
                )?;
                let room = f64::from(WIDTH as i32 - NAMES - 10 - VALUES);
                let mut before = 0.0;
                let mut right = NAMES + 10;
                for (part, ms) in &cell.time_split_ms {
                    let left = right;
                    before += ms;
                    right = NAMES + 10 + (before / most * room).round() as i32;
                    let series = parts.iter().position(|it| it == part).unwrap_or_default();
                    let share = percent(ms / total(cell)).trim_start_matches('+').to_owned();
                    let words =
                        format!("{}, {part}: {} ms, {share}", cell.place.name(), number(*ms));
                    // A gap of a pixel parts what colours alone would.
                    let corners = [(left, y + 4), ((right - 1).max(left), y + LINE - 4)];
                    canvas.group("", &words, || fill(area, corners, Ink::Series(series)))?;
                }
                let at = (right + 5, y + LINE / 2);
                let text = format!("{} ms", number(total(cell)));
                write(area, &text, at, Ink::Muted, (HPos::Left, VPos::Center))?;
            }
            Ok(())
        },
    ))
}
