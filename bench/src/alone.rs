//! A rank without its peers: what it computes, measured for a prediction.

use std::fmt;

use launch::Launcher;
use stats::Summary;

use crate::{
    engine::EngineProgram,
    hosts::Hosts,
    launch::{Ending, RunRecord, launch},
    plan::Settings,
    protocol::{Event, Job, Strategy},
    run::{self, RunError},
    sweep::Cell,
    workload::Workload,
};

/// A rank that runs alone.
#[derive(Clone, Copy)]
pub struct LoneRank<'a> {
    /// Its program.
    pub engine: &'a EngineProgram,
    /// Its prompt.
    pub workload: Workload,
    /// The strategy, by which it has its share.
    pub strategy: Strategy,
    /// Which rank it is, and the number of ranks that there would be.
    pub place: (usize, usize),
    /// The node on which it runs; none for this machine.
    pub node: Option<(&'a Hosts, &'a str)>,
}

/// What a rank takes that is alone, in seconds: medians of its measured runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Took {
    /// To the first token.
    pub ttft: f64,
    /// From a token to the next.
    pub token: f64,
    /// The standard deviation of the latter from one to the next within a run.
    pub deviation: f64,
    /// The part of the latter without the layers, which all ranks spend at the same time: to
    /// choose the token and to report it. Known with [`Strategy::Pp`], of an engine that says
    /// what its layers took.
    pub choice: Option<f64>,
}

/// Why nothing is known of a rank that is alone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AloneError {
    /// It could not be started, or the caller asked to stop.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It failed.
    #[error("{rank}, by itself, {why}")]
    Failed {
        /// Which rank, and where.
        rank: String,
        /// What became of it.
        why: String,
        /// Whether it was ended because it was silent.
        hung: bool,
    },
    /// It generates one token, and the time between two is asked for.
    #[error("a process that generates one token has no rate")]
    OneToken,
}

impl AloneError {
    /// The remedy, if there is one.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Run(error) => error.help(),
            Self::OneToken => Some("generate two tokens or more".to_owned()),
            Self::Failed { hung: true, .. } => {
                Some("a longer --timeout lets a large model load, or a long prompt pass".to_owned())
            }
            Self::Failed { .. } => None,
        }
    }
}

impl LoneRank<'_> {
    /// Launches it once, for the part of its runs that the settings have in a round. Returns
    /// all of them. `ran` is called at the end of each.
    ///
    /// A process can be faster than another one of the same for as long as it lives, so several
    /// rounds say more than one.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn launch(
        &self,
        settings: &Settings,
        round: usize,
        launcher: &Launcher,
        ran: &dyn Fn(),
    ) -> Result<Vec<RunRecord>, AloneError> {
        let scratch = run::scratch()?;
        let cell = Cell::reference(self.engine.engine, self.workload);
        let seat = self.node.map(|(hosts, node)| hosts.seat(cell.engine, node));
        let job = Job {
            repeat: settings.repeat_of(round),
            alone: true,
            ..settings.job(self.workload, self.strategy, self.place)
        };
        let env = run::shared_env(self.workload, settings);
        let outcome = launch(
            launcher,
            &self.engine.program,
            &[run::start(job, env, seat)],
            scratch.path(),
            settings.limits,
            || 0,
            |_, event| {
                if matches!(event, Event::Run { .. }) {
                    ran();
                }
            },
        );
        let mut outcome = outcome.map_err(RunError::from)?;
        run::check_build(cell, self.engine, &outcome)?;
        let rank = outcome.transcripts.swap_remove(0);
        let why = match &outcome.ending {
            Ending::Done => return Ok(rank.runs),
            Ending::Error { message, .. } => format!("failed: {message}"),
            Ending::Hang { silence } => format!("said nothing for {silence:?} ({rank})"),
            Ending::Crash { death, stderr, .. } => match stderr.last() {
                None => format!("{death} ({rank})"),
                Some(last) => format!("{death} ({rank}): {last}"),
            },
        };
        Err(AloneError::Failed {
            rank: self.to_string(),
            why,
            hung: matches!(outcome.ending, Ending::Hang { .. }),
        })
    }
}

/// As `rank 1 of 2 in tp on node 'b'`.
impl fmt::Display for LoneRank<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rank, ranks) = self.place;
        write!(f, "rank {rank} of {ranks} in {}", self.strategy)?;
        match self.node {
            None => Ok(()),
            Some((_, node)) => write!(f, " on node '{node}'"),
        }
    }
}

impl Took {
    /// What a rank took in these runs, of one launch or of several.
    ///
    /// # Errors
    /// A run generated one token.
    pub fn of(runs: &[RunRecord]) -> Result<Self, AloneError> {
        let (mut ttft, mut token, mut deviation, mut choice) = (vec![], vec![], vec![], vec![]);
        for run in runs.iter().filter(|run| !run.warmup) {
            let times: Vec<_> = run.tokens.iter().map(|it| it.ns as f64 / 1e9).collect();
            let intervals: Vec<_> = times.windows(2).map(|it| it[1] - it[0]).collect();
            let count = intervals.len() as f64;
            ttft.extend(times.first());
            token.push(intervals.iter().sum::<f64>() / count);
            // From one to the next, so that what grows with the cache is no deviation.
            let changes = intervals.windows(2).map(|it| (it[1] - it[0]).powi(2));
            deviation.push((changes.sum::<f64>() / 2.0 / (count - 1.0).max(1.0)).sqrt());
            let layers = run.tokens[1..].iter().map(|it| it.layers_ns);
            let others = intervals.iter().zip(layers);
            choice.extend(others.filter_map(|(all, layers)| Some(all - layers? as f64 / 1e9)));
        }
        let median = |samples| Summary::of(samples).map(|it| it.median);
        match (median(ttft), median(token).filter(|it| it.is_finite())) {
            (Some(ttft), Some(token)) => Ok(Self {
                ttft,
                token,
                deviation: median(deviation).unwrap_or(0.0),
                choice: median(choice),
            }),
            _ => Err(AloneError::OneToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Token;

    /// Tokens at these nanoseconds, each with what its layers took.
    fn run(warmup: bool, tokens: &[(u64, Option<u64>)]) -> RunRecord {
        let token = |&(ns, layers_ns): &(u64, Option<u64>)| Token {
            id: 7,
            ns,
            digest: None,
            layers_ns,
        };
        RunRecord {
            tokens: tokens.iter().map(token).collect(),
            warmup,
            ..RunRecord::default()
        }
    }

    fn near(value: f64, expected: f64) {
        let close = (value - expected).abs() < 1e-12;
        assert!(close, "{value} is not {expected}");
    }

    #[test]
    fn a_rank_takes_the_median_of_its_measured_runs() {
        const MS: u64 = 1_000_000;
        // Tokens take a millisecond less and more in turns, and all but one is the layers'.
        let of_pp = |first, token| {
            let (less, more) = (token - MS, token + MS);
            let second = (first + less, Some(less - MS));
            let third = (first + less + more, Some(more - MS));
            run(false, &[(first, None), second, third])
        };
        let runs = [
            run(true, &[(900 * MS, None), (950 * MS, None)]),
            of_pp(60 * MS, 5 * MS),
            of_pp(80 * MS, 6 * MS),
            of_pp(70 * MS, 9 * MS),
        ];
        let took = Took::of(&runs).expect("two tokens or more");
        near(took.ttft, 0.070);
        near(took.token, 0.006);
        near(took.deviation, 0.001 * 2_f64.sqrt());
        near(took.choice.expect("known"), 0.001);
    }

    #[test]
    fn tokens_that_get_slower_do_not_deviate() {
        let growing: Vec<_> = (1..=20).map(|at| (at * (1000 + at), None)).collect();
        let took = Took::of(&[run(false, &growing)]).expect("two tokens or more");
        // Each takes two nanoseconds more than the one before.
        assert!(took.deviation < 2e-9, "{took:?}");
        assert_eq!(took.choice, None);
    }

    #[test]
    fn one_token_has_no_rate() {
        let took = Took::of(&[run(false, &[(9, None)])]);
        assert!(matches!(took, Err(AloneError::OneToken)), "{took:?}");
    }
}
