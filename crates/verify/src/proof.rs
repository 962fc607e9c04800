//! Checks whether a patch does what it claims. Without a fix its cases fail as claimed, and
//! with it they pass. With a performance patch its benchmark takes less time than without it,
//! as claimed.

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

/// How much longer than claimed a benchmark may take, as a factor. Medians of the same two
/// builds differ by a few percent from run to run on a machine that does other work too.
pub const TOLERANCE: f64 = 1.1;

/// A claim of a gain that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Gain {
    /// The pin.
    pub mlx: String,
    /// The patch.
    pub patch: String,
    /// The benchmark, as flags of `cargo xtask collectives`.
    pub flags: String,
    /// The claimed time with the patch, as a share of the time without it.
    pub claim: f64,
    /// What was measured: every point of the benchmark.
    pub measured: Vec<Compared>,
}

/// A point of a benchmark without a patch and with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The point, as flags of `cargo xtask collectives`.
    pub flags: String,
    /// The median time without the patch, in microseconds.
    pub without_us: Option<f64>,
    /// The median time with it.
    pub with_us: Option<f64>,
    /// The time with the patch over the time without it, measured in turns; `None` if a side
    /// has no time, or wrong data.
    pub ratio: Option<f64>,
    /// What went wrong on a side, in one line.
    pub detail: Option<String>,
}

impl Gain {
    /// The largest ratio that is still as claimed.
    pub fn limit(&self) -> f64 {
        self.claim * TOLERANCE
    }

    /// Whether every point gains as much as claimed.
    pub fn holds(&self) -> bool {
        let is_gained = |it: &Compared| it.ratio.is_some_and(|ratio| ratio <= self.limit());
        !self.measured.is_empty() && self.measured.iter().all(is_gained)
    }

    /// The point that gains least. One without a ratio gains nothing.
    fn least(&self) -> Option<&Compared> {
        let ratio = |it: &Compared| it.ratio.unwrap_or(f64::INFINITY);
        let points = self.measured.iter();
        points.max_by(|a, b| ratio(a).total_cmp(&ratio(b)))
    }

    fn row(&self) -> [String; 6] {
        let time = |time: Option<f64>| match time {
            Some(time) => format!("{time:.1} us"),
            None => "no time".to_owned(),
        };
        let least = self.least();
        let with = time(least.and_then(|it| it.with_us));
        let with = match least.and_then(|it| it.ratio) {
            Some(ratio) => format!("{with}, {ratio:.2} (claimed {:.2})", self.claim),
            None => format!("{with} (claimed {:.2})", self.claim),
        };
        [
            self.mlx.clone(),
            self.patch.clone(),
            holds(self.holds()),
            time(least.and_then(|it| it.without_us)),
            with,
            self.flags.clone(),
        ]
    }

    /// Why it does not hold.
    fn shortfall(&self) -> String {
        let Some(least) = self.least() else {
            return "nothing was measured".to_owned();
        };
        let what = match (&least.detail, least.ratio) {
            (Some(detail), _) => detail.clone(),
            (None, Some(ratio)) => format!("{ratio:.3} of the time without it"),
            (None, None) => "no time".to_owned(),
        };
        let limit = self.limit();
        format!(
            "at most {limit:.3} was claimed, and {} has {what}",
            least.flags
        )
    }
}

fn holds(holds: bool) -> String {
    if holds { "yes" } else { "NO" }.to_owned()
}

/// The proofs of a run, to be rendered.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    proofs: &'a [Proof],
    gains: &'a [Gain],
    /// The number of claims.
    claims: usize,
    interrupted: bool,
}

impl<'a> Report<'a> {
    /// The proofs and gains of the claims that were tried, out of `claims`.
    pub fn new(
        (proofs, gains): (&'a [Proof], &'a [Gain]),
        claims: usize,
        interrupted: bool,
    ) -> Self {
        Report {
            proofs,
            gains,
            claims,
            interrupted,
        }
    }

    /// One line for each claim, with the finding if the claim does not hold. That of a gain
    /// has the point that gains least.
    pub fn markdown(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(ASCII_MARKDOWN)
            .set_header(["mlx", "patch", "holds", "without", "with", "cases"]);
        for proof in self.proofs {
            table.add_row([
                proof.mlx.clone(),
                proof.patch.clone(),
                holds(proof.holds()),
                format!(
                    "{} {} of {}",
                    proof.before, proof.failed_without, proof.cases
                ),
                format!("pass {} of {}", proof.passed_with, proof.cases),
                // A bar would begin another column.
                proof.flags.replace('|', "\\|"),
            ]);
        }
        for gain in self.gains {
            table.add_row(gain.row());
        }
        let mut text = format!("{}\n", table.trim_fmt());
        for proof in self.proofs.iter().filter(|proof| !proof.holds()) {
            let _ = writeln!(text, "\n{} does not hold: {}", proof.patch, proof.detail);
        }
        for gain in self.gains.iter().filter(|gain| !gain.holds()) {
            let _ = writeln!(text, "\n{} does not hold: {}", gain.patch, gain.shortfall());
        }
        if self.interrupted {
            let _ = writeln!(
                text,
                "\nInterrupted: {} of {} claims were tried. The same command tries all of them \
                 again; the builds are kept.",
                self.proofs.len() + self.gains.len(),
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
        let gains: Vec<_> = self
            .gains
            .iter()
            .map(|gain| {
                let mut row = serde_json::to_value(gain).expect("a gain is plain data");
                row["limit"] = gain.limit().into();
                row["holds"] = gain.holds().into();
                row
            })
            .collect();
        let report = serde_json::json!({
            "schema": "mlx-rails/verify-patches/1",
            "interrupted": self.interrupted,
            "claims": self.claims,
            "proofs": rows,
            "gains": gains,
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
