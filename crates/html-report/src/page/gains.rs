//! What each further cable brings, at a glance.

use maud::{Markup, html};

use crate::{
    figures::{Change, Group, Metric, Step},
    input::Cell,
    words::{number, ordinal, percent},
};

/// A card for each strategy.
pub fn cards(group: &Group) -> Markup {
    let strategies = group.strategies().into_iter();
    let cards: Vec<_> = strategies.map(|it| (it, group.steps(it))).collect();
    html! {
        @if cards.iter().any(|(_, steps)| !steps.is_empty()) {
            div.grid { @for (strategy, steps) in &cards { (card(strategy, steps)) } }
        }
    }
}

fn card(strategy: &str, steps: &[Step]) -> Markup {
    let Some(last) = steps.last() else {
        return html! {};
    };
    html! {
        article.card {
            h3 { (strategy) " over the " (last.to.place.backend) ": what a cable brings" }
            @if let Some(change) = Metric::Ttft.change(last.from, last.to) {
                p class=(class(Metric::Ttft, &change)) {
                    (percent(change.part()))
                    (doubt(&change)) " " small { "time to first token with the " (cable(last)) }
                }
            }
            @if let Some(change) = Metric::Decode.change(last.from, last.to) {
                p { "Decode tok/s with the " (cable(last)) ": " strong { (percent(change.part())) } (doubt(&change)) }
            }
            table {
                thead {
                    tr {
                        @for name in ["cables", "TTFT ms", "change", "ideal", "tok/s", "change"] {
                            th scope="col" { (name) }
                        }
                    }
                }
                tbody {
                    (row(steps[0].from, None))
                    @for step in steps { (row(step.to, Some(step))) }
                }
            }
            p.muted { small { "\u{2248} no clear change: its 95 % interval has 0 in it" } }
        }
    }
}

/// A number of cables: its figures, and what it changed.
fn row(cell: &Cell, step: Option<&Step>) -> Markup {
    let figure = |metric: Metric| {
        metric
            .of(cell)
            .map_or("-".to_owned(), |it| number(it.median))
    };
    let change = |metric: Metric| {
        let change = step.and_then(|step| metric.change(step.from, step.to));
        html! {
            td {
                @match change {
                    Some(change) => { (percent(change.part())) (doubt(&change)) }
                    None => { "-" }
                }
            }
        }
    };
    html! {
        tr {
            th scope="row" { (cell.place.cables) }
            td { (figure(Metric::Ttft)) }
            (change(Metric::Ttft))
            td.muted { (step.map_or("-".to_owned(), |step| percent(ideal(step)))) }
            td { (figure(Metric::Decode)) }
            (change(Metric::Decode))
        }
    }
}

/// The change of the time to first token if nothing but the cables' rate mattered.
fn ideal(step: &Step) -> f64 {
    let [from, to] = [step.from, step.to].map(|cell| f64::from(cell.place.cables.max(1)));
    from / to - 1.0
}

/// What was added: one cable, or several.
fn cable(step: &Step) -> String {
    let (from, to) = (step.from.place.cables, step.to.place.cables);
    match to - from {
        1 => format!("{} cable", ordinal(to)),
        more => format!("{more} cables from the {} on", ordinal(from + 1)),
    }
}

fn class(metric: Metric, change: &Change) -> &'static str {
    match (change.clear, metric.improves(change)) {
        (Some(false), _) => "big muted",
        (_, true) => "big good",
        (_, false) => "big bad",
    }
}

fn doubt(change: &Change) -> &'static str {
    match change.clear {
        Some(false) => " \u{2248}",
        _ => "",
    }
}
