//! The strip of repeats, in which a drift shows.

use maud::{Markup, html};
use stats::Summary;

use super::scrolling;
use crate::{figures::Group, words::percent};

/// The strongest colour, as a part of the ink: text stays readable on it.
const STRONGEST: f64 = 0.45;
/// Deviations up to this one are never shown as strong.
const CALM: f64 = 0.05;
/// More columns than these have no numbers in them.
const NUMBERED: usize = 16;

/// Each repeat's time to first token beside its cell's median. Empty where no cell has two
/// repeats.
pub fn strip(group: &Group) -> Markup {
    let figures = group
        .cells
        .iter()
        .filter_map(|cell| Some((cell, cell.ttft_ms.as_ref()?)));
    let rows: Vec<(String, Vec<f64>)> = figures
        .map(|(cell, figure)| {
            let samples = figure.samples.iter();
            let deviations = samples.map(|sample| sample / figure.median - 1.0);
            (cell.place.name(), deviations.collect())
        })
        .collect();
    let columns = rows
        .iter()
        .map(|(_, row)| row.len())
        .max()
        .unwrap_or_default();
    if columns < 2 {
        return html! {};
    }
    let all = rows.iter().flat_map(|(_, row)| row).map(|it| it.abs());
    let most = all.fold(CALM, f64::max);
    let numbered = columns <= NUMBERED;
    let of_column = |k: usize| {
        let column = rows.iter().filter_map(|(_, row)| row.get(k).copied());
        Summary::of(column.collect()).map(|it| it.median)
    };
    let table = html! {
        table.heat {
            thead {
                tr {
                    th scope="col" { "repeat" }
                    @for k in 1..=columns { th scope="col" { (k) } }
                }
            }
            tbody {
                @for (name, row) in &rows {
                    tr {
                        th scope="row" { (name) }
                        @for k in 0..columns { (patch(row.get(k).copied(), most, numbered)) }
                    }
                }
            }
            tfoot {
                tr {
                    th scope="row" { "median" }
                    @for k in 0..columns { (patch(of_column(k), most, numbered)) }
                }
            }
        }
    };
    html! {
        h2 { "Repeats" }
        p.muted {
            "Each repeat's time to first token beside its cell's median, in order. A last row that "
            "moves one way is a drift of the machine."
        }
        (scrolling("Repeats", &table))
    }
}

fn patch(deviation: Option<f64>, most: f64, numbered: bool) -> Markup {
    let Some(deviation) = deviation else {
        return html! { td { "-" } };
    };
    let class = if deviation > 0.0 { "slow" } else { "fast" };
    let heat = 100.0 * STRONGEST * deviation.abs() / most;
    let words = percent(deviation);
    html! {
        td class=(class) style=(format!("--heat:{heat:.0}%")) title=(words) {
            @if numbered { (words) } @else if deviation > CALM { "+" } @else if deviation < -CALM { "\u{2212}" }
        }
    }
}
