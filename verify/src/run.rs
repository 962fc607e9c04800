//! The sweep: cases in groups, suspects again alone, results in order.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use jaccl::Dtype;
use launch::Launcher;

use crate::{
    args::{Level, Selection},
    attempt::{Bench, Patience},
    case::{Case, Direction, Op, Setting},
    group::{Group, GroupError, Programs},
    progress::Progress,
    sequence, sweep,
    verdict::{Finding, Verdict},
};

/// A build of jaccl under a name.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The pin.
    pub mlx: String,
    /// The series, as `stock` or `patched`.
    pub series: String,
    /// The shim of the build.
    pub library: PathBuf,
    /// The build's manifest, for the report.
    pub manifest: serde_json::Value,
}

impl Variant {
    /// As people call it.
    pub fn name(&self) -> String {
        format!("MLX {} ({})", self.mlx, self.series)
    }
}

/// What came of a variant.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which.
    pub variant: Variant,
    /// Every case that was run, in order, and what was found if it did not pass.
    pub cases: Vec<(Case, Option<Finding>)>,
    /// Cases that were left out, for want of memory.
    pub skipped: Vec<Case>,
    /// Hangs that did not come again when their case was run alone, with more time.
    pub dismissed: Vec<Case>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    fn new(variant: &Variant) -> Self {
        Outcome {
            variant: variant.clone(),
            cases: Vec::new(),
            skipped: Vec::new(),
            dismissed: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// How many cases ended in each way.
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

    /// Whether every case was run and passed, and there was one.
    pub fn passed(&self) -> bool {
        !self.cases.is_empty() && self.skipped.is_empty() && self.failures().next().is_none()
    }
}

/// A finding's verdict, or pass.
pub fn verdict(finding: &Option<Finding>) -> Verdict {
    finding
        .as_ref()
        .map_or(Verdict::Pass, |finding| finding.verdict)
}

/// A run that could not be made; nothing of jaccl's.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A group could not be started, or the caller asked to stop.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The build cannot be loaded.
    #[error(transparent)]
    Library(#[from] jaccl::Error),
    /// An empty check proves nothing.
    #[error(
        "the selection leaves no case{} for {variant}; leave out a flag, or see `cargo xtask verify --help` for what there is",
        .op.map(|op| format!(" of {op}")).unwrap_or_default()
    )]
    Nothing {
        /// The variant's name.
        variant: String,
        /// What was asked for by name, among others that have cases.
        op: Option<Op>,
    },
}

impl RunError {
    /// Whether the caller asked for it.
    pub fn interrupted(&self) -> bool {
        matches!(self, RunError::Group(GroupError::Interrupted(_)))
    }
}

/// What runs a sweep.
pub struct Runner<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// Groups at once.
    pub jobs: NonZeroUsize,
    /// Starts the ranks; its wish to stop ends them.
    pub launcher: &'a Launcher,
    /// Who is told.
    pub progress: &'a Progress,
}

impl Runner<'_> {
    /// Groups at once where nobody says: ranks spin, two and more of them, each on a
    /// processor if it can get one.
    pub fn usual_jobs() -> NonZeroUsize {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        NonZeroUsize::new(processors / 4).unwrap_or(NonZeroUsize::MIN)
    }

    /// Runs the cases of a level that a selection leaves.
    ///
    /// # Errors
    /// When nothing is left, the build cannot be loaded, groups cannot be started, or
    /// the caller asked to stop.
    pub fn sweep(
        &self,
        variant: &Variant,
        level: Level,
        selection: &Selection,
    ) -> Result<Outcome, RunError> {
        let started = Instant::now();
        let features = jaccl::Library::open(&variant.library)?.features();
        let cases = sweep::cases(level, selection, features);
        let nothing = |op| RunError::Nothing {
            variant: variant.name(),
            op,
        };
        if cases.is_empty() {
            return Err(nothing(None));
        }
        let mut named = selection.op.iter().filter(|op| op.is_in(features));
        if let Some(op) = named.find(|op| !cases.iter().any(|case| case.op == **op)) {
            return Err(nothing(Some(*op)));
        }
        let (cases, skipped) = within_memory(cases);
        self.progress.begin(&variant.name(), cases.len());
        let bench = self.bench(variant, features);
        let settings = by_setting(cases);
        let queue = Mutex::new(settings.into_iter().enumerate());
        let results = Mutex::new(BTreeMap::new());
        let work = || -> Result<(), GroupError> {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((index, cases)) = next else {
                    return Ok(());
                };
                let done = self.sweep_setting(&bench, cases)?;
                results
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(index, done);
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.get()).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().expect("a worker does not panic"))
        })?;
        self.progress.end();
        let mut outcome = Outcome {
            skipped,
            took: started.elapsed(),
            ..Outcome::new(variant)
        };
        for done in results
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .into_values()
        {
            outcome.cases.extend(done.cases);
            outcome.dismissed.extend(done.dismissed);
        }
        Ok(outcome)
    }

    /// Runs sequences, each with the next seed, until the caller asks to stop or the
    /// time is over.
    ///
    /// # Errors
    /// As for [`Runner::sweep`], save that being asked to stop is the usual end.
    pub fn soak(
        &self,
        variant: &Variant,
        selection: &Selection,
        seed: u64,
        until: Option<Instant>,
    ) -> Result<Outcome, RunError> {
        let started = Instant::now();
        let features = jaccl::Library::open(&variant.library)?.features();
        let bench = self.bench(variant, features);
        let mut outcome = Outcome::new(variant);
        self.progress.begin(&variant.name(), 0);
        for seed in seed.. {
            if until.is_some_and(|until| Instant::now() > until) {
                break;
            }
            let case = soak_case(seed, selection);
            match self.judge_alone(&bench, &case) {
                Ok(Judged { finding, dismissed }) => {
                    self.progress.case(&case, finding.as_ref());
                    outcome.dismissed.extend(dismissed.then_some(case));
                    outcome.cases.push((case, finding));
                }
                Err(GroupError::Interrupted(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.progress.end();
        outcome.took = started.elapsed();
        Ok(outcome)
    }

    fn bench<'b>(&'b self, variant: &'b Variant, features: jaccl::Features) -> Bench<'b> {
        Bench {
            programs: self.programs,
            library: &variant.library,
            features,
            launcher: self.launcher,
        }
    }

    /// The cases of one setting, in one group for as long as nothing fails.
    fn sweep_setting(&self, bench: &Bench<'_>, cases: Vec<Case>) -> Result<Done, GroupError> {
        let mut done = Done::default();
        let mut group: Option<Group> = None;
        let mut previous = None;
        for case in cases {
            let judged = if case.op.is_condition() || case.op == Op::Init {
                self.judge_alone(bench, &case)?
            } else {
                self.judge(bench, &mut group, previous, &case)?
            };
            previous = group.is_some().then_some(case);
            self.progress.case(&case, judged.finding.as_ref());
            done.dismissed.extend(judged.dismissed.then_some(case));
            done.cases.push((case, judged.finding));
        }
        Ok(done)
    }

    fn judge_alone(&self, bench: &Bench<'_>, case: &Case) -> Result<Judged, GroupError> {
        let Some(suspected) = bench.alone(case, Patience::Short)? else {
            return Ok(Judged::default());
        };
        self.confirm(bench, case, suspected, None)
    }

    /// A case in a group, which is given up when something fails.
    fn judge<'b>(
        &self,
        bench: &Bench<'b>,
        group: &mut Option<Group>,
        previous: Option<Case>,
        case: &Case,
    ) -> Result<Judged, GroupError> {
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
            // Wrong data, and no case before can be blamed for it.
            Some(finding) if ranks.in_step() && case.op != Op::Sequence => {
                Ok(Judged::found(finding))
            }
            Some(suspected) => {
                *group = None;
                self.confirm(bench, case, suspected, previous)
            }
        }
    }

    /// Tries a suspect again alone, with more time. What was not a hang happened,
    /// whether it comes again or not; a hang that does not come again was slowness, or
    /// the doing of the case before.
    fn confirm(
        &self,
        bench: &Bench<'_>,
        case: &Case,
        suspected: Finding,
        previous: Option<Case>,
    ) -> Result<Judged, GroupError> {
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

#[derive(Default)]
struct Done {
    cases: Vec<(Case, Option<Finding>)>,
    dismissed: Vec<Case>,
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

/// Leaves out what this machine has not the memory for now. Where the system does not
/// say how much there is, nothing is left out.
fn within_memory(cases: Vec<Case>) -> (Vec<Case>, Vec<Case>) {
    let available = available_memory().unwrap_or(usize::MAX);
    cases
        .into_iter()
        .partition(|case| case.memory() < available)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kilobytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    kilobytes.checked_mul(1024)
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

/// What a seed makes of a soak, where the selection leaves it free.
fn soak_case(seed: u64, selection: &Selection) -> Case {
    let drawn = sequence::setting(seed);
    let pick = |wanted: &[usize], drawn: usize| match wanted {
        [] => drawn,
        wanted => wanted[drawn % wanted.len()],
    };
    let setting = Setting {
        backend: *selection.backend.first().unwrap_or(&drawn.backend),
        ranks: pick(&selection.ranks, drawn.ranks),
        wires: pick(&selection.wires, drawn.wires),
        frames: *selection.frames.first().unwrap_or(&drawn.frames),
    };
    Case {
        setting,
        op: Op::Sequence,
        bytes: *selection.bytes.first().unwrap_or(&sweep::SOAK_LONGEST),
        dtype: Dtype::UInt8,
        direction: Direction::All,
        in_place: false,
        seed,
    }
}
