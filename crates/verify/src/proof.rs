//! Checks whether a patch does what it claims: without it the cases fail as claimed, with
//! it they pass.

use std::{fmt::Write, path::Path};

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use crate::{
    report::{self, WriteError},
    run::Outcome,
    verdict::Verdict,
};

/// A claim that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// The pin.
    pub mlx: String,
    /// The patch.
    pub patch: String,
    /// The claimed verdict without the patch.
    pub before: Verdict,
    /// The cases, as flags.
    pub flags: String,
    /// The number of cases.
    pub cases: usize,
    /// How many ended with this verdict without the patch.
    pub failed_without: usize,
    /// How many passed with the patch.
    pub passed_with: usize,
    /// The first finding: with the patch if a case still fails, else without it.
    pub detail: String,
}

impl Proof {
    /// Compares the outcome without a patch with the outcome of the same cases with it.
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
            cases: without.planned,
            failed_without: fails(before),
            passed_with: with.count()[&Verdict::Pass],
            detail: match first {
                Some((case, finding)) => format!("{}  {case}: {}", finding.verdict, finding.detail),
                None => "every case passes without the patch too".to_owned(),
            },
        }
    }

    /// Whether at least one case fails as claimed without the patch, and all cases pass
    /// with it.
    pub fn holds(&self) -> bool {
        self.failed_without > 0 && self.cases > 0 && self.passed_with == self.cases
    }
}

/// The proofs of a run, to be rendered.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    proofs: &'a [Proof],
    /// The number of claims.
    claims: usize,
    interrupted: bool,
}

impl<'a> Report<'a> {
    /// The proofs of the claims that were tried, out of `claims`.
    pub fn new(proofs: &'a [Proof], claims: usize, interrupted: bool) -> Self {
        Report {
            proofs,
            claims,
            interrupted,
        }
    }

    /// One line for each claim, with the finding if the claim does not hold.
    pub fn markdown(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(ASCII_MARKDOWN)
            .set_header(["mlx", "patch", "holds", "without", "with", "cases"]);
        for proof in self.proofs {
            table.add_row([
                proof.mlx.clone(),
                proof.patch.clone(),
                if proof.holds() { "yes" } else { "NO" }.to_owned(),
                format!(
                    "{} {} of {}",
                    proof.before, proof.failed_without, proof.cases
                ),
                format!("pass {} of {}", proof.passed_with, proof.cases),
                // A bar would begin another column.
                proof.flags.replace('|', "\\|"),
            ]);
        }
        let mut text = format!("{}\n", table.trim_fmt());
        for proof in self.proofs.iter().filter(|proof| !proof.holds()) {
            let _ = writeln!(text, "\n{} does not hold: {}", proof.patch, proof.detail);
        }
        if self.interrupted {
            let _ = writeln!(
                text,
                "\nInterrupted: {} of {} claims were tried. The same command tries all of them \
                 again; the builds are kept.",
                self.proofs.len(),
                self.claims
            );
        }
        text
    }

    /// Schema `mlx-rails/verify-patches/1`.
    pub fn json(&self) -> String {
        let rows: Vec<_> = self
            .proofs
            .iter()
            .map(|proof| {
                let mut row = serde_json::to_value(proof).expect("a proof is plain data");
                row["holds"] = proof.holds().into();
                row
            })
            .collect();
        let report = serde_json::json!({
            "schema": "mlx-rails/verify-patches/1",
            "interrupted": self.interrupted,
            "claims": self.claims,
            "proofs": rows,
        });
        serde_json::to_string_pretty(&report).expect("a report is plain data")
    }

    /// Writes `verify-patches.json` and `verify-patches.md` into a folder. No file gets
    /// its name before both are complete.
    ///
    /// # Errors
    /// If one of them cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        report::write_all(
            folder,
            [
                ("verify-patches.json", self.json() + "\n"),
                ("verify-patches.md", self.markdown()),
            ],
        )
    }
}
