//! What the launches of a cell gave.

use serde::{Deserialize, Serialize};
use softrail::counters::Counters;

use crate::{
    launch::{Outcome, Transcript},
    meter::Carried,
    plan::Settings,
    report::CellReport,
    sweep::{Cell, PlannedCell},
    verdict::{Judgement, Verdict},
};

/// What a launch of a cell's ranks gave: all that its figures and its verdict come from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launched {
    pub(crate) cell: Cell,
    pub(crate) round: usize,
    pub(crate) outcome: Outcome,
    pub(crate) carried: Carried,
    /// The counters at the end.
    pub(crate) directions: Vec<Counters>,
    /// The rig's faults that could not be played.
    pub(crate) not_done: Vec<String>,
}

/// A cell while it is measured.
pub(crate) struct Measurement<'a> {
    pub(crate) cell: Cell,
    /// None for a reference.
    planned: Option<&'a PlannedCell>,
    launches: Vec<Launched>,
    judgement: Option<Judgement>,
}

impl<'a> Measurement<'a> {
    pub(crate) fn of_reference(cell: Cell) -> Self {
        Self {
            cell,
            planned: None,
            launches: Vec::new(),
            judgement: None,
        }
    }

    pub(crate) fn of(planned: &'a PlannedCell) -> Self {
        Self {
            planned: Some(planned),
            ..Self::of_reference(planned.cell)
        }
    }

    pub(crate) fn planned(&self) -> Option<&'a PlannedCell> {
        self.planned
    }

    /// Whether something was measured.
    pub(crate) fn has_begun(&self) -> bool {
        !self.launches.is_empty()
    }

    /// Whether no further launch can make its verdict better.
    pub(crate) fn has_failed(&self) -> bool {
        let judgement = self.judgement.as_ref();
        judgement.is_some_and(|it| !it.verdict.is_sound())
    }

    /// Takes the launch and the judgement on it, and returns its own report.
    pub(crate) fn add(
        &mut self,
        launched: Launched,
        judgement: Judgement,
        settings: &Settings,
    ) -> CellReport {
        let report = self.report_of(std::slice::from_ref(&launched), &judgement, settings);
        let judgement = judgement.in_launch(launched.round);
        self.judgement = Some(match self.judgement.take() {
            None => judgement,
            Some(earlier) => earlier.and(judgement),
        });
        self.launches.push(launched);
        report
    }

    /// Ends without another launch.
    pub(crate) fn end(&mut self, judgement: Judgement, settings: &Settings) -> CellReport {
        self.judgement = Some(judgement);
        self.report(settings)
    }

    /// The report of all launches.
    pub(crate) fn report(&self, settings: &Settings) -> CellReport {
        let not_run = || Judgement::not_run("the run stopped before it was measured".to_owned());
        let judgement = self.judgement.clone().unwrap_or_else(not_run);
        self.report_of(&self.launches, &judgement, settings)
    }

    fn report_of(
        &self,
        launches: &[Launched],
        judgement: &Judgement,
        settings: &Settings,
    ) -> CellReport {
        let judgement = judgement.clone();
        let mut report = match self.planned {
            None => CellReport::new(self.cell, settings, judgement),
            Some(planned) => CellReport::of(planned, settings, judgement),
        };
        let mut ranks = Vec::<Transcript>::new();
        for launched in launches {
            report.add_carried(&launched.carried);
            add(&mut report.directions, &launched.directions);
            let transcripts = &launched.outcome.transcripts;
            match ranks.is_empty() {
                true => ranks.clone_from(transcripts),
                false => (ranks.iter_mut().zip(transcripts)).for_each(|(it, more)| it.append(more)),
            }
        }
        // A cell that ended has all its times, even if its tokens are wrong.
        let ended = report.verdict.is_sound() || report.verdict == Verdict::Wrong;
        if ended && !ranks.is_empty() {
            report.set_measured(&ranks, settings);
            if let Some(planned) = self.planned {
                report.set_bandwidth(&planned.joining.rig);
            }
        }
        report
    }
}

/// Adds the counters of another launch, whose cables are the same.
fn add(sum: &mut Vec<Counters>, more: &[Counters]) {
    match sum.is_empty() {
        true => sum.extend_from_slice(more),
        false => (sum.iter_mut().zip(more)).for_each(|(it, more)| it.add(more)),
    }
}
