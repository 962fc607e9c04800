//! The results of a run, for people and for programs.

mod csv;
mod files;
mod markdown;

use nodes::NodeFacts;
use rail_matrix::{Backend, Frames, Given};
use rig::Rig;
use serde::{Serialize, Serializer};
use softrail::counters::Counters;
use stats::{Percentiles, Summary};

pub use files::check_folder;

use crate::{
    baseline::Comparison,
    engine::Engine,
    launch::Transcript,
    meter::{CableBytes, Carried},
    model::Model,
    plan::Settings,
    protocol::Strategy,
    sweep::{Cell, PlannedCell},
    verdict::{Judgement, Verdict, least_margin_of},
};

/// The name and version of the JSON.
pub const SCHEMA: &str = "mlx-rails/bench/2";

/// The results of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The MLX that ran.
    pub build: BuildInfo,
    /// The facts of the machines that the nodes are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeFacts>,
    /// The rig.
    pub rig: Rig,
    /// The matrix of every cell, if it was given rather than planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<Given>,
    /// The model.
    pub model: Model,
    /// Of each engine the reference, then every cell of the plan.
    pub cells: Vec<CellReport>,
    /// An earlier report beside this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Comparison>,
    /// Known problems of the rig that affect the results, such as a slow rail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether the caller stopped the run before its last cell.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Any other reason why the run stopped before its last cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The MLX build that a report is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildInfo {
    /// The pin, such as `0.31.2`.
    pub mlx: String,
    /// `stock`, `patched` or `tuned`.
    pub series: String,
    /// Git tree id of the source as pinned.
    pub tree: String,
    /// Git tree id of the source as built.
    pub patched_tree: String,
    /// The build's key in the store. Every rank reports the key of the build that it has
    /// loaded, which must be this one.
    pub key: String,
    /// The inputs of the build, as in its `manifest.json`; null if there is none.
    pub manifest: serde_json::Value,
}

/// The result of one cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellReport {
    /// The parallel strategy.
    pub strategy: Strategy,
    /// The connection of the ranks; `none` for the reference.
    #[serde(serialize_with = "backend_or_none")]
    pub backend: Option<Backend>,
    /// Rails between each two ranks that the backend joins.
    pub cables: usize,
    /// The node of each rank. Empty for the reference, which uses no cable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// jaccl's largest message.
    pub frames: Frames,
    /// Length of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated in a run.
    pub generation_tokens: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the cell ended, nothing is wrong with it, and every token of every run on every
    /// rank equals the reference's.
    pub tokens_match: bool,
    /// Milliseconds to the first token. None if a run is missing, like the other figures.
    pub ttft_ms: Option<Summary>,
    /// Prompt tokens over the time to the first token, a second.
    pub prompt_tps: Option<Summary>,
    /// Tokens after the first over the time they took, a second. None if only one token
    /// was requested.
    pub generation_tps: Option<Summary>,
    /// Milliseconds between tokens, over all measured runs.
    pub itl_ms: Option<Percentiles>,
    /// The smallest margin of any token on any rank, as in
    /// [`Event::Run`](crate::protocol::Event::Run), for a cell that ended. None if it is
    /// NaN.
    pub min_margin: Option<f32>,
    /// Bytes that each cable carried in the prefill of the measured runs, in both
    /// directions. Empty if there is no cable to count or no measured run.
    pub cable_bytes: CableBytes,
    /// The same for decode. Its messages are small and need not use every cable.
    pub decode_cable_bytes: CableBytes,
    /// The counters of each direction of each cable from its connection to the end of the
    /// ranks, warm-up included. Empty if there is no cable to count.
    pub directions: Vec<Counters>,
    /// The reason, if the verdict is not pass.
    pub detail: Option<String>,
    /// The program that ran the model.
    pub engine: Engine,
    /// Milliseconds that each rank took to load its share of the model. Empty where a rank
    /// did not report it, like the next two.
    pub load_ms: Vec<f64>,
    /// The most bytes that MLX's arrays took on each rank.
    pub peak_bytes: Vec<u64>,
    /// Bytes of the weights on each rank.
    pub weight_bytes: Vec<u64>,
    /// The text of the tokens of the first measured run, if the prompt was a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl CellReport {
    /// A judged cell without measurements yet.
    pub(crate) fn new(cell: Cell, settings: &Settings, judgement: Judgement) -> Self {
        let Judgement {
            verdict,
            detail,
            tokens_match,
        } = judgement;
        Self {
            strategy: cell.strategy,
            backend: cell.backend,
            cables: cell.cables,
            nodes: Vec::new(),
            frames: settings.frames,
            prompt_tokens: settings.prompt_tokens,
            generation_tokens: settings.generation_tokens,
            verdict,
            tokens_match,
            ttft_ms: None,
            prompt_tps: None,
            generation_tps: None,
            itl_ms: None,
            min_margin: None,
            cable_bytes: CableBytes::new(),
            decode_cable_bytes: CableBytes::new(),
            directions: Vec::new(),
            detail,
            engine: cell.engine,
            load_ms: Vec::new(),
            peak_bytes: Vec::new(),
            weight_bytes: Vec::new(),
            text: None,
        }
    }

    /// A judged cell of a plan without measurements yet.
    pub(crate) fn of(planned: &PlannedCell, settings: &Settings, judgement: Judgement) -> Self {
        Self {
            nodes: planned.joining.nodes.clone(),
            ..Self::new(planned.cell, settings, judgement)
        }
    }

    pub(crate) fn set_carried(&mut self, carried: Carried) {
        self.cable_bytes = carried.prefill;
        self.decode_cable_bytes = carried.decode;
    }

    /// Takes the times from the measured runs of rank 0, and the margin from all runs of
    /// all ranks. The runs must be complete.
    pub(crate) fn set_measured(&mut self, ranks: &[Transcript], settings: &Settings) {
        let runs = ranks.iter().flat_map(|rank| &rank.runs);
        self.min_margin = least_margin_of(runs).filter(|margin| !margin.is_nan());

        let usage: Option<Vec<_>> = ranks.iter().map(|rank| rank.usage).collect();
        let usage = usage.unwrap_or_default();
        self.load_ms = usage.iter().map(|it| millis(it.load_ns)).collect();
        self.peak_bytes = usage.iter().map(|it| it.peak_bytes).collect();
        self.weight_bytes = usage.iter().map(|it| it.weight_bytes).collect();

        let mut ttft = Vec::new();
        let mut prompt = Vec::new();
        let mut generation = Vec::new();
        let mut intervals = Vec::new();
        for run in ranks[0].runs.iter().filter(|run| !run.warmup) {
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

        let measured = ranks[0].runs.iter().find(|run| !run.warmup);
        self.text = settings.text.as_ref().zip(measured).map(|(text, run)| {
            let ids: Vec<u32> = run.tokens.iter().map(|token| token.id).collect();
            // An id without a token is a wrong token, of which the verdict is.
            text.tokenizer.decode(&ids).unwrap_or_default()
        });
    }

    /// The cell of this result.
    pub fn cell(&self) -> Cell {
        Cell {
            engine: self.engine,
            strategy: self.strategy,
            backend: self.backend,
            cables: self.cables,
        }
    }
}

impl Report {
    /// Whether every cell passed.
    pub fn all_pass(&self) -> bool {
        self.cells.iter().all(|cell| cell.verdict == Verdict::Pass)
    }

    /// Whether some cell was measured and did not pass.
    pub fn any_failed(&self) -> bool {
        let failed = |cell: &CellReport| !matches!(cell.verdict, Verdict::Pass | Verdict::NotRun);
        self.cells.iter().any(failed)
    }

    /// The number of cells that were measured, the reference included.
    pub fn measured(&self) -> usize {
        let measured = |cell: &&CellReport| cell.verdict != Verdict::NotRun;
        self.cells.iter().filter(measured).count()
    }

    /// A Markdown table with notes, for people.
    pub fn markdown(&self) -> String {
        markdown::render(self)
    }

    /// A row for each cell, medians only.
    pub fn csv(&self) -> String {
        csv::render(self)
    }

    /// Everything, samples included.
    pub fn json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a report is plain data");
        json.push('\n');
        json
    }

    /// The gain of a cell over its baseline in a figure where more is better. None for
    /// the reference, if either did not pass, and if a figure is missing.
    fn gain(&self, cell: &CellReport, figure: impl Fn(&CellReport) -> Option<f64>) -> Option<f64> {
        cell.backend?;
        let baseline = cell.cell().baseline();
        let base = self.cells.iter().find(|other| other.cell() == baseline)?;
        let passed = |cell: &CellReport| cell.verdict == Verdict::Pass;
        (passed(cell) && passed(base)).then(|| Some(figure(cell)? / figure(base)?))?
    }
}

/// The name in place of a backend for the reference in JSON and CSV.
pub(crate) const NO_BACKEND: &str = "none";

fn backend_or_none<S: Serializer>(
    backend: &Option<Backend>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(backend.map_or(NO_BACKEND, Backend::name))
}

fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
