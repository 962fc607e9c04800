//! The times of ranks in the measured runs.

use serde::Serialize;
use stats::{Percentiles, Summary};

use super::{millis, seconds};
use crate::launch::Transcript;

/// The times of one rank, each since the barrier at which the rank's run began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankTimes {
    /// Milliseconds to the first token.
    pub ttft_ms: Option<Summary>,
    /// Milliseconds a token after the first. None if only one token was requested.
    pub tpot_ms: Option<Summary>,
    /// Milliseconds to the last token.
    pub e2e_ms: Option<Summary>,
}

/// The same with every sample, and what follows from the samples.
pub(super) struct Samples {
    pub(super) ttft_ms: Vec<f64>,
    pub(super) tpot_ms: Vec<f64>,
    pub(super) e2e_ms: Vec<f64>,
    /// Prompt tokens a second.
    pub(super) prompt_tps: Vec<f64>,
    /// Tokens after the first a second.
    pub(super) generation_tps: Vec<f64>,
    /// Milliseconds from each token to the next.
    pub(super) intervals_ms: Vec<f64>,
}

impl Samples {
    /// The samples of a rank whose runs are complete.
    pub(super) fn of(rank: &Transcript, prompt_tokens: usize) -> Self {
        let mut samples = Self {
            ttft_ms: Vec::new(),
            tpot_ms: Vec::new(),
            e2e_ms: Vec::new(),
            prompt_tps: Vec::new(),
            generation_tps: Vec::new(),
            intervals_ms: Vec::new(),
        };
        for run in rank.runs.iter().filter(|run| !run.warmup) {
            let (Some(first), Some(last)) = (run.tokens.first(), run.tokens.last()) else {
                continue;
            };
            samples.ttft_ms.push(millis(first.ns));
            samples.e2e_ms.push(millis(last.ns));
            let prompt = prompt_tokens as f64;
            samples.prompt_tps.push(prompt / seconds(first.ns));
            if run.tokens.len() > 1 {
                let after_first = (run.tokens.len() - 1) as f64;
                let took = last.ns - first.ns;
                samples.tpot_ms.push(millis(took) / after_first);
                samples.generation_tps.push(after_first / seconds(took));
            }
            let pairs = run.tokens.windows(2);
            let intervals = pairs.map(|pair| millis(pair[1].ns - pair[0].ns));
            samples.intervals_ms.extend(intervals);
        }
        samples
    }
}

impl From<Samples> for RankTimes {
    fn from(samples: Samples) -> Self {
        Self {
            ttft_ms: Summary::of(samples.ttft_ms),
            tpot_ms: Summary::of(samples.tpot_ms),
            e2e_ms: Summary::of(samples.e2e_ms),
        }
    }
}

/// Milliseconds between the first rank and the last one to have a token, over all tokens of
/// the measured runs. None with one rank.
pub(super) fn skew(ranks: &[Transcript]) -> Option<Percentiles> {
    let [first, others @ ..] = ranks else {
        return None;
    };
    if others.is_empty() {
        return None;
    }
    let mut skews = Vec::new();
    for (number, run) in first.runs.iter().enumerate().filter(|(_, run)| !run.warmup) {
        for (index, token) in run.tokens.iter().enumerate() {
            let theirs = others.iter().map(|it| {
                let run = it.runs.get(number)?;
                Some(run.tokens.get(index)?.ns)
            });
            let all: Option<Vec<u64>> = theirs.chain([Some(token.ns)]).collect();
            if let Some((least, most)) =
                all.and_then(|all| Some((*all.iter().min()?, *all.iter().max()?)))
            {
                skews.push(millis(most - least));
            }
        }
    }
    Percentiles::of(&skews)
}
