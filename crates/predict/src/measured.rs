//! What is read of a report of the benchmark.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rail_bench::{
    Plan, Workload,
    engine::Engine,
    report::{
        CellReport,
        read::{self, Unread, as_reported, is_same_model},
    },
    sweep,
    verdict::Verdict,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stats::Summary;

/// A report of the benchmark, as far as predictions need it.
#[derive(Debug)]
pub struct Measured {
    path: PathBuf,
    document: Document,
}

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
}

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(default)]
    engine: Engine,
    strategy: String,
    backend: String,
    cables: usize,
    frames: String,
    prompt_tokens: usize,
    generation_tokens: usize,
    #[serde(default)]
    depth: usize,
    verdict: Verdict,
    ttft_ms: Option<Summary>,
    generation_tps: Option<Summary>,
}

/// What a cell took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// To the first token, the median.
    pub ttft: f64,
    /// From a token to the next: one over the median rate.
    pub token: f64,
}

/// Why a report says nothing about a prediction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasuredError {
    /// The file cannot be read.
    #[error("cannot read the report {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is no report of the benchmark.
    #[error("{} is no report of the benchmark", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// The report has a schema that this program does not know.
    #[error("{} has schema {schema}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        schema: String,
    },
    /// The report is about something else.
    #[error("{} is about another {what}", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// The report has no single process that took this prompt.
    #[error(
        "{} has no row of a single process of the engine {engine} with a prompt of {prompt} tokens \
         and two generated tokens or more",
        path.display()
    )]
    NoReference {
        /// The file.
        path: PathBuf,
        /// The engine.
        engine: Engine,
        /// The length of the prompt.
        prompt: usize,
    },
}

impl MeasuredError {
    /// The remedy.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::Malformed { .. } => {
                "give a bench.json that `cargo xtask bench` has written"
            }
            Self::Schema { .. } => "this program reads mlx-rails/bench/1 and /2",
            Self::Differs { .. } => "give the flags that the report was measured with",
            Self::NoReference { .. } => {
                "give the engine and the prompt of the report, or leave out --calibration to \
                 measure now"
            }
        }
    }
}

impl Measured {
    /// Reads a report.
    ///
    /// # Errors
    /// If the file is none.
    pub fn read(path: &Path) -> Result<Self, MeasuredError> {
        let path = path.to_owned();
        match fs::read(&path) {
            Ok(text) => Self::parse(path, &text),
            Err(source) => Err(MeasuredError::Unreadable { path, source }),
        }
    }

    /// Reads the text of a report, which is named `path` in errors.
    ///
    /// # Errors
    /// If the text is none.
    pub fn parse(path: PathBuf, text: &[u8]) -> Result<Self, MeasuredError> {
        match read::parse(text) {
            Ok(document) => Ok(Self { path, document }),
            Err(Unread::Schema(schema)) => Err(MeasuredError::Schema { path, schema }),
            Err(Unread::Malformed(source)) => Err(MeasuredError::Malformed { path, source }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a single process took, of a report about the model of a plan.
    ///
    /// # Errors
    /// The report is about another model, or has no such row.
    pub fn reference(&self, plan: &Plan, engine: Engine) -> Result<Times, MeasuredError> {
        self.check_model(plan)?;
        let Workload {
            prompt_tokens: prompt,
            depth,
            ..
        } = plan.workloads[0];
        let is_reference = |row: &&Row| {
            row.strategy == "single"
                && row.engine == engine
                && (row.prompt_tokens, row.depth) == (prompt, depth)
        };
        let mut rows = self.document.cells.iter().filter(is_reference);
        let times = rows.find_map(Row::times);
        times.ok_or_else(|| MeasuredError::NoReference {
            path: self.path.clone(),
            engine,
            prompt,
        })
    }

    /// Checks that the report is about the rig, the model and the build of a plan.
    ///
    /// # Errors
    /// Names the first difference.
    pub fn check(&self, plan: &Plan, mlx: &str, series: &str) -> Result<(), MeasuredError> {
        let Document { build, rig, .. } = &self.document;
        self.check_model(plan)?;
        match () {
            () if *rig != as_reported(&plan.rig) => Err(self.differs("rig")),
            () if (&*build.mlx, &*build.series) != (mlx, series) => Err(self.differs("build")),
            () => Ok(()),
        }
    }

    fn check_model(&self, plan: &Plan) -> Result<(), MeasuredError> {
        match is_same_model(&self.document.model, &as_reported(&plan.settings.model)) {
            true => Ok(()),
            false => Err(self.differs("model")),
        }
    }

    fn differs(&self, what: &'static str) -> MeasuredError {
        MeasuredError::Differs {
            path: self.path.clone(),
            what,
        }
    }

    /// What a cell took. `None` if the report has no such cell that passed.
    pub fn cell(&self, cell: sweep::Cell) -> Option<Times> {
        let workload = cell.workload;
        let is_it = |row: &&Row| {
            row.engine == cell.engine
                && row.strategy == cell.strategy.name()
                && cell.backend.is_some_and(|it| it.name() == row.backend)
                && row.cables == cell.cables
                && row.frames == workload.frames.name()
                && (row.prompt_tokens, row.depth) == (workload.prompt_tokens, workload.depth)
                && row.generation_tokens == workload.generation_tokens
        };
        self.document.cells.iter().find(is_it)?.times()
    }
}

impl Row {
    fn times(&self) -> Option<Times> {
        Times::sound(self.verdict, &self.ttft_ms, &self.generation_tps)
    }
}

impl Times {
    /// What a cell took. `None` if it did not pass, or generated one token.
    pub fn of(cell: &CellReport) -> Option<Self> {
        Self::sound(cell.verdict, &cell.ttft_ms, &cell.generation_tps)
    }

    fn sound(verdict: Verdict, ttft_ms: &Option<Summary>, rate: &Option<Summary>) -> Option<Self> {
        let times = ttft_ms.as_ref().zip(rate.as_ref());
        let (ttft, rate) = times.filter(|_| verdict.is_sound())?;
        Some(Self {
            ttft: ttft.median / 1e3,
            token: 1.0 / rate.median,
        })
    }
}

#[cfg(test)]
mod tests {
    use models::{
        Family,
        tiny::{self, Weights},
    };
    use rail_bench::{
        Options,
        model::{Folder, Model},
        protocol::Strategy,
    };
    use rail_matrix::Backend;
    use serde_json::json;

    use super::*;

    fn plan() -> Plan {
        Plan::new(Options::default()).expect("the embedded rig permits it")
    }

    fn report() -> Value {
        let plan = plan();
        // As the benchmark writes it.
        let text = |value: &dyn Fn() -> serde_json::Result<String>| {
            let text = value().expect("plain data");
            serde_json::from_str::<Value>(&text).expect("JSON")
        };
        let rig = text(&|| serde_json::to_string(&plan.rig));
        let model = text(&|| serde_json::to_string_pretty(&plan.settings.model));
        let figure = |median: f64| {
            json!({"median": median, "mean": 0.0, "stddev": null, "min": 0.0, "max": 0.0,
                   "samples": []})
        };
        let row = |strategy: &str, backend: &str, verdict: &str, ttft: f64| {
            json!({"engine": "rust", "strategy": strategy, "backend": backend, "cables": 1,
                   "frames": "small", "prompt_tokens": 256, "generation_tokens": 32,
                   "verdict": verdict, "ttft_ms": figure(ttft), "generation_tps": figure(200.0)})
        };
        json!({
            "schema": "mlx-rails/bench/2",
            "build": {"mlx": "0.31.2", "series": "patched"},
            "rig": rig, "model": model,
            "cells": [
                row("single", "none", "pass", 80.0),
                row("tp", "mesh", "pass", 400.0),
                row("tp", "ring", "hang", 400.0),
            ],
        })
    }

    fn parse(report: &Value) -> Result<Measured, MeasuredError> {
        Measured::parse("bench.json".into(), report.to_string().as_bytes())
    }

    fn cell(strategy: Strategy, backend: Backend) -> sweep::Cell {
        sweep::Cell {
            engine: Engine::Rust,
            workload: Workload::DEFAULT,
            strategy,
            backend: Some(backend),
            cables: 1,
        }
    }

    #[test]
    fn rows_that_passed_are_found_by_their_cell() {
        let (plan, measured) = (plan(), parse(&report()).expect("a report"));
        let alone = measured.reference(&plan, Engine::Rust).expect("a row");
        assert_eq!((alone.ttft, alone.token), (0.08, 0.005));
        measured
            .check(&plan, "0.31.2", "patched")
            .expect("the same");
        let tp = |backend| measured.cell(cell(Strategy::Tp, backend));
        assert_eq!(tp(Backend::Mesh).map(|it| it.ttft), Some(0.4));
        assert_eq!(tp(Backend::Ring), None, "it hung");
        assert_eq!(measured.cell(cell(Strategy::Pp, Backend::Mesh)), None);
    }

    #[test]
    fn another_report_is_refused_by_name() {
        let plan = plan();
        let says = |error: MeasuredError| format!("{error}; {}", error.help());
        let measured = parse(&report()).expect("a report");
        let error = measured.check(&plan, "0.31.2", "tuned").unwrap_err();
        assert!(says(error).contains("another build"));
        let error = measured.reference(&plan, Engine::MlxLm).unwrap_err();
        assert!(says(error).contains("engine mlx-lm with a prompt of 256"));
        let mut other = report();
        other["model"]["hidden"] = json!(4096);
        let error = parse(&other)
            .expect("a report")
            .reference(&plan, Engine::Rust);
        assert!(says(error.unwrap_err()).contains("another model"));
        other["schema"] = json!("mlx-rails/bench/9");
        assert!(says(parse(&other).unwrap_err()).contains("bench/9"));
        let error = Measured::parse("x".into(), b"{").unwrap_err();
        assert!(says(error).contains("x is no report"));
    }

    /// Each node has the folder at a place of its own.
    #[test]
    fn a_model_is_the_same_wherever_its_folder_is() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = |place: &str, seed| {
            let path = root.path().join(place).join("tiny");
            fs::create_dir_all(&path).expect("a folder");
            tiny::write(Family::Llama, Weights::Quantised, seed, &path).expect("a model");
            Model::Folder(Folder::open(None, &path).expect("a model"))
        };
        let mut there = report();
        there["model"] = as_reported(&folder("there", 1));
        let there = parse(&there).expect("a report");
        let mut plan = plan();
        plan.settings.model = folder("here", 1);
        (there.reference(&plan, Engine::Rust)).expect("the same model");
        plan.settings.model = folder("here", 2);
        let error = there.reference(&plan, Engine::Rust).unwrap_err();
        assert!(error.to_string().contains("another model"), "{error}");
    }
}
