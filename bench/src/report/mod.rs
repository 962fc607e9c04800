//! What a run found, for people and for programs.

mod csv;
mod files;
mod markdown;

use rail_matrix::Rig;
use serde::Serialize;
use softrail::counters::Counters;

pub(crate) use files::check_output;

use crate::{
    launch::Transcript,
    meter::{CableBytes, Carried},
    model::Preset,
    plan::Settings,
    protocol::Strategy,
    stats::{Percentiles, Summary},
    sweep::{Backend, Cell, Frames},
    verdict::{Judgement, Verdict},
};

/// The name and version of the JSON.
pub const SCHEMA: &str = "mlx-rails/bench/1";

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// A Markdown table with notes.
    #[default]
    Md,
    /// Everything, samples included.
    Json,
    /// A row a cell, medians only.
    Csv,
}

/// What a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The MLX that ran.
    pub build: BuildInfo,
    /// Over which cables.
    pub rig: Rig,
    /// The model that decoded.
    pub model: Preset,
    /// The reference, then the cells.
    pub cells: Vec<CellReport>,
    /// What is amiss with the rig and stands in its way, such as a slow rail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The MLX build that a report is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildInfo {
    /// The pin, such as `0.31.2`.
    pub mlx: String,
    /// `stock` or `patched`.
    pub series: String,
    /// Git tree id of the source as pinned.
    pub tree: String,
    /// Git tree id of the source as built.
    pub patched_tree: String,
    /// The build's key in the store.
    pub key: String,
}

/// What one cell did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellReport {
    /// How the model was spread.
    pub strategy: Strategy,
    /// How the ranks were connected.
    pub backend: Backend,
    /// Cables of each joined pair of nodes.
    pub cables: usize,
    /// jaccl's largest message.
    pub frames: Frames,
    /// Length of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated in a run.
    pub generation_tokens: usize,
    /// What became of it.
    pub verdict: Verdict,
    /// Whether it ended with every token of every run on every rank equal to
    /// the reference's.
    pub tokens_match: bool,
    /// Milliseconds to the first token. None where a run is missing, like the
    /// other figures.
    pub ttft_ms: Option<Summary>,
    /// Prompt tokens over the time to the first token, a second.
    pub prompt_tps: Option<Summary>,
    /// Tokens after the first over the time they took, a second. None where
    /// only one token was asked for.
    pub generation_tps: Option<Summary>,
    /// Milliseconds between tokens, over all measured runs.
    pub itl_ms: Option<Percentiles>,
    /// Bytes that each cable carried in the prefill of the measured runs, both
    /// directions. Empty where there is no cable to count or no measured run.
    pub cable_bytes: CableBytes,
    /// The same of decode. Its messages are small and need not use every cable.
    pub decode_cable_bytes: CableBytes,
    /// What each direction of each cable did from when it was plugged in to when the
    /// ranks had ended, warm-up included. Empty where there is no cable to count.
    pub directions: Vec<Counters>,
    /// Why, when the verdict is not pass.
    pub detail: Option<String>,
}

impl CellReport {
    /// A judged cell, with nothing measured of it yet.
    pub(crate) fn new(cell: Cell, settings: &Settings, judgement: Judgement) -> Self {
        let Judgement { verdict, detail } = judgement;
        Self {
            strategy: cell.strategy,
            backend: cell.backend,
            cables: cell.cables,
            frames: settings.frames,
            prompt_tokens: settings.prompt_tokens,
            generation_tokens: settings.generation_tokens,
            verdict,
            tokens_match: verdict == Verdict::Pass,
            ttft_ms: None,
            prompt_tps: None,
            generation_tps: None,
            itl_ms: None,
            cable_bytes: CableBytes::new(),
            decode_cable_bytes: CableBytes::new(),
            directions: Vec::new(),
            detail,
        }
    }

    pub(crate) fn set_carried(&mut self, carried: Carried) {
        self.cable_bytes = carried.prefill;
        self.decode_cable_bytes = carried.decode;
    }

    /// Takes the times from a rank's measured runs, which must be whole.
    pub(crate) fn set_times(&mut self, rank: &Transcript) {
        let mut ttft = Vec::new();
        let mut prompt = Vec::new();
        let mut generation = Vec::new();
        let mut intervals = Vec::new();
        for run in rank.runs.iter().filter(|run| !run.warmup) {
            let (Some(first), Some(last)) = (run.tokens.first(), run.tokens.last()) else {
                continue;
            };
            ttft.push(millis(first.ns));
            prompt.push(self.prompt_tokens as f64 / seconds(first.ns));
            if run.tokens.len() > 1 {
                let after_first = (run.tokens.len() - 1) as f64;
                generation.push(after_first / seconds(last.ns - first.ns));
            }
            intervals.extend(
                run.tokens
                    .windows(2)
                    .map(|pair| millis(pair[1].ns - pair[0].ns)),
            );
        }
        self.ttft_ms = Summary::of(ttft);
        self.prompt_tps = Summary::of(prompt);
        self.generation_tps = Summary::of(generation);
        self.itl_ms = Percentiles::of(&intervals);
    }

    /// The cell it is about.
    pub fn cell(&self) -> Cell {
        Cell {
            strategy: self.strategy,
            backend: self.backend,
            cables: self.cables,
        }
    }
}

impl Report {
    /// Whether every cell passed: what the command's exit status tells.
    pub fn all_pass(&self) -> bool {
        self.cells.iter().all(|cell| cell.verdict == Verdict::Pass)
    }

    /// The report in a format, with a line break at its end.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Md => markdown::render(self),
            Format::Csv => csv::render(self),
            Format::Json => {
                let mut json = serde_json::to_string_pretty(self).expect("a report is plain data");
                json.push('\n');
                json
            }
        }
    }

    /// What a cell gains over its baseline by a figure where more is better.
    /// None for the reference, where either did not pass, and where a figure is
    /// missing.
    fn gain(&self, cell: &CellReport, figure: impl Fn(&CellReport) -> Option<f64>) -> Option<f64> {
        if cell.backend == Backend::None {
            return None;
        }
        let baseline = cell.cell().baseline();
        let base = self.cells.iter().find(|other| other.cell() == baseline)?;
        let passed = |cell: &CellReport| cell.verdict == Verdict::Pass;
        (passed(cell) && passed(base)).then(|| Some(figure(cell)? / figure(base)?))?
    }
}

fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
