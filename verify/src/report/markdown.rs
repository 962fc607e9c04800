//! Tables for people.

use std::{collections::BTreeMap, fmt::Write};

use comfy_table::{Table, presets::ASCII_MARKDOWN};

use crate::{
    args::Level,
    case::Case,
    run::Outcome,
    verdict::{Finding, Verdict},
};

/// Lengths that are listed of a kind of failure.
const LISTED: usize = 12;

pub fn report(level: Level, outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", counts(level, outcomes));
    for outcome in outcomes {
        failures(&mut text, outcome);
        if !outcome.dismissed.is_empty() {
            let _ = writeln!(
                text,
                "\n{}: {} cases were silent too long among others and passed alone.",
                outcome.variant.name(),
                outcome.dismissed.len()
            );
        }
    }
    text
}

/// One line a variant.
fn counts(level: Level, outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    let mut header = vec![
        "mlx".to_owned(),
        "series".into(),
        "level".into(),
        "cases".into(),
    ];
    header.extend(Verdict::ALL.map(|verdict| verdict.name().to_owned()));
    header.push("s".into());
    table.set_header(header);
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

/// Failures that differ only in length, dtype, direction and the like are one kind.
type Kind = (String, Verdict);

fn failures(text: &mut String, outcome: &Outcome) {
    let mut kinds: BTreeMap<Kind, Vec<(&Case, &Finding)>> = BTreeMap::new();
    for (case, finding) in outcome.failures() {
        let kind = (
            format!("{} {}", case.op, case.setting.backend),
            finding.verdict,
        );
        kinds.entry(kind).or_default().push((case, finding));
    }
    if kinds.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n## {}", outcome.variant.name());
    for ((what, verdict), failures) in kinds {
        let (case, finding) = failures[0];
        let _ = writeln!(
            text,
            "\n### {what}: {verdict}, {} cases\n\n{}\n\nFirst: {}\n\n    cargo xtask verify --mlx {} --series {} {}",
            failures.len(),
            extent(&failures),
            finding.detail,
            outcome.variant.mlx,
            outcome.variant.series,
            case.flags(),
        );
    }
}

/// Where a kind of failure was seen.
fn extent(failures: &[(&Case, &Finding)]) -> String {
    fn list<T: Ord + ToString>(name: &str, values: impl Iterator<Item = T>) -> String {
        let values: std::collections::BTreeSet<T> = values.collect();
        let shown: Vec<String> = values.iter().take(LISTED).map(T::to_string).collect();
        let more = values.len().saturating_sub(LISTED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("{name} {}{more}", shown.join(", "))
    }
    let cases = || failures.iter().map(|(case, _)| *case);
    [
        list("ranks", cases().map(|case| case.setting.ranks)),
        list("wires", cases().map(|case| case.setting.wires)),
        list("frames", cases().map(|case| case.setting.frames)),
        list("bytes", cases().map(|case| case.bytes)),
        list("dtypes", cases().map(|case| case.dtype)),
    ]
    .join("; ")
}
