//! The table of cells.

use maud::{Markup, html};

use super::{scrolling, verdict};
use crate::{
    figures::{Group, Metric, interval, same},
    input::{Bench, Cell, Figure},
    words::{number, percent},
};

/// Every cell with its verdict and figures.
pub fn table(group: &Group, against: Option<&Bench>) -> Markup {
    let is_explained = group.cells.iter().any(|cell| cell.explained.is_some());
    let explanation = html! {
        @if is_explained {
            th scope="col" { "predicted" }
            th scope="col" { "explained" }
        }
    };
    let table = html! {
        table {
            thead {
                tr {
                    th scope="col" { "cell" }
                    th.left scope="col" { "verdict" }
                    th.left scope="col" { "tokens" }
                    th scope="col" { "TTFT ms" }
                    (explanation)
                    th scope="col" { "gain" }
                    @if against.is_some() { th scope="col" { "change" } }
                    th scope="col" { "prompt tok/s" }
                    th scope="col" { "decode tok/s" }
                    (explanation)
                    th scope="col" { "gain" }
                    @if against.is_some() { th scope="col" { "change" } }
                    th scope="col" { "TPOT ms" }
                    th scope="col" { "ITL ms p50 / p90 / p99" }
                }
            }
            tbody { @for cell in &group.cells { (row(group, cell, against, is_explained)) } }
        }
    };
    html! {
        h2 { "Cells" }
        p.muted {
            "Medians, with their intervals in brackets. Gains are over ring-1 of the same strategy; above 1 is better."
            @if against.is_some() { " Changes are from the other report's median to this one's." }
            @if is_explained {
                " Predicted is what a cell should take by the single process's time, jaccl's messages over emulated cables of the rig's figures, and fences; explained is this time as a part of what it took."
            }
        }
        (scrolling("Cells", &table))
    }
}

fn row(group: &Group, cell: &Cell, against: Option<&Bench>, is_explained: bool) -> Markup {
    let base = group.baseline(&cell.place.strategy);
    let other = against.map(|other| same(other, cell));
    let gain = |metric: Metric| base.and_then(|base| metric.gain(base, cell));
    let tokens = match cell.tokens_match {
        Some(true) if cell.is_reference() => "reference",
        Some(true) => "match",
        Some(false) if cell.verdict == "wrong" => "differ",
        _ => "-",
    };
    let change = |metric: Metric| {
        html! {
            @match other.flatten().map(|other| (other, metric.change(other, cell))) {
                Some((other, Some(change))) if other.passed() && cell.passed() => {
                    td {
                        (percent(change.part()))
                        @if change.clear == Some(false) { " " abbr title="the 95 % interval of the change has 0 in it" { "\u{2248}" } }
                    }
                }
                Some((other, _)) if !other.passed() => { td { "was " (other.verdict) } }
                _ => { td { "-" } }
            }
        }
    };
    let explanation = |metric: Metric| {
        html! {
            @if is_explained {
                @match cell.explained.map(|it| metric.explained(it)) {
                    Some((predicted, part)) => {
                        td { (number(predicted)) }
                        td { (format!("{:.0} %", 100.0 * part)) }
                    }
                    None => { td { "-" } td { "-" } }
                }
            }
        }
    };
    html! {
        tr {
            th scope="row" { (cell.place.name()) }
            td.left { (verdict(cell)) }
            td.left { (tokens) }
            td { (spread(cell.ttft_ms.as_ref())) }
            (explanation(Metric::Ttft))
            td { (times(gain(Metric::Ttft))) }
            @if against.is_some() { (change(Metric::Ttft)) }
            td { (cell.prompt_tps.as_ref().map_or("-".to_owned(), |it| number(it.median))) }
            td { (spread(cell.generation_tps.as_ref())) }
            (explanation(Metric::Decode))
            td { (times(gain(Metric::Decode))) }
            @if against.is_some() { (change(Metric::Decode)) }
            td { (cell.tpot_ms.as_ref().map_or("-".to_owned(), |it| number(it.median))) }
            td { (cell.itl_ms.map_or("-".to_owned(), |it| [it.p50, it.p90, it.p99].map(number).join(" / "))) }
        }
    }
}

fn spread(figure: Option<&Figure>) -> Markup {
    html! {
        @match figure {
            Some(figure) => {
                (number(figure.median))
                @if let Some(it) = interval(figure) {
                    " " small { "[" (number(it.low)) ", " (number(it.high)) "]" }
                }
            }
            None => { "-" }
        }
    }
}

fn times(gain: Option<f64>) -> String {
    gain.map_or("-".to_owned(), |gain| format!("{gain:.2}\u{d7}"))
}
