//! Where the time went, by the passes of [`Pass`].

use serde::Serialize;
use stats::Summary;

use super::{millis, times::RankTimes};
use crate::{
    launch::{Lap, Transcript},
    protocol::{Pass, Spent},
};

/// Where the time of a cell went. The measured runs are not part of it: it comes from runs
/// of their own, which take another time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeSplit {
    /// The runs of each pass.
    pub runs: usize,
    /// What a run of each pass takes.
    pub cost: Cost,
    /// Milliseconds of each rank up to its first token.
    pub prefill_ms: Vec<Parts>,
    /// Milliseconds of each rank for a token after the first. Empty if only one token was
    /// requested.
    pub decode_ms: Vec<Parts>,
}

/// How long a run of a pass takes on rank 0, up to its last token, as a part of a measured
/// run. Medians.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Of [`Pass::Without`].
    pub without: f64,
    /// Of [`Pass::Apart`]. None for one rank, which has no messages.
    pub apart: Option<f64>,
}

/// The parts of a time in milliseconds. Each is the median of the runs of its pass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Parts {
    /// The rank waits for MLX to evaluate, in [`Pass::Without`]: the computing that the rank
    /// does itself.
    pub compute: f64,
    /// What a measured run takes beyond the other parts: what it costs that messages and
    /// computing take turns. 0 if there is nothing beyond them.
    pub fence: f64,
    /// The rank waits for messages whose input is computed and whose peers are ready, in
    /// [`Pass::Apart`]: cables and jaccl.
    pub cable: f64,
    /// The rank waits for peers that are not ready, in [`Pass::Apart`].
    pub wait: f64,
    /// The rank does not wait for MLX, in [`Pass::Without`]: it builds graphs, chooses
    /// tokens and reports.
    pub host: f64,
}

impl Parts {
    /// The names of the parts, in their order.
    pub const NAMES: [&'static str; 5] = ["compute", "fence", "cable", "wait", "host"];

    /// The parts in their order.
    pub fn each(&self) -> [f64; 5] {
        let Self {
            compute,
            fence,
            cable,
            wait,
            host,
        } = *self;
        [compute, fence, cable, wait, host]
    }
}

impl TimeSplit {
    /// The split of a cell, of which each rank's times are given. None unless every rank has
    /// every token of every pass.
    pub(super) fn of(
        ranks: &[Transcript],
        times: &[RankTimes],
        (runs, tokens): (usize, usize),
    ) -> Option<Self> {
        if runs == 0 {
            return None;
        }
        let passes = ranks.iter().map(|rank| Passes::of(rank, runs, tokens));
        let passes: Vec<_> = passes.collect::<Option<_>>()?;
        let of_phase = |phase: fn(&[Spent]) -> Option<Phase>,
                        plain: fn(&RankTimes) -> &Option<Summary>|
         -> Option<Vec<Parts>> {
            let ranks = passes.iter().zip(times);
            ranks
                .map(|(passes, times)| passes.parts(phase, plain(times).as_ref()?.median))
                .collect()
        };
        let whole = times.first()?.e2e_ms.as_ref()?.median;
        let of_whole = |runs: &[Vec<Spent>]| Some(Phase::median(runs, end_to_end)?.ms / whole);
        let first = &passes[0];
        Some(Self {
            runs,
            cost: Cost {
                without: of_whole(&first.without)?,
                apart: first.apart.as_deref().and_then(of_whole),
            },
            prefill_ms: of_phase(prefill, |times| &times.ttft_ms)?,
            decode_ms: of_phase(decode, |times| &times.tpot_ms).unwrap_or_default(),
        })
    }
}

/// What a rank spent on each token of each run.
struct Passes {
    without: Vec<Vec<Spent>>,
    /// None for one rank.
    apart: Option<Vec<Vec<Spent>>>,
}

impl Passes {
    fn of(rank: &Transcript, runs: usize, tokens: usize) -> Option<Self> {
        let run = |pass, run| {
            let laps = rank
                .laps
                .iter()
                .filter(|it| (it.pass, it.run) == (pass, run));
            let laps: Vec<&Lap> = laps.collect();
            let whole = laps.iter().map(|it| it.index).eq(0..tokens);
            whole.then(|| laps.iter().map(|it| it.spent).collect::<Vec<_>>())
        };
        let pass = |pass| -> Option<Vec<_>> { (0..runs).map(|it| run(pass, it)).collect() };
        let has_apart = rank.laps.iter().any(|it| it.pass == Pass::Apart);
        Some(Self {
            without: pass(Pass::Without)?,
            apart: match has_apart {
                true => Some(pass(Pass::Apart)?),
                false => None,
            },
        })
    }

    /// The parts of a phase that takes this many milliseconds in a measured run.
    fn parts(&self, phase: fn(&[Spent]) -> Option<Phase>, plain: f64) -> Option<Parts> {
        let without = Phase::median(&self.without, phase)?;
        let mut parts = Parts {
            compute: without.evaluating,
            fence: 0.0,
            cable: 0.0,
            wait: 0.0,
            host: without.ms - without.evaluating,
        };
        if let Some(apart) = &self.apart {
            let apart = Phase::median(apart, phase)?;
            (parts.cable, parts.wait) = (apart.message, apart.waiting);
            parts.fence = (plain - parts.each().iter().sum::<f64>()).max(0.0);
        }
        Some(parts)
    }
}

/// Milliseconds of a phase.
struct Phase {
    ms: f64,
    evaluating: f64,
    waiting: f64,
    message: f64,
}

fn end_to_end(run: &[Spent]) -> Option<Phase> {
    Some(Phase::of(run, 1.0))
}

fn prefill(run: &[Spent]) -> Option<Phase> {
    Some(Phase::of(run.get(..1)?, 1.0))
}

/// Of one token.
fn decode(run: &[Spent]) -> Option<Phase> {
    let tokens = run.get(1..).filter(|tokens| !tokens.is_empty())?;
    Some(Phase::of(tokens, tokens.len() as f64))
}

impl Phase {
    /// The sum of what was spent on tokens, over this many.
    fn of(tokens: &[Spent], over: f64) -> Self {
        let each = |ns: fn(&Spent) -> u64| millis(tokens.iter().map(ns).sum()) / over;
        Self {
            ms: each(|it| it.ns),
            evaluating: each(|it| it.evaluating_ns),
            waiting: each(|it| it.waiting_ns),
            message: each(|it| it.message_ns),
        }
    }

    /// The median of each time over the runs.
    fn median(runs: &[Vec<Spent>], phase: fn(&[Spent]) -> Option<Self>) -> Option<Self> {
        let runs: Vec<_> = runs.iter().map(|run| phase(run)).collect::<Option<_>>()?;
        let median =
            |of: fn(&Self) -> f64| Some(Summary::of(runs.iter().map(of).collect())?.median);
        let ms = median(|it| it.ms)?;
        Some(Self {
            ms,
            // A median of a part may exceed that of the whole.
            evaluating: median(|it| it.evaluating)?.min(ms),
            waiting: median(|it| it.waiting)?,
            message: median(|it| it.message)?,
        })
    }
}
