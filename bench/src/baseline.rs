//! A report beside an earlier one of the same build, model and rig.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use rail_matrix::Backend;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stats::{Change, Summary};

use crate::{
    dry_run::Pace,
    engine::Engine,
    model::Model,
    plan::Plan,
    report::{
        BuildInfo, CellReport, NO_BACKEND, Report,
        read::{self, Unread, as_reported, is_same_model},
    },
    sweep::Cell,
    verdict::Verdict,
    workload::Workload,
};

/// An earlier report.
#[derive(Debug)]
pub struct Baseline {
    path: PathBuf,
    document: Document,
}

/// What is read of a report. The JSON of the rig is compared as it is.
#[derive(Debug, Deserialize)]
struct Document {
    build: Build,
    rig: Value,
    model: Value,
    cells: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Build {
    mlx: String,
    series: String,
    key: String,
}

#[derive(Debug, Deserialize)]
struct Row {
    /// Absent in schema 1, where every row is of this engine.
    #[serde(default = "the_only_engine")]
    engine: String,
    strategy: String,
    backend: String,
    cables: usize,
    #[serde(flatten)]
    workload: Workload,
    #[serde(default)]
    env: BTreeMap<String, String>,
    verdict: String,
    ttft_ms: Option<Summary>,
    generation_tps: Option<Summary>,
}

fn the_only_engine() -> String {
    Engine::Rust.to_string()
}

/// Why a report cannot be the baseline of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// The file cannot be read.
    #[error("cannot read the baseline {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is no report of the benchmark.
    #[error("the baseline {} is no report of the benchmark", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// The report has a schema that this program does not know.
    #[error("the baseline {} has schema {schema}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        schema: String,
    },
    /// The report is about something else.
    #[error("the baseline {} has another {what}{difference}", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// The part that differs.
        what: &'static str,
        /// How it differs, as the end of a sentence; empty if that is too long to say.
        difference: String,
    },
    /// No cell of the run is in the report with the same workload and environment variables.
    #[error("the baseline {} has no cell of this run", path.display())]
    NothingInCommon {
        /// The file.
        path: PathBuf,
    },
}

impl BaselineError {
    /// The remedy.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::Malformed { .. } => {
                "give a bench.json that `cargo xtask bench` has written"
            }
            Self::Schema { .. } => {
                "this program reads mlx-rails/bench/1 and /2; measure the baseline again with it"
            }
            Self::Differs { .. } => {
                "a slower run would prove nothing; measure the baseline again with the same build, \
                 model and rig"
            }
            Self::NothingInCommon { .. } => {
                "ask for the same cells, prompt, tokens, depth, frames and settings as the baseline has"
            }
        }
    }
}

impl Baseline {
    /// Reads a report.
    ///
    /// # Errors
    /// If the file is none.
    pub fn read(path: &Path) -> Result<Self, BaselineError> {
        let path = path.to_owned();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(source) => return Err(BaselineError::Unreadable { path, source }),
        };
        match read::parse(&text) {
            Ok(document) => Ok(Self { path, document }),
            Err(Unread::Schema(schema)) => Err(BaselineError::Schema { path, schema }),
            Err(Unread::Malformed(source)) => Err(BaselineError::Malformed { path, source }),
        }
    }

    /// Checks, before anything is measured, that the report is about the pin, the series, the
    /// rig and the model of a plan, and shares a cell with it.
    ///
    /// # Errors
    /// Names the first difference.
    pub fn check_plan(&self, plan: &Plan, mlx: &str, series: &str) -> Result<(), BaselineError> {
        let Document {
            build, rig, model, ..
        } = &self.document;
        if (build.mlx.as_str(), build.series.as_str()) != (mlx, series) {
            let difference = format!(
                ": MLX {}, {}; this run is of {mlx}, {series}",
                build.mlx, build.series
            );
            return Err(self.differs("build", difference));
        }
        if *rig != as_reported(&plan.rig) {
            return Err(self.differs("rig", String::new()));
        }
        let settings = &plan.settings;
        if !is_same_model(model, &as_reported(&settings.model)) {
            let own = settings.model.name();
            let difference = match model.get("name").and_then(Value::as_str) {
                Some(name) if name == own => format!(" of the name {name}"),
                Some(name) => format!(": {name}; this run is of {own}"),
                None => String::new(),
            };
            return Err(self.differs("model", difference));
        }
        let mut cells = plan.cells.iter();
        match cells.any(|planned| self.row(planned.cell, &settings.env).is_some()) {
            true => Ok(()),
            false => Err(BaselineError::NothingInCommon {
                path: self.path.clone(),
            }),
        }
    }

    /// Checks that the report is about the very build that is to be measured.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_build(&self, build: &BuildInfo) -> Result<(), BaselineError> {
        let theirs = &self.document.build.key;
        match *theirs == build.key {
            true => Ok(()),
            false => {
                let difference =
                    format!(" of the same series: {theirs}; this run's is {}", build.key);
                Err(self.differs("build", difference))
            }
        }
    }

    fn differs(&self, what: &'static str, difference: String) -> BaselineError {
        BaselineError::Differs {
            path: self.path.clone(),
            what,
            difference,
        }
    }

    /// The row of a cell with these environment variables.
    fn row(&self, cell: Cell, env: &BTreeMap<String, String>) -> Option<&Row> {
        let mut rows = self.document.cells.iter();
        rows.find(|row| row.is(cell) && row.env == *env)
    }

    /// The pace of the cells of an engine and a strategy, whatever their cables and workloads:
    /// the median of what passed.
    pub(crate) fn pace(&self, cell: Cell) -> Option<Pace> {
        let rows =
            self.document.cells.iter().filter(|row| {
                row.engine == cell.engine.name() && row.strategy == cell.strategy.name()
            });
        let rows: Vec<_> = rows.collect();
        let median = |seconds: Vec<f64>| Some(Summary::of(seconds)?.median);
        let prefill = |row: &&Row| {
            let tokens = row.workload.prompt_tokens as f64;
            Some(row.ttft_ms.as_ref()?.median / 1e3 / tokens)
        };
        let decode = |row: &&Row| Some(1.0 / row.generation_tps.as_ref()?.median);
        Some(Pace {
            prefill: median(rows.iter().filter_map(prefill).collect())?,
            decode: median(rows.iter().filter_map(decode).collect())?,
        })
    }

    /// Whether it is about this model, wherever its folder was.
    pub fn is_of_model(&self, model: &Model) -> bool {
        is_same_model(&self.document.model, &as_reported(model))
    }

    /// The report beside this one: every cell that both have and that is sound in both.
    pub fn compare(&self, report: &Report, fail_over: Option<Percent>) -> Comparison {
        let cells = report.cells.iter().filter_map(|cell| {
            let row = self.row(cell.cell(), &cell.env)?;
            (cell.verdict.is_sound() && row.is_sound())
                .then(|| CellChange::new(report.name(cell), row, cell))
        });
        Comparison {
            file: self.path.display().to_string(),
            fail_over,
            cells: cells.collect(),
        }
    }
}

impl Row {
    fn is_sound(&self) -> bool {
        [Verdict::Pass, Verdict::Drift]
            .map(|it| it.to_string())
            .contains(&self.verdict)
    }

    fn is(&self, cell: Cell) -> bool {
        let Cell {
            engine,
            workload,
            strategy,
            backend,
            cables,
        } = cell;
        self.engine == engine.name()
            && self.workload == workload
            && self.strategy == strategy.name()
            && self.backend == backend.map_or(NO_BACKEND, Backend::name)
            && self.cables == cables
    }
}

/// A part of a hundred, as in `5%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Percent(f64);

/// Why a text is no percentage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a percentage from 0 to 1000, as 5% or 2.5%")]
pub struct PercentError;

impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Self, PercentError> {
        let text = text.trim();
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        match number.parse() {
            Ok(percent) if (0.0..=1000.0).contains(&percent) => Ok(Self(percent)),
            _ => Err(PercentError),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// Two reports beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The earlier report.
    pub file: String,
    /// How much slower a cell may be, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_over: Option<Percent>,
    /// The cells that both have.
    pub cells: Vec<CellChange>,
}

impl Comparison {
    /// The cells that are slower than permitted.
    pub fn slower(&self) -> impl Iterator<Item = &CellChange> {
        let limit = self.fail_over;
        self.cells
            .iter()
            .filter(move |cell| limit.is_some_and(|limit| cell.is_slower_by(limit)))
    }
}

/// A cell in both reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellChange {
    /// The cell, as `tp ring-3`, with its workload where the report has several.
    pub cell: String,
    /// The time to first token.
    pub ttft: Option<Change>,
    /// The time of a token after the first.
    pub decode: Option<Change>,
}

impl CellChange {
    fn new(name: String, row: &Row, cell: &CellReport) -> Self {
        let between = |then: &Option<Summary>, now: &Option<Summary>| {
            Change::between(&then.as_ref()?.samples, &now.as_ref()?.samples)
        };
        Self {
            cell: name,
            ttft: between(&row.ttft_ms, &cell.ttft_ms),
            // A rate is the inverse of a time.
            decode: between(&cell.generation_tps, &row.generation_tps),
        }
    }

    fn is_slower_by(&self, limit: Percent) -> bool {
        let beyond = |change: &Change| change.low > limit.0;
        [&self.ttft, &self.decode].into_iter().flatten().any(beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_slower_only_beyond_doubt() {
        let change = |low| Change {
            percent: 8.0,
            low,
            high: 12.0,
        };
        let cell = |low| CellChange {
            cell: "tp ring-3".to_owned(),
            ttft: Some(change(low)),
            decode: None,
        };
        let limit = "5%".parse().unwrap();
        assert!(cell(5.5).is_slower_by(limit));
        assert!(!cell(4.5).is_slower_by(limit));
    }

    #[test]
    fn percentages_are_read() {
        assert_eq!("5%".parse(), Ok(Percent(5.0)));
        assert_eq!(" 2.5 % ".parse(), Ok(Percent(2.5)));
        assert_eq!("7".parse(), Ok(Percent(7.0)));
        for text in ["", "%", "-1%", "five", "NaN", "1e9%"] {
            assert_eq!(text.parse::<Percent>(), Err(PercentError), "{text}");
        }
    }
}
