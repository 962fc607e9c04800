//! The sweep: cases in groups, suspects again alone, results in order.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jaccl::Dtype;
use launch::{Interrupted, Launcher};

use crate::{
    attempt::{Bench, Patience, Unjudged},
    case::{Case, Direction, Op, Setting},
    group::{Build, Group, GroupError, Programs},
    memory::Memory,
    progress::{Count, Progress},
    selection::{Level, Selection, SelectionError},
    sequence,
    setup::GivenMatrix,
    sweep,
    verdict::{Finding, Verdict},
};

/// A named build of jaccl.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The pin.
    pub mlx: String,
    /// The series, as `stock`, `patched` or `tuned`; `wheel` for an installed wheel.
    pub series: String,
    /// The file, if a wheel is verified rather than a build of the store.
    pub wheel: Option<PathBuf>,
    /// The shim of the build.
    pub build: Build,
    /// The build's manifest, for the report.
    pub manifest: serde_json::Value,
}

impl Variant {
    /// Its name for people.
    pub fn name(&self) -> String {
        match &self.wheel {
            Some(file) => file.file_name().unwrap_or_default().display().to_string(),
            None => format!("MLX {} ({})", self.mlx, self.series),
        }
    }
}

/// The outcome of a variant.
#[derive(Debug)]
pub struct Outcome {
    /// The variant.
    pub variant: Variant,
    /// The matrix that its cases ran over, if it was given.
    pub given: Option<GivenMatrix>,
    /// Every case that was run, in order, with its finding if it did not pass.
    pub cases: Vec<(Case, Option<Finding>)>,
    /// The number of cases to run; the number of cases that were run if the run has no
    /// end of its own.
    pub planned: usize,
    /// Cases that were left out for lack of memory.
    pub skipped: Vec<Case>,
    /// Cases that were run and have no verdict, because something outside this program
    /// killed a rank (SIGKILL), such as a system that is out of memory.
    pub killed: Vec<Case>,
    /// Hangs that did not recur when their case was run alone, with more time.
    pub dismissed: Vec<Case>,
    /// Why the run did not finish.
    pub stopped: Option<Stop>,
    /// The duration.
    pub took: Duration,
}

/// Why a run did not finish.
#[derive(Debug)]
pub enum Stop {
    /// The caller asked to stop.
    Interrupted,
    /// A group of ranks could not be started. The cause is outside jaccl.
    Failed(GroupError),
}

impl From<GroupError> for Stop {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Interrupted(_) => Stop::Interrupted,
            error => Stop::Failed(error),
        }
    }
}

impl Outcome {
    fn new(variant: &Variant, planned: usize) -> Self {
        Outcome {
            variant: variant.clone(),
            given: None,
            cases: Vec::new(),
            planned,
            skipped: Vec::new(),
            killed: Vec::new(),
            dismissed: Vec::new(),
            stopped: None,
            took: Duration::ZERO,
        }
    }

    /// The outcome of a variant whose turn came after the caller asked to stop.
    pub fn not_begun(variant: &Variant) -> Self {
        Outcome {
            stopped: Some(Stop::Interrupted),
            ..Outcome::new(variant, 0)
        }
    }

    /// The number of cases with each verdict.
    pub fn count(&self) -> BTreeMap<Verdict, usize> {
        let mut count = BTreeMap::from(Verdict::ALL.map(|verdict| (verdict, 0)));
        for (_, finding) in &self.cases {
            *count.entry(verdict(finding)).or_default() += 1;
        }
        count
    }

    /// The cases that did not pass.
    pub fn failures(&self) -> impl Iterator<Item = (&Case, &Finding)> {
        self.cases
            .iter()
            .filter_map(|(case, finding)| Some((case, finding.as_ref()?)))
    }

    /// Whether there was at least one case, and every case was run and passed.
    pub fn passed(&self) -> bool {
        !self.cases.is_empty()
            && self.stopped.is_none()
            && self.skipped.is_empty()
            && self.killed.is_empty()
            && self.failures().next().is_none()
    }

    /// Whether the caller asked to stop before the end.
    pub fn interrupted(&self) -> bool {
        matches!(self.stopped, Some(Stop::Interrupted))
    }

    fn add(&mut self, done: Done) {
        let Done { case, judged } = done;
        match judged {
            Judgement::Skipped => self.skipped.push(case),
            Judgement::Killed => self.killed.push(case),
            Judgement::Judged(Judged { finding, dismissed }) => {
                self.dismissed.extend(dismissed.then_some(case));
                self.cases.push((case, finding));
            }
        }
    }
}

/// A finding's verdict, or pass if there is none.
pub fn verdict(finding: &Option<Finding>) -> Verdict {
    finding
        .as_ref()
        .map_or(Verdict::Pass, |finding| finding.verdict)
}

/// Why a run did not begin. The cause is outside jaccl.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The build cannot be loaded.
    #[error(transparent)]
    Library(#[from] jaccl::Error),
    /// The level does not support the selection.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The selection leaves no case, and an empty check proves nothing.
    #[error(
        "the selection leaves no case{} for {variant}",
        .of.as_ref().map(|of| format!(" of {of}")).unwrap_or_default()
    )]
    Nothing {
        /// The variant's name.
        variant: String,
        /// A requested operation, or a flag with its value, that no case has, among
        /// others that some cases have.
        of: Option<String>,
    },
}

impl RunError {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        match self {
            RunError::Nothing { .. } => Some(
                "leave out a flag, or see `cargo xtask verify --help` for what there is".to_owned(),
            ),
            RunError::Library(_) | RunError::Selection(_) => None,
        }
    }
}

/// Runs sweeps.
pub struct Runner<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// The matrix to sweep, in place of those of verify's own rigs.
    pub given: Option<&'a GivenMatrix>,
    /// The number of groups at once.
    pub jobs: NonZeroUsize,
    /// Whether a case that hangs is the last one. Real devices can stay wedged, and then say
    /// nothing about the next case.
    pub stop_after_hang: bool,
    /// Starts the ranks; its stop flag ends them.
    pub launcher: &'a Launcher,
    /// Receives the progress of the sweep.
    pub progress: &'a dyn Progress,
}

/// The state that workers share: the cases still to run, and whether to continue.
struct Shared<'a, Work> {
    work: Mutex<Work>,
    done: Mutex<BTreeMap<usize, Vec<Done>>>,
    stop: Mutex<Option<Stop>>,
    stopped: AtomicBool,
    memory: Memory,
    count: Count<'a>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a, Work> Shared<'a, Work> {
    fn new(work: Work, count: Count<'a>) -> Self {
        Shared {
            work: Mutex::new(work),
            done: Mutex::default(),
            stop: Mutex::default(),
            stopped: AtomicBool::new(false),
            memory: Memory::of_this_machine(),
            count,
        }
    }

    /// Makes every worker stop before its next case. The first reason is kept; later ones
    /// are consequences of it.
    fn stop(&self, reason: Stop) {
        lock(&self.stop).get_or_insert(reason);
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    fn add(&self, place: usize, done: Done) {
        match &done.judged {
            Judgement::Judged(judged) => self.count.case(&done.case, judged.finding.as_ref()),
            Judgement::Skipped | Judgement::Killed => self.count.case(&done.case, None),
        }
        lock(&self.done).entry(place).or_default().push(done);
    }

    /// The outcome of all cases that were run, in the order of the work.
    fn outcome(self, mut outcome: Outcome, started: Instant) -> Outcome {
        let done = self
            .done
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for done in done.into_values().flatten() {
            outcome.add(done);
        }
        outcome.stopped = self
            .stop
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        outcome.took = started.elapsed();
        outcome
    }
}

impl Runner<'_> {
    /// The default number of groups at once: the ranks of a group, at least two, all
    /// spin, each on a processor of its own if possible.
    pub fn usual_jobs() -> NonZeroUsize {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        NonZeroUsize::new(processors / 4).unwrap_or(NonZeroUsize::MIN)
    }

    /// Runs the cases of a level that a selection keeps. If a run is interrupted or
    /// fails, its results until then are kept ([`Outcome::stopped`]).
    ///
    /// # Errors
    /// If no case is left, or the build cannot be loaded.
    pub fn sweep(
        &self,
        variant: &Variant,
        level: Level,
        selection: &Selection,
    ) -> Result<Outcome, RunError> {
        self.sweep_as(("Verifying", &variant.name()), variant, level, selection)
    }

    /// The same for a proof: with its own words for the progress, and without a note for
    /// each failure, since a proof expects some.
    ///
    /// # Errors
    /// As for [`Runner::sweep`].
    pub fn prove(
        &self,
        what: &str,
        variant: &Variant,
        selection: &Selection,
    ) -> Result<Outcome, RunError> {
        self.sweep_as(("Proving", what), variant, Level::Quick, selection)
    }

    fn sweep_as(
        &self,
        (verb, what): (&str, &str),
        variant: &Variant,
        level: Level,
        selection: &Selection,
    ) -> Result<Outcome, RunError> {
        let started = Instant::now();
        let features = self.programs.rank.features(&variant.build)?;
        let cases = self.cases(variant, level, selection, features)?;
        let nothing = |of| RunError::Nothing {
            variant: variant.name(),
            of,
        };
        if cases.is_empty() {
            return Err(nothing(None));
        }
        let mut named = selection.op.iter().filter(|op| op.is_in(features));
        if let Some(op) = named.find(|op| !cases.iter().any(|case| case.op == **op)) {
            return Err(nothing(Some(op.to_string())));
        }
        if let Some(unused) = selection.unused(&cases) {
            return Err(nothing(Some(unused)));
        }
        let outcome = self.outcome(variant, cases.len());
        let bench = self.bench(variant, features);
        let count = Count::begin(
            self.progress,
            (verb, what),
            Some(cases.len()),
            verb != "Proving",
        );
        let shared = Shared::new(by_setting(cases).into_iter().enumerate(), count);
        self.work(|| {
            while shared.goes_on() {
                let Some((place, cases)) = lock(&shared.work).next() else {
                    return;
                };
                self.sweep_setting(&bench, &shared, place, cases);
            }
        });
        Ok(shared.outcome(outcome, started))
    }

    /// Runs sequences, each with the next seed, until the caller asks to stop or the time
    /// is over. A stop is the usual end and does not count as an interruption.
    ///
    /// # Errors
    /// If the selection names a value that no sequence has, or the build cannot be
    /// loaded.
    pub fn soak(
        &self,
        variant: &Variant,
        selection: &Selection,
        seed: u64,
        until: Option<Instant>,
    ) -> Result<Outcome, RunError> {
        selection.check_soak()?;
        let selection = &self.selection(variant, selection)?;
        let started = Instant::now();
        let features = self.programs.rank.features(&variant.build)?;
        let bench = self.bench(variant, features);
        let count = Count::begin(self.progress, ("Soaking", &variant.name()), None, true);
        let shared = Shared::new((seed..).enumerate(), count);
        let over = || until.is_some_and(|until| Instant::now() > until);
        self.work(|| {
            while shared.goes_on() && !over() {
                let Some((place, seed)) = lock(&shared.work).next() else {
                    return;
                };
                let case = soak_case(seed, selection);
                self.judge_next(&shared, place, case, || self.judge_alone(&bench, &case));
            }
        });
        let mut outcome = shared.outcome(self.outcome(variant, 0), started);
        outcome.planned = outcome.cases.len() + outcome.skipped.len() + outcome.killed.len();
        if outcome.interrupted() {
            outcome.stopped = None;
        }
        Ok(outcome)
    }

    /// A selection of cases over the matrix, if one was given.
    fn selection(&self, variant: &Variant, wanted: &Selection) -> Result<Selection, RunError> {
        let Some(given) = self.given else {
            return Ok(wanted.clone());
        };
        match given.refuses(wanted) {
            None => Ok(given.select(wanted)),
            of => Err(RunError::Nothing {
                variant: variant.name(),
                of,
            }),
        }
    }

    /// The cases of a level that a selection keeps. Conditions have matrices of their own.
    pub(crate) fn cases(
        &self,
        variant: &Variant,
        level: Level,
        selection: &Selection,
        features: jaccl::Features,
    ) -> Result<Vec<Case>, RunError> {
        let selection = self.selection(variant, selection)?;
        let mut cases = sweep::cases(level, &selection, features);
        cases.retain(|case| self.given.is_none() || !case.op.is_condition());
        Ok(cases)
    }

    fn outcome(&self, variant: &Variant, planned: usize) -> Outcome {
        Outcome {
            given: self.given.cloned(),
            ..Outcome::new(variant, planned)
        }
    }

    /// Runs the same work in as many threads as there are jobs.
    fn work(&self, work: impl Fn() + Sync) {
        thread::scope(|scope| {
            for _ in 0..self.jobs.get() {
                scope.spawn(&work);
            }
        });
    }

    pub(crate) fn bench<'b>(
        &'b self,
        variant: &'b Variant,
        features: jaccl::Features,
    ) -> Bench<'b> {
        Bench {
            programs: self.programs,
            build: &variant.build,
            features,
            given: self.given,
            launcher: self.launcher,
        }
    }

    /// Runs the cases of one setting, in one group as long as nothing fails.
    fn sweep_setting<Work>(
        &self,
        bench: &Bench<'_>,
        shared: &Shared<'_, Work>,
        place: usize,
        cases: Vec<Case>,
    ) {
        let mut group: Option<Group> = None;
        let mut previous = None;
        for case in cases {
            if !shared.goes_on() {
                return;
            }
            self.judge_next(shared, place, case, || {
                if case.op.is_condition() || case.op == Op::Init {
                    self.judge_alone(bench, &case)
                } else {
                    let judged = self.judge(bench, &mut group, previous, &case);
                    if judged.is_err() {
                        group = None;
                    }
                    judged
                }
            });
            previous = group.is_some().then_some(case);
        }
    }

    /// Judges a case once there is memory for it, and stops every worker if it cannot be
    /// judged.
    fn judge_next<Work>(
        &self,
        shared: &Shared<'_, Work>,
        place: usize,
        case: Case,
        judge: impl FnOnce() -> Result<Judged, Unjudged>,
    ) {
        let memory = match shared.memory.promise(case.memory(), self.launcher.cancel()) {
            Ok(memory) => memory,
            Err(Interrupted) => return shared.stop(Stop::Interrupted),
        };
        let judged = match memory {
            None => Judgement::Skipped,
            Some(_promise) => match judge() {
                Ok(judged) => Judgement::Judged(judged),
                Err(Unjudged::Killed) => Judgement::Killed,
                Err(Unjudged::Group(error)) => return shared.stop(error.into()),
            },
        };
        let hung = judged.is_hang();
        shared.add(place, Done { case, judged });
        if hung && self.stop_after_hang {
            shared.stop(GroupError::AfterHang.into());
        }
    }

    fn judge_alone(&self, bench: &Bench<'_>, case: &Case) -> Result<Judged, Unjudged> {
        let Some(suspected) = bench.alone(case, Patience::Short)? else {
            return Ok(Judged::default());
        };
        self.confirm(bench, case, suspected, None)
    }

    /// Runs a case in a group. The group is discarded when something fails.
    fn judge<'b>(
        &self,
        bench: &Bench<'b>,
        group: &mut Option<Group>,
        previous: Option<Case>,
        case: &Case,
    ) -> Result<Judged, Unjudged> {
        if group.is_none() {
            match bench.join(case.setting, Patience::Short)? {
                Ok(joined) => *group = Some(joined),
                Err(suspected) => return self.confirm(bench, case, suspected, None),
            }
        }
        let Some(ranks) = group else {
            unreachable!("there is a group by now")
        };
        match bench.perform(ranks, case, Patience::Short)? {
            None => Ok(Judged::default()),
            // Wrong data that no earlier case can have caused.
            Some(finding) if ranks.in_step() && case.op != Op::Sequence => {
                Ok(Judged::found(finding))
            }
            Some(suspected) => {
                *group = None;
                self.confirm(bench, case, suspected, previous)
            }
        }
    }

    /// Runs a suspect again alone, with more time. A failure other than a hang counts
    /// even if it does not recur. A hang that does not recur came from slowness, or from
    /// the case before.
    fn confirm(
        &self,
        bench: &Bench<'_>,
        case: &Case,
        suspected: Finding,
        previous: Option<Case>,
    ) -> Result<Judged, Unjudged> {
        if let Some(finding) = bench.alone(case, Patience::Long)? {
            return Ok(Judged::found(finding));
        }
        if let Some(previous) = previous
            && let Ok(mut group) = bench.join(case.setting, Patience::Long)?
            && bench
                .perform(&mut group, &previous, Patience::Long)?
                .is_none()
            && let Some(mut finding) = bench.perform(&mut group, case, Patience::Long)?
        {
            finding.detail.push_str(&format!("; only after {previous}"));
            return Ok(Judged::found(finding));
        }
        Ok(match suspected.verdict {
            Verdict::Hang => Judged {
                finding: None,
                dismissed: true,
            },
            _ => Judged::found(Finding {
                detail: format!("{}; not again when run alone", suspected.detail),
                ..suspected
            }),
        })
    }
}

/// A case that has ended.
struct Done {
    case: Case,
    judged: Judgement,
}

enum Judgement {
    Judged(Judged),
    /// There is not enough memory for it.
    Skipped,
    /// Something outside this program killed a rank.
    Killed,
}

impl Judgement {
    fn is_hang(&self) -> bool {
        let Judgement::Judged(judged) = self else {
            return false;
        };
        verdict(&judged.finding) == Verdict::Hang
    }
}

#[derive(Default)]
struct Judged {
    finding: Option<Finding>,
    dismissed: bool,
}

impl Judged {
    fn found(finding: Finding) -> Self {
        Judged {
            finding: Some(finding),
            dismissed: false,
        }
    }
}

/// Cases come sorted by setting.
fn by_setting(cases: Vec<Case>) -> Vec<Vec<Case>> {
    let mut settings: Vec<Vec<Case>> = Vec::new();
    for case in cases {
        match settings.last_mut() {
            Some(last) if last[0].setting == case.setting => last.push(case),
            _ => settings.push(vec![case]),
        }
    }
    settings
}

/// The case of a soak's seed: each field has one of the selection's values, or else the
/// value drawn from the seed.
fn soak_case(seed: u64, selection: &Selection) -> Case {
    let drawn = sequence::setting(seed);
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    fn pick<T: Copy>(random: &mut fastrand::Rng, wanted: &[T], drawn: T) -> T {
        random.choice(wanted).copied().unwrap_or(drawn)
    }
    let setting = Setting {
        backend: pick(&mut random, &selection.backend, drawn.backend),
        ranks: pick(&mut random, &selection.ranks, drawn.ranks),
        wires: pick(&mut random, &selection.wires, drawn.wires),
        frames: pick(&mut random, &selection.frames, drawn.frames),
    };
    Case {
        setting,
        op: Op::Sequence,
        bytes: pick(&mut random, &selection.bytes, sweep::SOAK_LONGEST),
        dtype: Dtype::UInt8,
        direction: Direction::All,
        in_place: false,
        seed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Backend, Frames};

    #[test]
    fn a_soak_uses_every_value_that_was_asked_for_and_no_other() {
        let flags = "--backend mesh,ring --ranks 2,5 --wires 4 --bytes 1000,2000 --frames small";
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        let selection = Selection::parse(&flags).expect("a selection");
        let cases: Vec<Case> = (1..200).map(|seed| soak_case(seed, &selection)).collect();
        assert_eq!(selection.unused(&cases), None);
        for Case { setting, bytes, .. } in cases {
            assert!([2, 5].contains(&setting.ranks) && [1000, 2000].contains(&bytes));
            assert_eq!((setting.wires, setting.frames), (4, Frames::Small));
        }
        // Values that are left out are drawn, and the same seed draws the same values.
        let free: Vec<Case> = (1..200)
            .map(|seed| soak_case(seed, &Selection::default()))
            .collect();
        for backend in Backend::ALL {
            assert!(free.iter().any(|case| case.setting.backend == backend));
        }
        assert_eq!(free[0], soak_case(1, &Selection::default()));
    }
}
