//! Tables for people.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

use super::tally::{self, Kind, Pin, Tally};
use crate::{
    case::{Backend, Op},
    run::Outcome,
    selection::Level,
    verdict::Verdict,
};

/// Shown where nothing was tried.
const NONE: &str = "-";

/// Columns of [`counts`] that name the variant; the others hold numbers.
const NAMES: usize = 3;

pub fn report(level: Level, outcomes: &[Outcome]) -> String {
    let mut text = counts(level, outcomes).trim_fmt() + "\n";
    let failed: Vec<Pin<'_>> = tally::pins(outcomes)
        .into_iter()
        .filter(|pin| pin.outcomes.iter().any(|outcome| !outcome.passed()))
        .collect();
    for pin in &failed {
        let _ = writeln!(text, "\n## {}\n\n{}", pin.title(), beside(pin).trim_fmt());
    }
    for outcome in outcomes {
        failures(&mut text, outcome);
    }
    for outcome in outcomes {
        for note in super::notes(outcome) {
            let _ = writeln!(text, "\n{}: {note}", outcome.variant.name());
        }
    }
    text
}

/// One line for each variant.
fn counts(level: Level, outcomes: &[Outcome]) -> Table {
    let mut table = table(
        ["mlx", "series", "level", "cases"]
            .into_iter()
            .chain(Verdict::ALL.map(Verdict::name))
            .chain(["s"]),
    );
    for column in table.column_iter_mut().skip(NAMES) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for outcome in outcomes {
        let mut row = vec![
            outcome.variant.mlx.clone(),
            outcome.variant.series.clone(),
            level.name().to_owned(),
            outcome.cases.len().to_string(),
        ];
        row.extend(outcome.count().values().map(usize::to_string));
        row.push(outcome.took.as_secs().to_string());
        table.add_row(row);
    }
    table
}

fn table<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Table {
    let header: Vec<String> = header.into_iter().map(Into::into).collect();
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    table
}

/// The variants of a pin side by side, by operation.
fn beside(pin: &Pin<'_>) -> Table {
    let columns: Vec<(Backend, &Outcome)> = Backend::ALL
        .into_iter()
        .flat_map(|backend| pin.outcomes.iter().map(move |outcome| (backend, *outcome)))
        .filter(|(backend, _)| {
            let of_backend = |outcome: &&Outcome| {
                let mut cases = outcome.cases.iter();
                cases.any(|(case, _)| case.setting.backend == *backend)
            };
            pin.outcomes.iter().any(of_backend)
        })
        .collect();
    let names = columns
        .iter()
        .map(|(backend, outcome)| format!("{backend}, {}", outcome.variant.series));
    let mut table = table(["op".to_owned()].into_iter().chain(names));
    for op in Op::ALL {
        let row: Vec<Option<String>> = columns
            .iter()
            .map(|(backend, outcome)| {
                summary(&Tally::of(&outcome.cases, |case| {
                    case.op == op && case.setting.backend == *backend
                }))
            })
            .collect();
        if row.iter().any(Option::is_some) {
            let cells = row.into_iter().map(|cell| cell.unwrap_or(NONE.to_owned()));
            table.add_row([op.to_string()].into_iter().chain(cells));
        }
    }
    table
}

/// For example `12 pass`, or `2 hang of 12`.
fn summary(tally: &Tally<'_>) -> Option<String> {
    let cases = tally.cases.len();
    let failed: Vec<String> = tally
        .failed()
        .into_iter()
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    match tally.worst()? {
        Verdict::Pass => Some(format!("{cases} pass")),
        _ => Some(format!("{} of {cases}", failed.join(", "))),
    }
}

fn failures(text: &mut String, outcome: &Outcome) {
    let kinds = tally::kinds(outcome);
    if kinds.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n## Failures of {}", outcome.variant.name());
    for kind in kinds {
        failure(text, outcome, &kind);
    }
}

fn failure(text: &mut String, outcome: &Outcome, kind: &Kind<'_>) {
    let (case, finding) = kind.failures[0];
    let _ = writeln!(
        text,
        "\n### {}\n\n{}\n\n{}",
        kind.title(),
        kind.extent(),
        finding.detail,
    );
    if !finding.cables.is_empty() {
        text.push('\n');
    }
    for direction in &finding.cables {
        let _ = writeln!(text, "- {direction}");
    }
    let _ = writeln!(text, "\n    {}", tally::command(outcome, case));
}
