//! The failures, kind by kind, each case with the command that runs it again.

use maud::{Markup, html};

use super::letter;
use crate::{
    case::Case,
    report::tally::{self, Kind},
    run::{Outcome, Variant},
    verdict::Verdict,
};

/// The number of cases listed of each kind; `verify.json` has all.
const LISTED: usize = 200;

/// The anchor of the section about failures of this kind.
pub fn anchor(variant: &Variant, case: &Case, verdict: Verdict) -> String {
    format!(
        "{}-{}-{}-{}-{verdict}",
        variant.mlx, variant.series, case.op, case.setting.backend
    )
    .replace(char::is_whitespace, "-")
}

/// All kinds of failures of a variant.
pub fn of(outcome: &Outcome) -> Markup {
    let kinds = tally::kinds(outcome);
    html! {
        @if !kinds.is_empty() {
            h2 { "Failures of " (outcome.variant.name()) }
            @for kind in &kinds { (one(outcome, kind)) }
        }
    }
}

fn one(outcome: &Outcome, kind: &Kind<'_>) -> Markup {
    let (case, finding) = kind.failures[0];
    let more = kind.failures.len().saturating_sub(LISTED);
    html! {
        section.kind id=(anchor(&outcome.variant, case, kind.verdict)) {
            h3 { span class={ "mark " (kind.verdict) } { (letter(kind.verdict)) } " " (kind.title()) }
            p { (kind.extent()) }
            p.detail { (finding.detail) }
            @if !finding.cables.is_empty() {
                ul { @for direction in &finding.cables { li { (direction) } } }
            }
            pre { (tally::command(outcome, case)) }
            @if kind.failures.len() > 1 {
                details {
                    summary {
                        @if more > 0 { "The first " (LISTED) } @else { "All " (kind.failures.len()) }
                    }
                    dl {
                        @for (case, finding) in kind.failures.iter().take(LISTED) {
                            dt { code { (tally::command(outcome, case)) } }
                            dd { (finding.detail) }
                        }
                    }
                    @if more > 0 { p { (more) " more are in verify.json." } }
                }
            }
        }
    }
}
