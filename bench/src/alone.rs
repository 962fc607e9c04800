//! A rank without its peers: what it computes, measured for a prediction.

use launch::Launcher;
use stats::Summary;

use crate::{
    engine::EngineProgram,
    hosts::Hosts,
    launch::{RunRecord, Token, launch},
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
    /// The standard deviation of the latter within a run; 0 for two tokens.
    pub deviation: f64,
    /// The part of both that follows the layers, in which all ranks choose a token at the same
    /// time. Known with [`Strategy::Pp`], of an engine that reports it.
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
    #[error("a process that computes alone{place} has failed: {why}")]
    Failed {
        /// ` on node 'b'`, or nothing.
        place: String,
        /// What became of it.
        why: String,
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
            Self::Failed { .. } => None,
        }
    }
}

impl LoneRank<'_> {
    /// Launches it as often as the settings have rounds, each with its part of the runs: a
    /// process can be faster than another one of the same for as long as it lives. `ran` is
    /// called at the end of each of its [runs](Self::runs).
    ///
    /// # Errors
    /// When it does not end well.
    pub fn measure(
        &self,
        settings: &Settings,
        launcher: &Launcher,
        ran: &dyn Fn(),
    ) -> Result<Took, AloneError> {
        let mut runs = Vec::new();
        for _ in 0..settings.rounds() {
            runs.extend(self.launch(settings, launcher, ran)?);
        }
        took(&runs).ok_or(AloneError::OneToken)
    }

    /// The number of runs that [`measure`](Self::measure) makes, warm-ups included.
    pub fn runs(settings: &Settings) -> usize {
        settings.rounds() * (settings.warmup + repeat(settings))
    }

    /// The runs of one launch.
    fn launch(
        &self,
        settings: &Settings,
        launcher: &Launcher,
        ran: &dyn Fn(),
    ) -> Result<Vec<RunRecord>, AloneError> {
        let scratch = run::scratch()?;
        let cell = Cell::reference(self.engine.engine, self.workload);
        let seat = self.node.map(|(hosts, node)| hosts.seat(cell.engine, node));
        let job = Job {
            repeat: repeat(settings),
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
        if let Some(why) = outcome.detail() {
            let node = self.node.map(|(_, node)| format!(" on node '{node}'"));
            let place = node.unwrap_or_default();
            return Err(AloneError::Failed { place, why });
        }
        Ok(outcome.transcripts.swap_remove(0).runs)
    }
}

/// The measured runs of a launch.
fn repeat(settings: &Settings) -> usize {
    settings.repeat.div_ceil(settings.rounds())
}

/// What a token takes in a process's measured runs.
fn took(runs: &[RunRecord]) -> Option<Took> {
    let (mut ttft, mut token, mut deviation, mut choice) = (vec![], vec![], vec![], vec![]);
    for run in runs.iter().filter(|run| !run.warmup) {
        let [first, .., last] = &run.tokens[..] else {
            return None;
        };
        ttft.push(first.ns as f64 / 1e9);
        let others = run.tokens.len() - 1;
        token.push((last.ns - first.ns) as f64 / 1e9 / others as f64);
        let intervals = run.tokens.windows(2);
        let intervals = intervals.map(|pair| (pair[1].ns - pair[0].ns) as f64 / 1e9);
        deviation.extend(Summary::of(intervals.collect()).and_then(|it| it.stddev));
        let after = |it: &Token| Some(it.ns.checked_sub(it.layers_ns?)? as f64 / 1e9);
        choice.extend(run.tokens[1..].iter().filter_map(after));
    }
    let median = |samples| Summary::of(samples).map(|it| it.median);
    Some(Took {
        ttft: median(ttft)?,
        token: median(token)?,
        deviation: median(deviation).unwrap_or(0.0),
        choice: median(choice),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_rank_takes_the_median_of_its_measured_runs() {
        let of_pp = |first, token| {
            let at = |ns| (ns, Some(ns - 1_000_000));
            let (second, third) = (first + token - 1_000_000, first + 2 * token);
            run(false, &[at(first), at(second), at(third)])
        };
        let runs = [
            run(true, &[(900_000_000, None), (950_000_000, None)]),
            of_pp(60_000_000, 5_000_000),
            of_pp(80_000_000, 6_000_000),
            of_pp(70_000_000, 9_000_000),
        ];
        let took = took(&runs).expect("two tokens or more");
        assert_eq!((took.ttft, took.token), (0.070, 0.006));
        assert_eq!(took.choice, Some(0.001));
        // One of a millisecond less than the mean, and one of a millisecond more.
        assert!((took.deviation - 0.001 * 2_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn one_token_has_no_rate_and_tp_no_moment_between() {
        assert_eq!(took(&[run(false, &[(9, None)])]), None);
        let of_tp = took(&[run(false, &[(1_000, None), (3_000, None)])]);
        assert_eq!(of_tp.map(|it| it.choice), Some(None));
    }
}
