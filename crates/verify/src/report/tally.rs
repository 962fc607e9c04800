//! Statistics of cases: how many, which failed, and where.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    case::{Backend, Case, Op},
    run::Outcome,
    verdict::{Finding, Verdict},
};

/// A case that did not pass.
pub type Failure<'a> = (&'a Case, &'a Finding);

/// The results of some cases.
#[derive(Debug, Clone, Default)]
pub struct Tally<'a> {
    pub cases: Vec<&'a Case>,
    pub failures: Vec<Failure<'a>>,
}

impl<'a> Tally<'a> {
    pub fn of(cases: &'a [(Case, Option<Finding>)], wanted: impl Fn(&Case) -> bool) -> Self {
        let mut tally = Tally::default();
        for (case, finding) in cases.iter().filter(|(case, _)| wanted(case)) {
            tally.add(case, finding.as_ref());
        }
        tally
    }

    pub fn add(&mut self, case: &'a Case, finding: Option<&'a Finding>) {
        self.cases.push(case);
        self.failures.extend(finding.map(|finding| (case, finding)));
    }

    pub fn merge(&mut self, other: &Self) {
        self.cases.extend(&other.cases);
        self.failures.extend(&other.failures);
    }

    /// The worst verdict; `None` if there is no case.
    pub fn worst(&self) -> Option<Verdict> {
        let failed = self.failures.iter().map(|(_, finding)| finding.verdict);
        match failed.max_by_key(|verdict| severity(*verdict)) {
            None if self.cases.is_empty() => None,
            worst => Some(worst.unwrap_or(Verdict::Pass)),
        }
    }

    /// The number of failures of each verdict that occurred, the worst first.
    pub fn failed(&self) -> Vec<(Verdict, usize)> {
        let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
        for (_, finding) in &self.failures {
            *counts.entry(finding.verdict).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(verdict, _)| std::cmp::Reverse(severity(*verdict)));
        counts
    }
}

/// From verdicts that jaccl reports to those that go unnoticed.
const fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Error => 1,
        Verdict::Hang => 2,
        Verdict::Crash => 3,
        Verdict::Wrong => 4,
        Verdict::Overrun => 5,
    }
}

/// The variants of one pin, shown side by side.
pub struct Pin<'a> {
    pub mlx: &'a str,
    pub outcomes: Vec<&'a Outcome>,
}

/// Pins in the order of their first variant.
pub fn pins(outcomes: &[Outcome]) -> Vec<Pin<'_>> {
    let mut pins: Vec<Pin<'_>> = Vec::new();
    for outcome in outcomes {
        let mlx = outcome.variant.mlx.as_str();
        match pins.iter_mut().find(|pin| pin.mlx == mlx) {
            Some(pin) => pin.outcomes.push(outcome),
            None => pins.push(Pin {
                mlx,
                outcomes: vec![outcome],
            }),
        }
    }
    pins
}

impl Pin<'_> {
    /// A title such as `MLX 0.31.2: stock beside patched`.
    pub fn title(&self) -> String {
        let series: Vec<&str> = self
            .outcomes
            .iter()
            .map(|outcome| outcome.variant.series.as_str())
            .collect();
        format!("MLX {}: {}", self.mlx, series.join(" beside "))
    }
}

/// Failures of a variant that differ only in length, dtype, direction and similar fields.
pub struct Kind<'a> {
    pub op: Op,
    pub backend: Backend,
    pub verdict: Verdict,
    pub failures: Vec<Failure<'a>>,
    /// Every case of this operation and backend.
    pub tried: Vec<&'a Case>,
}

/// The kinds of failures of a variant, by operation, backend and verdict.
pub fn kinds(outcome: &Outcome) -> Vec<Kind<'_>> {
    let mut tallies: BTreeMap<(Op, Backend), Tally<'_>> = BTreeMap::new();
    for (case, finding) in &outcome.cases {
        tallies
            .entry((case.op, case.setting.backend))
            .or_default()
            .add(case, finding.as_ref());
    }
    let mut kinds = Vec::new();
    for ((op, backend), tally) in tallies {
        for (verdict, _) in tally.failed() {
            let alike = |failure: &&Failure<'_>| failure.1.verdict == verdict;
            kinds.push(Kind {
                op,
                backend,
                verdict,
                failures: tally.failures.iter().filter(alike).copied().collect(),
                tried: tally.cases.clone(),
            });
        }
    }
    kinds
}

impl Kind<'_> {
    /// For example `recv, ring: hang in 2 of 12 cases`.
    pub fn title(&self) -> String {
        format!(
            "{}, {}: {} in {}",
            self.op,
            self.backend,
            self.verdict,
            part(self.failures.len(), self.tried.len())
        )
    }

    /// The settings in which it occurred.
    pub fn extent(&self) -> String {
        extent(self.failures.iter().map(|(case, _)| *case), &self.tried)
    }
}

/// For example `2 of 12 cases`.
pub fn part(some: usize, all: usize) -> String {
    match (some, all) {
        (1, 1) => "its one case".to_owned(),
        _ if some == all => format!("all of {all} cases"),
        _ => format!("{some} of {all} cases"),
    }
}

/// The number of values listed for a field.
const LISTED: usize = 12;

/// What failures have in common, field by field, compared with the cases tried. A field
/// is shown as `any` if every tried value of it fails.
pub fn extent<'a>(failed: impl Iterator<Item = &'a Case> + Clone, tried: &[&Case]) -> String {
    let has_bytes = tried.iter().any(|case| case.op.has_bytes());
    let sequences = tried.iter().any(|case| case.seed != 0);
    let field = |name: &str, of: &dyn Fn(&Case) -> Value| {
        let failed: BTreeSet<Value> = failed.clone().map(of).collect();
        let tried: BTreeSet<Value> = tried.iter().map(|case| of(case)).collect();
        let shown: Vec<&str> = failed
            .iter()
            .take(LISTED)
            .map(|(_, text)| &**text)
            .collect();
        match failed.len().saturating_sub(LISTED) {
            _ if tried.len() > 1 && failed == tried => format!("{name} any"),
            0 => format!("{name} {}", shown.join(", ")),
            more => format!("{name} {} and {more} more", shown.join(", ")),
        }
    };
    let varies = |of: &dyn Fn(&Case) -> Value| {
        tried
            .iter()
            .map(|case| of(case))
            .collect::<BTreeSet<_>>()
            .len()
            > 1
    };
    let direction = |case: &Case| text(case.direction);
    let in_place = |case: &Case| text(case.in_place);
    let mut fields = vec![
        field("ranks", &|case| number(case.setting.ranks as u64)),
        field("wires", &|case| number(case.setting.wires as u64)),
        field("frames", &|case| text(case.setting.frames)),
    ];
    if has_bytes {
        fields.push(field("bytes", &|case| number(case.bytes as u64)));
        fields.push(field("dtype", &|case| text(case.dtype)));
    }
    if varies(&direction) {
        fields.push(field("direction", &direction));
    }
    if varies(&in_place) {
        fields.push(field("in-place", &in_place));
    }
    if sequences {
        fields.push(field("seed", &|case| number(case.seed)));
    }
    fields.join("; ")
}

/// A field's value: its sort key, and its text.
type Value = (u64, String);

fn number(value: u64) -> Value {
    (value, value.to_string())
}

fn text(value: impl ToString) -> Value {
    (0, value.to_string())
}

/// The command that runs exactly this case again.
pub fn command(outcome: &Outcome, case: &Case) -> String {
    let Outcome { variant, given, .. } = outcome;
    let mut what = match &variant.wheel {
        Some(file) => format!("--wheel '{}'", file.display()),
        None => format!("--mlx {} --series {}", variant.mlx, variant.series),
    };
    if let Some(given) = given {
        what += &format!(" {}", given.flags());
    }
    format!("cargo xtask verify {what} {}", case.flags())
}
