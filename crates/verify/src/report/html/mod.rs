//! A single page without external resources.

mod failures;
mod grid;
mod tested;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::tally;
use crate::{run::Outcome, selection::Level, verdict::Verdict};

const STYLE: &str = include_str!("page.css");

pub fn report(level: Level, outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let title = format!("mlx-rails verify, level {}", level.name());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p { (outcomes.len() - failed) " of " (outcomes.len()) " variants passed every case." }
                (counts(outcomes))
                @for outcome in outcomes {
                    @for note in super::notes(outcome) {
                        p { (outcome.variant.name()) ": " (note) }
                    }
                }
                (legend())
                h2 { "What was tested" }
                @for outcome in outcomes { (tested::variant(&outcome.variant)) }
                @for pin in tally::pins(outcomes) { (grid::pin(&pin)) }
                @for outcome in outcomes { (failures::of(outcome)) }
            }
        }
    };
    page.into_string()
}

/// One line for each variant.
fn counts(outcomes: &[Outcome]) -> Markup {
    html! {
        table.counts {
            thead {
                tr {
                    th { "mlx" } th { "series" } th { "cases" }
                    @for verdict in Verdict::ALL { th { (verdict) } }
                    th { "s" }
                }
            }
            tbody {
                @for outcome in outcomes {
                    tr {
                        th { (outcome.variant.mlx) }
                        th { (outcome.variant.series) }
                        td { (outcome.cases.len()) }
                        @for (verdict, count) in outcome.count() {
                            td class=[(count > 0).then_some(verdict)] { (count) }
                        }
                        td { (outcome.took.as_secs()) }
                    }
                }
            }
        }
    }
}

/// Beside a colour, for readers who cannot see the colour.
const fn letter(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "P",
        Verdict::Hang => "H",
        Verdict::Wrong => "W",
        Verdict::Overrun => "O",
        Verdict::Crash => "C",
        Verdict::Error => "E",
    }
}

fn legend() -> Markup {
    let means = |verdict| match verdict {
        Verdict::Pass => "every byte right, or refused as it must be",
        Verdict::Hang => "a rank did not come back, though it had the processor and no byte moved",
        Verdict::Wrong => "a wrong byte, a changed input, or success reported where there was none",
        Verdict::Overrun => "a byte outside of a buffer was written",
        Verdict::Crash => "a rank's process died",
        Verdict::Error => "jaccl refused what it must do",
    };
    html! {
        ul.legend {
            @for verdict in Verdict::ALL {
                li { span class={ "mark " (verdict) } { (letter(verdict)) } " " b { (verdict) } " " (means(verdict)) }
            }
        }
    }
}
