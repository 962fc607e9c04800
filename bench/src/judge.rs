//! The checks over a whole run: what each cell is asked, and what it is compared with.

use std::collections::BTreeMap;

use crate::{
    checks::{Check, Promise, crossed, logits, needle::Needles, reorders},
    engine::Engine,
    launch::Outcome,
    plan::{Launch, Plan, Settings},
    protocol::{After, Forced, Strategy, Top},
    reference::{Reference, ReferenceError, References, digests_of},
    sweep::Cell,
    verdict::{Demands, Judgement},
    workload::Workload,
};

/// The judge of a run. It learns from each cell what the next ones are compared with.
pub(crate) struct Judge<'a> {
    plan: &'a Plan,
    references: References,
    /// Of the cells that [`Check::Cross`] compares, the first with its name.
    firsts: BTreeMap<(Engine, Workload), (String, Vec<String>)>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(plan: &'a Plan, build: &str) -> Self {
        let mut references = plan.checks.known.clone();
        references.keep_bits_of(build);
        Self {
            plan,
            references,
            firsts: BTreeMap::new(),
        }
    }

    /// What the ranks of a launch do after their last run. One launch of a cell is enough.
    pub(crate) fn after(&self, launch: Launch) -> After {
        let Launch { cell, round, .. } = launch;
        if round > 0 {
            return After::default();
        }
        let checks = &self.plan.checks;
        let forced = match checks.is_reference(cell) {
            true => self.moves_logits_of(cell).then_some(Forced {
                tokens: None,
                nudged: logits::NUDGED,
            }),
            false => self.bounds(cell).map(|(reference, ..)| Forced {
                tokens: Some(reference.tokens.clone()),
                nudged: 0,
            }),
        };
        let needles = checks.needles(cell).map(Needles::asked);
        After {
            forced,
            needles: needles.unwrap_or_default(),
        }
    }

    /// Whether a reference is one for cells that are put to [`Check::Logits`].
    fn moves_logits_of(&self, reference: Cell) -> bool {
        let of_reference = |cell: Cell| {
            let own = (cell.engine, cell.workload.computed());
            own == (reference.engine, reference.workload.computed())
                && [Strategy::Single, cell.strategy].contains(&reference.strategy)
        };
        let mut cells = self.plan.cells.iter().map(|it| it.cell);
        self.plan.checks.has(Check::Logits)
            && cells.any(|cell| {
                let model = &self.plan.settings.model;
                of_reference(cell) && reorders(cell, model, reference.strategy)
            })
    }

    /// The reference of a cell that is put to [`Check::Logits`], with its bounds.
    fn bounds(&self, cell: Cell) -> Option<(&Reference, &[Top], f32)> {
        let (_, reference) = self.references.get(cell)?;
        let (top, noise) = reference.bounds()?;
        let asked = self.plan.checks.has(Check::Logits)
            && reorders(cell, &self.plan.settings.model, reference.strategy);
        asked.then_some((reference, top, noise))
    }

    /// Judges a launch, and learns from it.
    ///
    /// # Errors
    /// The cell is to be a reference and cannot be one: a single process in any case, another
    /// cell if nothing else is wrong with it.
    pub(crate) fn judge(
        &mut self,
        launch: Launch,
        outcome: &Outcome,
    ) -> Result<Judgement, ReferenceError> {
        let Launch {
            cell,
            round,
            repeat,
        } = launch;
        let settings = Settings {
            repeat,
            ..self.plan.settings.clone()
        };
        let ranks = outcome.transcripts.len();
        let key = crossed(cell, ranks).filter(|_| self.plan.checks.has(Check::Cross));
        let first = key.and_then(|key| {
            let known = self.firsts.get(&key).cloned();
            // The runs of the first must agree among themselves.
            let own = || {
                Some((
                    self.name(cell),
                    digests_of(outcome.transcripts[0].runs.first()?)?,
                ))
            };
            known.or_else(own)
        });
        let demands = self.demands(launch, ranks, first.as_ref());
        let mut judgement = Judgement::of(outcome, &settings, cell, &demands);
        let is_sound = judgement.verdict.is_sound();
        if let (true, Some(key), Some(first)) = (is_sound, key, first) {
            self.firsts.entry(key).or_insert(first);
        }
        if round > 0 || !self.plan.checks.is_reference(cell) {
            let reference = self.references.get(cell);
            let name = reference.map_or("none", |(name, _)| name);
            judgement.reference = Some(name.to_owned());
            return Ok(judgement);
        }
        if !is_sound && cell.strategy != Strategy::Single {
            return Ok(judgement);
        }
        let reference = Reference::from_outcome(cell, outcome, &settings)?;
        if let (false, Some(lost)) = (is_sound, judgement.detail) {
            return Err(ReferenceError::Needle(lost));
        }
        let name = match cell.strategy {
            Strategy::Single => "single".to_owned(),
            Strategy::Tp | Strategy::Pp => self.name(cell),
        };
        self.references.add(cell, name, reference.clone());
        Ok(Judgement {
            detail: None,
            tokens_match: true,
            evidence: Some(reference),
            ..judgement
        })
    }

    fn demands<'b>(
        &'b self,
        launch: Launch,
        ranks: usize,
        first: Option<&'b (String, Vec<String>)>,
    ) -> Demands<'b> {
        let (checks, cell) = (&self.plan.checks, launch.cell);
        let reference = self.references.get(cell).map(|(_, reference)| reference);
        let model = &self.plan.settings.model;
        let promise = reference.map(|it| Promise::of(cell, ranks, model, it));
        let promise = promise.filter(|_| checks.has(Check::Exact));
        let bounds = self.bounds(cell).map(|(_, top, noise)| (top, noise));
        let is_asked = launch.round == 0;
        Demands {
            ranks: checks.has(Check::Ranks) && ranks > 1,
            cross: first.map(|(name, digests)| (&**name, &**digests)),
            reference,
            exact: matches!(promise, Some(Promise::Tokens | Promise::Bits)),
            bits: promise == Some(Promise::Bits),
            logits: bounds.filter(|_| is_asked),
            may_drift: bounds.is_some(),
            needles: checks.needles(cell).filter(|_| is_asked),
        }
    }

    fn name(&self, cell: Cell) -> String {
        cell.name_among(self.plan.workloads.len())
    }
}
