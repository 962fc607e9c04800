//! The verdict on a cell.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    checks::{Check, logits, needle::Needles},
    launch::{Ending, Outcome, Transcript},
    plan::Settings,
    reference::{Reference, first_nan, first_other_bits},
    sweep::Cell,
    workload::Workload,
};

/// The verdict on a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The cell ended, and all its checks hold.
    Pass,
    /// All its checks hold. Its tokens are not the reference's, and its logits are, as far as
    /// another order of sums permits ([`Check::Logits`]).
    Drift,
    /// Its ranks fell silent.
    Hang,
    /// The cell ended, and one of its checks does not hold, or a logit is NaN.
    Wrong,
    /// A rank died.
    Crash,
    /// A rank reported a failure, or did not complete its job.
    Error,
    /// Nothing was measured: the cables could not be connected, or the run had stopped.
    /// This verdict does not concern MLX.
    NotRun,
}

impl Verdict {
    /// Whether the cell ended and nothing is wrong with it.
    pub const fn is_sound(self) -> bool {
        matches!(self, Self::Pass | Self::Drift)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Drift => "drift",
            Self::Hang => "hang",
            Self::Wrong => "wrong",
            Self::Crash => "crash",
            Self::Error => "error",
            Self::NotRun => "not-run",
        })
    }
}

/// A verdict and, unless it is [`Verdict::Pass`], the reason for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The reason.
    pub detail: Option<String>,
    /// Whether nothing is wrong and every token of every run on every rank equals the
    /// reference's.
    pub tokens_match: bool,
    /// The checks that the cell was put to. Empty for a cell that did not end.
    pub checks: Vec<Check>,
    /// The farthest that a logit is from the reference's, if both were given the same tokens.
    pub movement: Option<f32>,
    /// The name of what the tokens were compared with.
    pub reference: Option<String>,
    /// What others are compared with, of a cell that is a reference.
    pub evidence: Option<Reference>,
}

/// What is demanded of a cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demands<'a> {
    /// [`Check::Ranks`].
    pub ranks: bool,
    /// [`Check::Cross`], with the digests of the first of the cells, and its name.
    pub cross: Option<(&'a str, &'a [String])>,
    /// What the tokens are compared with.
    pub reference: Option<&'a Reference>,
    /// [`Check::Exact`].
    pub exact: bool,
    /// [`Check::Exact`], with the bits of the logits.
    pub bits: bool,
    /// [`Check::Logits`], with the reference's logits and the noise.
    pub logits: Option<(&'a [crate::protocol::Top], f32)>,
    /// Whether other tokens are a drift.
    pub may_drift: bool,
    /// [`Check::Needle`].
    pub needles: Option<&'a Needles>,
}

impl Demands<'_> {
    /// The checks, in their order.
    fn checks(&self) -> Vec<Check> {
        let all = [
            (Check::Ranks, self.ranks),
            (Check::Cross, self.cross.is_some()),
            (Check::Exact, self.exact || self.bits),
            (Check::Logits, self.logits.is_some()),
            (Check::Needle, self.needles.is_some()),
        ];
        let made = all.into_iter().filter(|(_, made)| *made);
        made.map(|(check, _)| check).collect()
    }

    /// The first thing that is not as demanded.
    fn first_wrong(&self, transcripts: &[Transcript]) -> Option<String> {
        let of_ranks = || self.ranks.then(|| first_disagreement(transcripts))?;
        let of_cross = || {
            let (name, digests) = self.cross?;
            let (place, own, theirs) = first_other_bits(digests, transcripts)?;
            Some(format!(
                "{place}: its logits differ from those of {name} ({own} and {theirs})"
            ))
        };
        let reference = |demanded: bool| self.reference.filter(|_| demanded);
        let of_tokens = || reference(self.exact || self.bits)?.first_difference(transcripts);
        let of_bits = || reference(self.bits)?.first_other_bits(transcripts);
        let of_logits = || {
            let (top, noise) = self.logits?;
            let mut ranks = transcripts.iter().enumerate();
            ranks.find_map(|(rank, said)| {
                let pass = said.forced.first().map_or(&[][..], Vec::as_slice);
                logits::first_break(top, noise, rank, pass)
            })
        };
        let of_needles = || {
            let mut ranks = transcripts.iter().enumerate();
            ranks.find_map(|(rank, said)| self.needles?.first_lost(rank, &said.needles))
        };
        first_nan(transcripts)
            .or_else(of_tokens)
            .or_else(of_ranks)
            .or_else(of_bits)
            .or_else(of_cross)
            .or_else(of_logits)
            .or_else(of_needles)
    }
}

impl Judgement {
    /// Judges the outcome of a cell.
    pub(crate) fn of(
        outcome: &Outcome,
        settings: &Settings,
        cell: Cell,
        demands: &Demands<'_>,
    ) -> Self {
        let judgement = Self::of_ending(outcome, settings, cell.workload);
        if judgement.verdict != Verdict::Pass {
            return judgement;
        }
        let transcripts = &outcome.transcripts;
        let wrong = demands.first_wrong(transcripts);
        let reference = demands.reference;
        let difference = reference.and_then(|it| it.first_difference(transcripts));
        let drift = difference.filter(|_| demands.may_drift).map(|difference| {
            format!("{difference}; no logit moved farther than another order of sums moves it")
        });
        let movement = demands.logits.and_then(|(top, _)| {
            let passes = transcripts.iter().filter_map(|it| it.forced.first());
            let moved = passes.filter_map(|pass| logits::greatest_movement(top, pass));
            moved.reduce(f32::max)
        });
        Self {
            verdict: match (&wrong, &drift) {
                (Some(_), _) => Verdict::Wrong,
                (None, Some(_)) => Verdict::Drift,
                (None, None) => Verdict::Pass,
            },
            // Right tokens of a cell that is wrong otherwise prove nothing.
            tokens_match: wrong.is_none()
                && reference.is_some_and(|it| it.first_difference(transcripts).is_none()),
            detail: wrong.or(drift),
            checks: demands.checks(),
            movement,
            reference: None,
            evidence: None,
        }
    }

    /// A cell in which all is well.
    pub fn passed() -> Self {
        Self {
            verdict: Verdict::Pass,
            detail: None,
            tokens_match: true,
            checks: Vec::new(),
            movement: None,
            reference: None,
            evidence: None,
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

    /// The judgement on a cell that was sound and has a later launch.
    pub(crate) fn and(self, later: Self) -> Self {
        let keeps = later.verdict.is_sound() && self.verdict == Verdict::Drift;
        let (verdict, detail) = match keeps {
            true => (self.verdict, self.detail),
            false => (later.verdict, later.detail),
        };
        Self {
            verdict,
            detail,
            tokens_match: self.tokens_match && later.tokens_match,
            ..self
        }
    }

    fn failed(verdict: Verdict, detail: Option<String>) -> Self {
        Self {
            verdict,
            detail,
            tokens_match: false,
            ..Self::passed()
        }
    }

    /// Judges whether a cell ended with all of its events, whatever the tokens.
    pub(crate) fn of_ending(outcome: &Outcome, settings: &Settings, workload: Workload) -> Self {
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
