//! Whether a patch does what it claims: without it cases fail as it says, with it they
//! pass.

use std::fmt::Write;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use crate::{run::Outcome, verdict::Verdict};

/// A claim that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// The pin.
    pub mlx: String,
    /// The patch.
    pub patch: String,
    /// How cases end without it.
    pub before: Verdict,
    /// Which cases, as flags.
    pub flags: String,
    /// How many there are.
    pub cases: usize,
    /// How many ended so without the patch.
    pub failed_without: usize,
    /// How many passed with it.
    pub passed_with: usize,
    /// What was found first without it, or with it where it does not hold.
    pub detail: String,
}

impl Proof {
    /// Holds the cases without a patch against the same cases with it.
    pub fn new(
        (mlx, patch): (String, String),
        (before, flags): (Verdict, String),
        without: &Outcome,
        with: &Outcome,
    ) -> Self {
        let fails = |verdict: Verdict| without.count()[&verdict];
        let remaining = with.failures().next();
        let first = remaining.or_else(|| {
            let mut failures = without.failures();
            failures.find(|(_, finding)| finding.verdict == before)
        });
        Proof {
            mlx,
            patch,
            before,
            flags,
            cases: without.cases.len(),
            failed_without: fails(before),
            passed_with: with.count()[&Verdict::Pass],
            detail: match first {
                Some((case, finding)) => format!("{}  {case}: {}", finding.verdict, finding.detail),
                None => "every case passes without the patch too".to_owned(),
            },
        }
    }

    /// Whether some case fails as claimed without the patch, and all pass with it.
    pub fn holds(&self) -> bool {
        self.failed_without > 0 && self.passed_with == self.cases
    }
}

/// One line a claim, and what was found where it does not hold.
pub fn markdown(proofs: &[Proof]) -> String {
    let mut table = Table::new();
    table
        .load_style(ASCII_MARKDOWN)
        .set_header(["mlx", "patch", "holds", "without", "with", "cases"]);
    for proof in proofs {
        table.add_row([
            proof.mlx.clone(),
            proof.patch.clone(),
            if proof.holds() { "yes" } else { "NO" }.to_owned(),
            format!(
                "{} {} of {}",
                proof.before, proof.failed_without, proof.cases
            ),
            format!("pass {} of {}", proof.passed_with, proof.cases),
            proof.flags.clone(),
        ]);
    }
    let mut text = format!("{}\n", table.trim_fmt());
    for proof in proofs.iter().filter(|proof| !proof.holds()) {
        let _ = writeln!(text, "\n{} does not hold: {}", proof.patch, proof.detail);
    }
    text
}

/// Schema `mlx-rails/verify-patches/1`.
pub fn json(proofs: &[Proof]) -> String {
    let rows: Vec<_> = proofs
        .iter()
        .map(|proof| {
            let mut row = serde_json::to_value(proof).expect("a proof is plain data");
            row["holds"] = proof.holds().into();
            row
        })
        .collect();
    let report = serde_json::json!({"schema": "mlx-rails/verify-patches/1", "proofs": rows});
    serde_json::to_string_pretty(&report).expect("a report is plain data")
}
