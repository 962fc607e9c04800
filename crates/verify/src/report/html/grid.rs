//! Verdicts by operation, wires and bytes, with the variants of a pin side by side.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::{failures, letter};
use crate::{
    case::{Backend, Case, Frames, Op},
    report::tally::{self, Pin, Tally},
    run::{Outcome, Variant},
    verdict::Verdict,
};

/// All tables of a pin.
pub fn pin(pin: &Pin<'_>) -> Markup {
    let sections = Backend::ALL
        .into_iter()
        .flat_map(|backend| Frames::ALL.map(|frames| (backend, frames)));
    html! {
        h2 { (pin.title()) }
        @for (backend, frames) in sections {
            (table(
                &format!("{backend}, {frames} frames"),
                pin,
                |case| !joins(case)
                    && (case.setting.backend, case.setting.frames) == (backend, frames),
                |case| case.setting.wires,
                |wires| match wires {
                    1 => "1 wire".to_owned(),
                    _ => format!("{wires} wires"),
                },
            ))
        }
        (table(
            "joining, and what must be refused",
            pin,
            joins,
            |case| case.setting.backend,
            |backend| backend.to_string(),
        ))
    }
}

/// Whether a case is about joining rather than data.
fn joins(case: &Case) -> bool {
    case.op.is_condition() || case.op == Op::Init
}

/// A column: the property that its cases share, and the position of its variant in the
/// pin.
type Column<G> = (G, usize);

/// Neighbouring lengths with equal results.
struct Row<'a, G> {
    op: Op,
    lengths: Vec<usize>,
    cells: BTreeMap<Column<G>, Tally<'a>>,
}

impl<'a, G: Ord> Row<'a, G> {
    /// Whether another row has equal results in every cell that both have.
    fn agrees(&self, other: &Self) -> bool {
        let agrees = |(column, tally): (&Column<G>, &Tally<'a>)| {
            let ours = self.cells.get(column);
            ours.is_none_or(|ours| ours.worst() == tally.worst())
        };
        self.op == other.op && other.cells.iter().all(agrees)
    }

    fn merge(&mut self, other: Self) {
        self.lengths.extend(other.lengths);
        for (column, tally) in other.cells {
            self.cells.entry(column).or_default().merge(&tally);
        }
    }

    /// The lengths for people; `None` if the operation has none.
    fn bytes(&self) -> Option<String> {
        match self.lengths.as_slice() {
            [.., longest] if self.op == Op::Sequence => Some(format!("up to {longest}")),
            _ if !self.op.has_bytes() => None,
            [first, .., last] => {
                let lengths = self.lengths.len();
                Some(format!("{first} to {last}, {lengths} lengths"))
            }
            lengths => lengths.first().map(usize::to_string),
        }
    }
}

/// The rows of the selected cases, in columns by the result of `group`.
fn rows<'a, G: Ord + Copy>(
    pin: &Pin<'a>,
    wanted: impl Fn(&Case) -> bool,
    group: impl Fn(&Case) -> G,
) -> Vec<Row<'a, G>> {
    let mut cells: BTreeMap<(Op, usize), BTreeMap<Column<G>, Tally<'a>>> = BTreeMap::new();
    for (place, outcome) in pin.outcomes.iter().enumerate() {
        for (case, finding) in outcome.cases.iter().filter(|(case, _)| wanted(case)) {
            let row = cells.entry((case.op, case.bytes)).or_default();
            let cell = row.entry((group(case), place)).or_default();
            cell.add(case, finding.as_ref());
        }
    }
    let mut rows: Vec<Row<'a, G>> = Vec::new();
    for ((op, bytes), cells) in cells {
        let lengths = vec![bytes];
        let row = Row { op, lengths, cells };
        match rows.last_mut() {
            Some(last) if last.agrees(&row) => last.merge(row),
            _ => rows.push(row),
        }
    }
    rows
}

fn table<G: Ord + Copy>(
    title: &str,
    pin: &Pin<'_>,
    wanted: impl Fn(&Case) -> bool,
    group: impl Fn(&Case) -> G,
    name: impl Fn(G) -> String,
) -> Markup {
    let rows = rows(pin, wanted, group);
    if rows.is_empty() {
        return html! {};
    }
    let columns = rows.iter().flat_map(|row| row.cells.keys());
    let groups: BTreeSet<G> = columns.map(|(group, _)| *group).collect();
    let has_bytes = rows.iter().any(|row| row.bytes().is_some());
    let outcomes: Vec<(usize, &Outcome)> = pin.outcomes.iter().copied().enumerate().collect();
    html! {
        h3 { (title) }
        table.grid {
            thead {
                tr {
                    th rowspan="2" { "op" }
                    @if has_bytes { th rowspan="2" { "bytes" } }
                    @for &group in &groups { th.group colspan=(outcomes.len()) { (name(group)) } }
                }
                tr {
                    @for _ in &groups {
                        @for (_, outcome) in &outcomes { th { (outcome.variant.series) } }
                    }
                }
            }
            @for rows in rows.chunk_by(|one, next| one.op == next.op) {
                tbody {
                    @for (index, row) in rows.iter().enumerate() {
                        tr {
                            @if index == 0 { th rowspan=(rows.len()) { (row.op) } }
                            @if has_bytes { th.bytes { (row.bytes().unwrap_or_default()) } }
                            @for &group in &groups {
                                @for (place, outcome) in &outcomes {
                                    (cell(&outcome.variant, row.cells.get(&(group, *place))))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The worst verdict of the cell's cases, with the details in its tooltip.
fn cell(variant: &Variant, tally: Option<&Tally<'_>>) -> Markup {
    let Some((tally, worst)) = tally.and_then(|tally| Some((tally, tally.worst()?))) else {
        return html! { td.untried title="not tried" {} };
    };
    let cases = tally.cases.len();
    if worst == Verdict::Pass {
        return html! { td.pass title={ (cases) " pass" } { (letter(worst)) } };
    }
    let at = failures::anchor(variant, tally.failures[0].0, worst);
    html! {
        td class=(worst) title=(known(tally)) {
            a href={ "#" (at) } { (letter(worst)) " " small { (tally.failures.len()) "/" (cases) } }
        }
    }
}

/// How many cases of how many, and which, one line for each verdict.
fn known(tally: &Tally<'_>) -> String {
    let line = |(verdict, count): (Verdict, usize)| {
        let failures = tally.failures.iter();
        let alike = failures.filter(|(_, finding)| finding.verdict == verdict);
        format!(
            "{verdict} in {}: {}",
            tally::part(count, tally.cases.len()),
            tally::extent(alike.map(|(case, _)| *case), &tally.cases)
        )
    };
    let lines: Vec<String> = tally.failed().into_iter().map(line).collect();
    lines.join("\n")
}
