//! The results of a run, for people and for programs.

mod bandwidth;
mod csv;
mod detail;
mod exo;
mod explained;
mod files;
mod llama;
mod markdown;
pub mod read;
mod split;
mod times;

use std::collections::{BTreeMap, BTreeSet};

use nodes::NodeFacts;
use rail_matrix::{Backend, Given};
use rig::Rig;
use serde::{Deserialize, Serialize, Serializer};
use softrail::counters::Counters;
use stats::{Percentiles, Summary};

pub use bandwidth::BusBandwidth;
pub use explained::{Explained, Explanation};
pub use files::check_folder;
pub(crate) use files::temporary;
pub use split::{Cost, Parts, TimeSplit};
pub use times::RankTimes;

use crate::{
    baseline::Comparison,
    checks::Check,
    engine::Engine,
    launch::Transcript,
    meter::{CableBytes, Carried},
    model::Model,
    plan::Settings,
    protocol::Strategy,
    reference::{Reference, least_margin_of},
    sweep::{Cell, PlannedCell},
    verdict::{Judgement, Verdict},
    workload::Workload,
};
use times::Samples;

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
    /// How often and in which order the cells ran.
    pub runs: Runs,
    /// Of each engine and workload the reference, then its cells of the plan.
    pub cells: Vec<CellReport>,
    /// The checks that the caller demanded. Empty for sensible ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub demanded: Vec<Check>,
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

/// How often and in which order the cells of a report ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    /// Seeds the weights of a preset, and the prompt.
    pub seed: u64,
    /// The number of runs before the measured ones of a launch.
    pub warmup: usize,
    /// The number of measured runs of a cell.
    pub repeat: usize,
    /// The number of launches that they are spread over, one in each round.
    pub rounds: usize,
    /// The seed of the order of cells in a round; null if it was the report's.
    pub shuffle: Option<u64>,
    /// Seconds between two launches.
    pub delay: f64,
    /// The runs of each pass that shows where the time goes.
    #[serde(default)]
    pub split: usize,
}

impl Runs {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            seed: settings.seed,
            warmup: settings.warmup,
            repeat: settings.repeat,
            rounds: settings.rounds(),
            shuffle: settings.shuffle,
            delay: settings.delay.as_secs_f64(),
            split: settings.split,
        }
    }
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
    /// What it computes.
    #[serde(flatten)]
    pub workload: Workload,
    /// [`Workload::test`].
    pub test: String,
    /// Environment variables that every rank was given by the caller.
    pub env: BTreeMap<String, String>,
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
    /// Milliseconds a token after the first. None if only one token was requested.
    pub tpot_ms: Option<Summary>,
    /// Milliseconds to the last token.
    pub e2e_ms: Option<Summary>,
    /// The times of each rank. The figures above are the first one's.
    pub ranks: Vec<RankTimes>,
    /// Milliseconds between the first rank and the last one to have a token, over all tokens
    /// of the measured runs. None with one rank.
    pub skew_ms: Option<Percentiles>,
    /// What the cables carried, beside what they can carry. None if there is no cable to
    /// count.
    pub busbw: Option<BusBandwidth>,
    /// Where the time went, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_split: Option<TimeSplit>,
    /// What it should take, if it passed and this is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained: Option<Explained>,
    /// The text of the tokens of the first measured run, if the prompt was a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The checks that the cell was put to. Empty if it did not end.
    pub checks: Vec<Check>,
    /// What it was compared with; none for a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The farthest that a logit is from the reference's, if both were given the same tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub movement: Option<f32>,
    /// What a reference has to be compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Reference>,
}

impl CellReport {
    /// A judged cell without measurements yet.
    pub(crate) fn new(cell: Cell, settings: &Settings, judgement: Judgement) -> Self {
        let Judgement {
            verdict,
            detail,
            tokens_match,
            checks,
            movement,
            reference,
            evidence,
        } = judgement;
        Self {
            strategy: cell.strategy,
            backend: cell.backend,
            cables: cell.cables,
            nodes: Vec::new(),
            workload: cell.workload,
            test: cell.workload.test(),
            env: settings.env.clone(),
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
            tpot_ms: None,
            e2e_ms: None,
            ranks: Vec::new(),
            skew_ms: None,
            busbw: None,
            time_split: None,
            explained: None,
            text: None,
            checks,
            reference,
            movement,
            evidence,
        }
    }

    /// A judged cell of a plan without measurements yet.
    pub(crate) fn of(planned: &PlannedCell, settings: &Settings, judgement: Judgement) -> Self {
        Self {
            nodes: planned.joining.nodes.clone(),
            ..Self::new(planned.cell, settings, judgement)
        }
    }

    pub(crate) fn add_carried(&mut self, carried: &Carried) {
        add(&mut self.cable_bytes, &carried.prefill);
        add(&mut self.decode_cable_bytes, &carried.decode);
    }

    /// Takes the times from the measured runs, and the margin from all runs of all ranks.
    /// The runs must be complete.
    pub(crate) fn set_measured(&mut self, ranks: &[Transcript], settings: &Settings) {
        let runs = ranks.iter().flat_map(|rank| &rank.runs);
        self.min_margin = least_margin_of(runs).filter(|margin| !margin.is_nan());

        let usage: Option<Vec<_>> = ranks.iter().map(|rank| rank.usage).collect();
        let usage = usage.unwrap_or_default();
        self.load_ms = usage.iter().map(|it| millis(it.load_ns)).collect();
        self.peak_bytes = usage.iter().map(|it| it.peak_bytes).collect();
        self.weight_bytes = usage.iter().map(|it| it.weight_bytes).collect();

        let samples = |rank| Samples::of(rank, self.workload.prompt_tokens);
        let first = samples(&ranks[0]);
        self.itl_ms = Percentiles::of(&first.intervals_ms);
        self.prompt_tps = Summary::of(first.prompt_tps);
        self.generation_tps = Summary::of(first.generation_tps);
        self.ranks = ranks.iter().map(|rank| samples(rank).into()).collect();
        let RankTimes {
            ttft_ms,
            tpot_ms,
            e2e_ms,
        } = self.ranks[0].clone();
        (self.ttft_ms, self.tpot_ms, self.e2e_ms) = (ttft_ms, tpot_ms, e2e_ms);
        self.skew_ms = times::skew(ranks);
        let passes = (settings.split, self.workload.generation_tokens);
        self.time_split = TimeSplit::of(ranks, &self.ranks, passes);

        let measured = ranks[0].runs.iter().find(|run| !run.warmup);
        self.text = settings.text.as_ref().zip(measured).map(|(text, run)| {
            let ids: Vec<u32> = run.tokens.iter().map(|token| token.id).collect();
            // An id without a token is a wrong token, of which the verdict is.
            text.tokenizer.decode(&ids).unwrap_or_default()
        });
    }

    /// Takes the bandwidth from the times and the bytes, by what the cables of a rig carry.
    pub(crate) fn set_bandwidth(&mut self, rig: &Rig) {
        self.busbw = BusBandwidth::of(self, rig);
    }

    /// The cell of this result.
    pub fn cell(&self) -> Cell {
        Cell {
            engine: self.engine,
            workload: self.workload,
            strategy: self.strategy,
            backend: self.backend,
            cables: self.cables,
        }
    }
}

impl Report {
    /// Whether every cell passed, and none drifted.
    pub fn all_pass(&self) -> bool {
        self.cells.iter().all(|cell| cell.verdict == Verdict::Pass)
    }

    /// Whether some cell was measured and a check does not hold. A cell that drifts holds them,
    /// unless the caller demanded [`Check::Exact`].
    pub fn any_failed(&self) -> bool {
        let failed = |cell: &CellReport| match cell.verdict {
            Verdict::Pass | Verdict::NotRun => false,
            Verdict::Drift => self.demanded.contains(&Check::Exact),
            Verdict::Hang | Verdict::Wrong | Verdict::Crash | Verdict::Error => true,
        };
        self.cells.iter().any(failed)
    }

    /// How many cells have each verdict, as `6 of 7 cells pass, 1 drifts`.
    pub fn tally(&self) -> String {
        let count = |verdict| {
            let cells = self.cells.iter();
            cells.filter(|cell| cell.verdict == verdict).count()
        };
        let all = self.cells.len();
        let mut tally = format!("{} of {all} cells pass", count(Verdict::Pass));
        for (verdict, one, several) in [
            (Verdict::Drift, "drifts", "drift"),
            (Verdict::Wrong, "is wrong", "are wrong"),
            (Verdict::Hang, "hangs", "hang"),
            (Verdict::Crash, "crashed", "crashed"),
            (Verdict::Error, "has an error", "have an error"),
            (Verdict::NotRun, "was not run", "were not run"),
        ] {
            match count(verdict) {
                0 => {}
                1 => tally += &format!(", 1 {one}"),
                many => tally += &format!(", {many} {several}"),
            }
        }
        tally
    }

    /// The number of cells that were measured, the reference included.
    pub fn measured(&self) -> usize {
        let measured = |cell: &&CellReport| cell.verdict != Verdict::NotRun;
        self.cells.iter().filter(measured).count()
    }

    /// What its cells compute, each once.
    pub fn workloads(&self) -> BTreeSet<Workload> {
        self.cells.iter().map(|cell| cell.workload).collect()
    }

    /// The name of a cell, as `tp ring-3`, with its workload where there are several.
    pub fn name(&self, cell: &CellReport) -> String {
        cell.cell().name_among(self.workloads().len())
    }

    /// A Markdown table with notes, for people.
    pub fn markdown(&self) -> String {
        markdown::render(self)
    }

    /// A row for each cell, medians only.
    pub fn csv(&self) -> String {
        csv::render(self)
    }

    /// The measured runs of the cells that passed as exo's benchmark writes its own, in
    /// JSON.
    pub fn exo(&self) -> String {
        exo::render(self)
    }

    /// The cells that passed as tests of llama-bench, a JSON object a line.
    pub fn llama(&self) -> String {
        llama::lines(self)
    }

    /// The same as its table.
    pub fn llama_markdown(&self) -> String {
        llama::table(self)
    }

    /// Everything, samples included.
    pub fn json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a report is plain data");
        json.push('\n');
        json
    }

    /// The gain of a cell over its baseline in a figure where more is better. None for
    /// the reference, if either is not sound, and if a figure is missing.
    fn gain(&self, cell: &CellReport, figure: impl Fn(&CellReport) -> Option<f64>) -> Option<f64> {
        cell.backend?;
        let baseline = cell.cell().baseline();
        let base = self.cells.iter().find(|other| other.cell() == baseline)?;
        (cell.verdict.is_sound() && base.verdict.is_sound())
            .then(|| Some(figure(cell)? / figure(base)?))?
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

fn add(sum: &mut CableBytes, more: &CableBytes) {
    for (cable, bytes) in more {
        *sum.entry(cable.clone()).or_default() += bytes;
    }
}

fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
