//! The findings of a check, a few of each kind.

use std::collections::BTreeMap;

use super::{
    finding::{Finding, Outcome},
    rule::Rule,
    wrong::Wrong,
};

/// The findings of one rule and outcome: a large matrix may break a rule in every cell.
pub const SHOWN: usize = 16;

/// The first findings of every rule and outcome, and their number.
#[derive(Default)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<(Outcome, Rule), usize>,
}

impl Findings {
    pub fn push(&mut self, finding: Finding) {
        let kind = (finding.outcome, finding.rule());
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= SHOWN {
            self.kept.push(finding);
        }
    }

    /// Whether any finding has this outcome.
    pub fn come_to(&self, outcome: Outcome) -> bool {
        self.counts.keys().any(|(of, _)| *of == outcome)
    }

    /// The worst first, then by cell, then the number of those left out.
    pub fn sorted(self) -> Vec<Finding> {
        let mut findings = self.kept;
        findings.sort_by_key(|finding| (finding.outcome, finding.cell));
        let more = self.counts.into_iter().filter(|(_, count)| *count > SHOWN);
        findings.extend(more.map(|((outcome, rule), count)| {
            let count = count - SHOWN;
            Finding::new(outcome, None, Wrong::More { rule, count })
        }));
        findings.sort_by_key(|finding| finding.outcome);
        findings
    }
}

impl Extend<Finding> for Findings {
    fn extend<I: IntoIterator<Item = Finding>>(&mut self, findings: I) {
        for finding in findings {
            self.push(finding);
        }
    }
}
