//! The verdict on a cell.

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    launch::{Ending, Outcome, RunRecord, Transcript},
    model::{Dtype, Model},
    plan::Settings,
    sweep::Cell,
    workload::Workload,
};

/// The verdict on a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The cell ended, the ranks had the same logits, and every token equals the reference's
    /// where the model and the strategy promise it ([`Model::is_exact`]).
    Pass,
    /// Its ranks fell silent.
    Hang,
    /// The cell ended with tokens other than the reference's, with logits that differ
    /// between its ranks, or with NaN logits.
    Wrong,
    /// A rank died.
    Crash,
    /// A rank reported a failure, or did not complete its job.
    Error,
    /// Nothing was measured: the cables could not be connected, or the run had stopped.
    /// This verdict does not concern MLX.
    NotRun,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Hang => "hang",
            Self::Wrong => "wrong",
            Self::Crash => "crash",
            Self::Error => "error",
            Self::NotRun => "not-run",
        })
    }
}

/// A verdict and, unless it is [`Verdict::Pass`], the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The reason.
    pub detail: Option<String>,
    /// Whether nothing is wrong and every token of every run on every rank equals the
    /// reference's.
    pub tokens_match: bool,
}

impl Judgement {
    /// Judges the outcome of a cell by the logits of its ranks and the reference's tokens.
    pub fn of(outcome: &Outcome, settings: &Settings, cell: Cell, reference: &Reference) -> Self {
        let judgement = Self::of_ending(outcome, settings, cell.workload);
        if judgement.verdict != Verdict::Pass {
            return judgement;
        }
        let transcripts = &outcome.transcripts;
        let difference = reference.first_difference(transcripts);
        let tokens_match = difference.is_none();
        let demanded = difference.filter(|_| settings.model.is_exact(cell.strategy));
        let wrong = demanded
            .or_else(|| first_nan(transcripts))
            .or_else(|| first_disagreement(transcripts));
        Self {
            verdict: match wrong {
                None => Verdict::Pass,
                Some(_) => Verdict::Wrong,
            },
            // Right tokens of a cell that is wrong otherwise prove nothing.
            tokens_match: tokens_match && wrong.is_none(),
            detail: wrong,
        }
    }

    /// A cell in which all is well.
    pub fn passed() -> Self {
        Self {
            verdict: Verdict::Pass,
            detail: None,
            tokens_match: true,
        }
    }

    /// A cell without measurements, and the reason.
    pub fn not_run(why: String) -> Self {
        Self::failed(Verdict::NotRun, Some(why))
    }

    /// The same with the launch before the reason, unless it is the first.
    pub(crate) fn in_launch(self, round: usize) -> Self {
        let detail = match round {
            0 => self.detail,
            _ => (self.detail).map(|detail| format!("launch {}: {detail}", round + 1)),
        };
        Self { detail, ..self }
    }

    /// The judgement on a cell that had passed and has a later launch.
    pub(crate) fn and(self, later: Self) -> Self {
        Self {
            tokens_match: self.tokens_match && later.tokens_match,
            ..later
        }
    }

    fn failed(verdict: Verdict, detail: Option<String>) -> Self {
        Self {
            verdict,
            detail,
            tokens_match: false,
        }
    }

    /// Judges whether a cell ended with all of its events, whatever the tokens.
    fn of_ending(outcome: &Outcome, settings: &Settings, workload: Workload) -> Self {
        let verdict = match outcome.ending {
            Ending::Done => Verdict::Pass,
            Ending::Hang { .. } => Verdict::Hang,
            Ending::Crash { .. } => Verdict::Crash,
            Ending::Error { .. } => Verdict::Error,
        };
        let missing = || {
            let mut ranks = outcome.transcripts.iter().enumerate();
            ranks.find_map(|(rank, said)| {
                let missing = missing(said, settings, workload)?;
                Some(format!("rank {rank} {missing}"))
            })
        };
        match outcome.detail().or_else(missing) {
            Some(why) if verdict == Verdict::Pass => Self::failed(Verdict::Error, Some(why)),
            None if verdict == Verdict::Pass => Self::passed(),
            detail => Self::failed(verdict, detail),
        }
    }
}

/// The missing part of a rank that reports to be done.
fn missing(said: &Transcript, settings: &Settings, workload: Workload) -> Option<String> {
    let runs = settings.warmup + settings.repeat;
    let ended = said.runs.iter().filter(|run| run.ended).count();
    if ended != runs {
        return Some(format!("was done after {ended} of {runs} runs"));
    }
    let measured = said.runs.iter().filter(|run| !run.warmup).count();
    if measured != settings.repeat {
        return Some(format!(
            "measured {measured} runs where {} were asked for",
            settings.repeat
        ));
    }
    let asked = workload.generation_tokens;
    let short = said.runs.iter().position(|run| run.tokens.len() != asked)?;
    let said = said.runs[short].tokens.len();
    Some(format!(
        "gave {said} tokens in run {short} where {asked} were asked for"
    ))
}

/// The tokens of a run on one process, which are correct by definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    tokens: Vec<u32>,
}

/// Why equality with a reference's tokens would prove nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The reference did not pass.
    #[error("the single-process reference ended in {verdict}: {detail}")]
    Failed {
        /// Its verdict.
        verdict: Verdict,
        /// The reason.
        detail: String,
    },
    /// Its own runs differ.
    #[error("the runs of the single-process reference differ among themselves: {0}")]
    Unsteady(String),
    /// It repeats tokens.
    #[error(
        "the reference's {tokens} tokens hold only {distinct} different ones, and unless half of \
         them differ, equal tokens prove nothing"
    )]
    Repetitive {
        /// Tokens in a run.
        tokens: usize,
        /// The number of distinct tokens.
        distinct: usize,
    },
    /// It reports no margin.
    #[error("the reference reported no margin between its best tokens")]
    NoMargin,
    /// It computed with NaN.
    #[error("{0}")]
    NotANumber(String),
    /// A choice is so close that rounding could have made it.
    #[error(
        "the reference chose a token by a margin of {margin:e} of its greatest logit, and below \
         {needed:e} rounding may choose another"
    )]
    TooClose {
        /// The smallest margin of its runs.
        margin: f32,
        /// The smallest sufficient margin.
        needed: f32,
    },
}

impl ReferenceError {
    /// The remedy, if there is one.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::Repetitive { .. } => Some("choose another model, or generate fewer tokens"),
            Self::TooClose { .. } => Some("choose another model, or a prompt of another length"),
            Self::NoMargin => Some("the rank program is broken: compile it anew"),
            Self::Failed { .. } | Self::Unsteady(_) | Self::NotANumber(_) => None,
        }
    }
}

/// The smallest margin, relative as `min_margin` of [`Event::Run`] is, at which another
/// order of summation cannot be expected to change the token.
///
/// Splitting a model reorders its sums. Over two ranks in f32 this moved the margins of
/// the presets by less than 1e-6 in measurements; the limit is ten times that. bfloat16
/// keeps 8 significant bits where f32 keeps 24, so there the same reordering moves the
/// margins 2^16 times as far (float16, with 11 bits, 2^13 times), and hardly any reference
/// passes.
///
/// [`Event::Run`]: crate::protocol::Event::Run
pub const fn least_margin(dtype: Dtype) -> f32 {
    const F32: f32 = 1e-5;
    match dtype {
        Dtype::F32 => F32,
        Dtype::Bf16 => F32 * 65536.0,
        Dtype::F16 => F32 * 8192.0,
    }
}

impl Reference {
    /// Takes the tokens of a single-process outcome after checking that they can serve as
    /// a reference.
    ///
    /// # Errors
    /// When they cannot.
    pub fn from_outcome(
        outcome: &Outcome,
        settings: &Settings,
        workload: Workload,
    ) -> Result<Self, ReferenceError> {
        let judgement = Judgement::of_ending(outcome, settings, workload);
        if let Some(detail) = judgement.detail {
            return Err(ReferenceError::Failed {
                verdict: judgement.verdict,
                detail,
            });
        }
        if let Some(why) = first_nan(&outcome.transcripts) {
            return Err(ReferenceError::NotANumber(why));
        }
        let runs = &outcome.transcripts[0].runs;
        let reference = Self {
            tokens: runs[0].tokens.iter().map(|token| token.id).collect(),
        };
        if let Some(why) = reference.first_difference(&outcome.transcripts) {
            return Err(ReferenceError::Unsteady(why));
        }
        // A folder's model is what it is: it may repeat itself, and a close choice voids
        // nothing, because its TP need not have the same tokens.
        let Model::Preset(preset) = &settings.model else {
            return Ok(reference);
        };
        let tokens = reference.tokens.len();
        let distinct = reference.tokens.iter().collect::<HashSet<_>>().len();
        if 2 * distinct < tokens {
            return Err(ReferenceError::Repetitive { tokens, distinct });
        }
        let margin = least_margin_of(runs).ok_or(ReferenceError::NoMargin)?;
        let needed = least_margin(preset.spec.dtype);
        if margin < needed {
            return Err(ReferenceError::TooClose { margin, needed });
        }
        Ok(reference)
    }

    /// The first token, by rank, run and position, that differs from the reference's.
    fn first_difference(&self, transcripts: &[Transcript]) -> Option<String> {
        for (rank, transcript) in transcripts.iter().enumerate() {
            for (run, record) in transcript.runs.iter().enumerate() {
                let pairs = record.tokens.iter().zip(&self.tokens);
                for (index, (token, expected)) in pairs.enumerate() {
                    if token.id != *expected {
                        return Some(format!(
                            "rank {rank}, run {run}, token {index}: expected {expected}, got {}",
                            token.id
                        ));
                    }
                }
            }
        }
        None
    }
}

/// The first token, by rank, run and position, whose logits do not have the bits that the
/// first rank with logits had. Every rank chooses tokens from the same sums, so the bits must
/// be the same, whatever the model and its dtype.
fn first_disagreement(transcripts: &[Transcript]) -> Option<String> {
    let digest = |rank: usize, run: usize, index: usize| {
        let token = transcripts[rank].runs.get(run)?.tokens.get(index)?;
        token.digest.as_ref()
    };
    for (rank, transcript) in transcripts.iter().enumerate() {
        for (run, record) in transcript.runs.iter().enumerate() {
            for index in 0..record.tokens.len() {
                let Some(own) = digest(rank, run, index) else {
                    continue;
                };
                let first = (0..rank).find_map(|it| Some((it, digest(it, run, index)?)));
                if let Some((first, theirs)) = first
                    && own != theirs
                {
                    return Some(format!(
                        "rank {rank}, run {run}, token {index}: its logits differ from rank \
                         {first}'s ({own} and {theirs})"
                    ));
                }
            }
        }
    }
    None
}

/// The first run, by rank and run, in which a logit was NaN.
fn first_nan(transcripts: &[Transcript]) -> Option<String> {
    for (rank, transcript) in transcripts.iter().enumerate() {
        let mut runs = transcript.runs.iter();
        if let Some(run) = runs.position(|run| run.min_margin.is_some_and(f32::is_nan)) {
            return Some(format!(
                "rank {rank}, run {run}: a logit is not a number (NaN)"
            ));
        }
    }
    None
}

/// The smallest margin of all runs, if every run has one. NaN is smaller than any number.
pub(crate) fn least_margin_of<'a>(runs: impl IntoIterator<Item = &'a RunRecord>) -> Option<f32> {
    let margins: Option<Vec<f32>> = runs.into_iter().map(|run| run.min_margin).collect();
    let least = |least: f32, margin: f32| match least.is_nan() || least <= margin {
        true => least,
        false => margin,
    };
    margins?.into_iter().reduce(least)
}
