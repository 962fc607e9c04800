//! The results for each rail, for people and for programs.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use nodes::NodeFacts;
use rig::Rig;
use serde::Serialize;

use super::{
    Outcome, Plan, Rail,
    plugs::{Mates, crossing, whose},
    rails,
    rate::{self, cable_at},
};

/// The name and version of the JSON.
pub const SCHEMA: &str = "mlx-rails/preflight/1";

/// The verdict on a rail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It carries in both directions, fast enough.
    Ok,
    /// It does not carry, in one direction or both.
    Dead,
    /// Its two devices are on different cables.
    Crossed,
    /// It carries less than the rig states, or far less than another of its pair.
    Slow,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Dead => "dead",
            Self::Crossed => "crossed",
            Self::Slow => "slow",
        })
    }
}

/// The result for a rail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RailReport {
    /// The nodes, lower rank first.
    pub pair: [String; 2],
    /// Its position in the cells of the pair, from 0.
    pub rail: usize,
    /// The cable that the rig has between its devices; none if they are on different
    /// cables.
    pub cable: Option<String>,
    /// The devices, in the order of the pair.
    pub devices: [String; 2],
    /// The verdict.
    pub verdict: Verdict,
    /// Megabytes (10^6) a second, from the first of the pair to the second and back. None
    /// if nothing was measured.
    pub mb_per_s: Option<[f64; 2]>,
    /// The cause, if the rail is not ok, and the remedy.
    pub detail: Option<String>,
}

/// Why a rig is not fit for a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this rig does not carry what its matrix says: {}", .0.join("; "))]
pub struct Unfit(pub Vec<String>);

/// The results for a matrix.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The pin of the jaccl that was used, such as `0.31.2`.
    pub mlx: String,
    /// `stock`, `patched` or `tuned`.
    pub series: String,
    /// Whether the caller asked to stop before the end. Rails may be missing then.
    pub interrupted: bool,
    /// The number of rails of the matrix.
    pub planned: usize,
    /// The rig that was emulated.
    pub rig: Rig,
    /// Every rail of the matrix that was tried.
    pub rails: Vec<RailReport>,
    /// What the machines said of themselves, if the nodes are machines of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeFacts>,
}

/// Makes a report of the results.
pub(super) fn judge(
    rig: &Rig,
    rails: &[Rail],
    outcomes: &[Outcome],
    mates: &Mates,
) -> Vec<RailReport> {
    let slow = rate::slow(rig, rails, outcomes);
    let verdict = |at: usize| match &outcomes[at] {
        Outcome::Carries(_) => match slow.iter().find(|slow| slow.rail == at) {
            Some(slow) => (Verdict::Slow, Some(slow.why.clone())),
            None => (Verdict::Ok, None),
        },
        Outcome::Failed(why) => (Verdict::Dead, Some(why.clone())),
        Outcome::Silent(heard) => match crossing(rig, rails, &rails[at], mates) {
            Some(how) if outcomes[at].is_silent() => (Verdict::Crossed, Some(how)),
            _ => (Verdict::Dead, Some(silence(rig, &rails[at], *heard))),
        },
    };
    let report = |(at, rail): (usize, &Rail)| {
        let (verdict, detail) = verdict(at);
        RailReport {
            pair: rail.pair.clone(),
            rail: rail.index,
            cable: common_cable(rig, rail),
            devices: rail.ends.each_ref().map(|end| end.device.clone()),
            verdict,
            mb_per_s: outcomes[at].rates().map(|rates| rates.0.map(megabytes)),
            detail,
        }
    };
    rails.iter().enumerate().map(report).collect()
}

/// Rounds to a hundredth, which is more than the measurement's accuracy.
fn megabytes(bytes: f64) -> f64 {
    (bytes / 1e4).round() / 100.0
}

fn common_cable(rig: &Rig, rail: &Rail) -> Option<String> {
    let cable = cable_at(rig, &rail.ends[0])?;
    cable
        .ends
        .contains(&rail.ends[1])
        .then(|| cable.name.clone())
}

/// Which device receives nothing, and where to look.
fn silence(rig: &Rig, rail: &Rail, heard: [bool; 2]) -> String {
    let [a, b] = rail.ends.each_ref().map(whose);
    let cable = match common_cable(rig, rail) {
        Some(cable) => format!("{cable} and its plugs"),
        None => "their cables and plugs".to_owned(),
    };
    match heard {
        [true, _] => format!("what {a} sends does not reach {b}, and back it does; look at {a}"),
        [_, true] => format!("what {b} sends does not reach {a}, and back it does; look at {b}"),
        _ => format!("nothing arrives between {a} and {b} either way; look at {cable}"),
    }
}

impl Report {
    /// The report for every rail of a plan, and the jaccl that was used.
    pub fn new(mlx: &str, series: &str, plan: Plan, rails: Vec<RailReport>) -> Self {
        Report {
            schema: SCHEMA,
            mlx: mlx.to_owned(),
            series: series.to_owned(),
            interrupted: false,
            planned: plan.rails.len(),
            rig: plan.rig,
            rails,
            nodes: Vec::new(),
        }
    }

    /// The same report, for a check that the caller stopped.
    pub fn interrupted(self) -> Self {
        Report {
            interrupted: true,
            ..self
        }
    }

    /// Whether every rail of the matrix was tried and is ok.
    pub fn all_ok(&self) -> bool {
        self.rails.len() == self.planned
            && self.rails.iter().all(|rail| rail.verdict == Verdict::Ok)
    }

    /// Checks whether a job can run over the rails. A slow rail does carry.
    ///
    /// # Errors
    /// Names the rails that are dead or crossed.
    pub fn fit(&self) -> Result<(), Unfit> {
        let found = self.findings(&[Verdict::Dead, Verdict::Crossed]);
        if found.is_empty() {
            Ok(())
        } else {
            Err(Unfit(found))
        }
    }

    /// One line for each problem of the rails with these verdicts. Two swapped rails are
    /// one problem.
    pub fn findings(&self, verdicts: &[Verdict]) -> Vec<String> {
        let mut found = Vec::new();
        for rail in self
            .rails
            .iter()
            .filter(|rail| verdicts.contains(&rail.verdict))
        {
            let Some(detail) = &rail.detail else { continue };
            let line = match rail.verdict {
                Verdict::Crossed => detail.clone(),
                verdict => {
                    let name = rails::name(rail.rail, &rail.pair);
                    format!("{name} is {verdict}: {detail}")
                }
            };
            if !found.contains(&line) {
                found.push(line);
            }
        }
        found
    }

    /// One object, schema [`SCHEMA`].
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data")
    }

    /// A table, and the remedies.
    pub fn markdown(&self) -> String {
        let found = self.findings(&[Verdict::Dead, Verdict::Crossed, Verdict::Slow]);
        let mut text = self.table() + "\n";
        if !found.is_empty() {
            text.push('\n');
        }
        text.extend(found.into_iter().map(|line| format!("- {line}\n")));
        if self.interrupted {
            text += &format!(
                "\nInterrupted: {} of {} rails were tried; a rail that is slow may not have got \
                 its second look, and one that is dead may be crossed. The same command tries \
                 all of them again.\n",
                self.rails.len(),
                self.planned
            );
        }
        text
    }

    fn table(&self) -> String {
        const COLUMNS: [&str; 7] = [
            "pair",
            "rail",
            "devices",
            "cable",
            "verdict",
            "MB/s there",
            "back",
        ];
        let figure = |rail: &RailReport, way: usize| match rail.mb_per_s {
            Some(rates) => format!("{:.1}", rates[way]),
            None => "-".to_owned(),
        };
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header(COLUMNS);
        for column in table.column_iter_mut().skip(5) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.add_rows(self.rails.iter().map(|rail| {
            [
                rail.pair.join(" - "),
                rail.rail.to_string(),
                rail.devices.join(" - "),
                rail.cable.clone().unwrap_or("-".to_owned()),
                rail.verdict.to_string(),
                figure(rail, 0),
                figure(rail, 1),
            ]
        }));
        table.trim_fmt()
    }
}
