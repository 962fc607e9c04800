//! The run: launch by launch.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use launch::Launcher;
use rail_matrix::{Backend, Frames};
use remote::Seat;
use tempfile::TempDir;

use crate::{
    cabling::{Cabling, Plugged},
    drift,
    engine::{Engine, EngineProgram},
    hosts::job_there,
    judge::Judge,
    launch::{LaunchError, Outcome, RankStart, Transcript, launch},
    launched::{Launched, Measurement},
    lines::{self, Head},
    meter::{Carried, Meter},
    plan::{AfterHang, Launch, Plan, Settings},
    progress::Progress,
    protocol::{After, Event, Job},
    reference::ReferenceError,
    report::{BuildInfo, Report, Runs, SCHEMA},
    sweep::{Cell, Joining, PlannedCell},
    verdict::{Judgement, Verdict},
    workload::Workload,
};

/// The name of the file with a cell's matrix.
const DEVICES: &str = "devices.json";

/// The resources that execute a plan.
pub struct Harness<'a> {
    /// The programs, one for each engine of the plan.
    pub engines: Vec<EngineProgram>,
    /// The cables.
    pub cabling: &'a dyn Cabling,
    /// The MLX that the report is about.
    pub build: BuildInfo,
    /// Known problems of the rig, for the report.
    pub warnings: Vec<String>,
    /// Starts the ranks; its stop flag ends the run.
    pub launcher: &'a Launcher,
    /// Receives the progress of the run.
    pub progress: Progress,
    /// Launches of an earlier run of this plan, which are not repeated
    /// ([`Resume::launched`](lines::Resume::launched)).
    pub resumed: Vec<Launched>,
    /// Keeps a line of JSON for each launch as it ends. Its errors become warnings.
    pub record: &'a dyn Fn(&str) -> io::Result<()>,
}

/// Why a run has no results, or stopped before its last cell. A failure in a cell is the
/// cell's verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Job files cannot be written.
    #[error("cannot write temporary files to {}", path.display())]
    Scratch {
        /// The folder or file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Ranks could not be started, or the caller asked to stop.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The reference is unusable.
    #[error("the check of tokens is void")]
    Reference(#[from] ReferenceError),
    /// A cell hung, and the settings say to stop then.
    #[error("{cell} hung, and the next cells would use the same devices")]
    AfterHang {
        /// The cell.
        cell: Cell,
    },
    /// A rank runs another MLX than its engine was made for.
    #[error(
        "rank {rank} of {cell} has loaded build {loaded}, and the report is about build {expected}"
    )]
    OtherBuild {
        /// The cell to be measured.
        cell: Cell,
        /// The rank.
        rank: usize,
        /// The key of the build that it has loaded.
        loaded: String,
        /// The key of the build that its engine was made for.
        expected: String,
    },
}

impl RunError {
    /// Whether the caller asked to stop.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Launch(LaunchError::Interrupted(_)))
    }

    /// The remedy, if there is one.
    pub fn help(&self) -> Option<String> {
        let fixed = match self {
            Self::Scratch { .. } => Some("free some space there, or set TMPDIR"),
            Self::Reference(error) => error.help(),
            Self::AfterHang { .. } => Some(
                "the devices may be wedged: run `cargo xtask preflight --rig`, pull the cables and plug them in again, or restart the nodes; `--after-hang continue` \
                 measures the other cells all the same",
            ),
            Self::OtherBuild { cell, .. } => Some(match cell.engine {
                Engine::Rust => {
                    "another command has compiled the rank for another build meanwhile; run this \
                     one again"
                }
                Engine::MlxLm => {
                    "the wheel in the engine's environment is of another pin or series; give the \
                     environment of this one"
                }
            }),
            Self::Launch(error) => return error.help(),
        };
        fixed.map(str::to_owned)
    }
}

/// An error and its causes in one line.
fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// The measurements of a run.
#[derive(Debug)]
pub struct Measured {
    /// Every cell of the plan. A cell that the run did not reach is
    /// [`Verdict::NotRun`].
    pub report: Report,
    /// Why the run stopped before its last cell, if it did.
    pub stopped: Option<RunError>,
}

/// Executes a plan, launch by launch ([`Plan::schedule`]), each with fresh cables and fresh
/// ranks. A cell that fails does not keep the next ones from running, and is not launched
/// again. If the run itself cannot continue, or the caller asks to stop, the measurements until
/// then are kept: see [`Measured::stopped`].
///
/// When this returns, no process it started is alive and no cable is left.
///
/// # Errors
/// When nothing was measured, not even the first reference.
///
/// # Panics
/// An engine of the plan has no program.
pub fn run(plan: &Plan, harness: &Harness) -> Result<Measured, RunError> {
    let schedule = plan.schedule();
    let mut bench = Bench::new(plan, harness);
    let progress = &harness.progress;
    progress.begin(schedule.len(), plan.workloads.len());
    let mut launches = schedule.into_iter();
    let stopped = launches.try_for_each(|launch| bench.take(launch)).err();
    progress.end();
    match stopped {
        Some(why) if !bench.has_begun() => Err(why),
        stopped => Ok(bench.conclude(stopped)),
    }
}

struct Bench<'a> {
    plan: &'a Plan,
    harness: &'a Harness<'a>,
    head: Head,
    /// Of each engine and workload the reference, if it is a process of its own, then its
    /// cells.
    cells: Vec<Measurement<'a>>,
    judge: Judge<'a>,
    resumed: Vec<Launched>,
    warnings: Vec<String>,
    /// Whether ranks have been started.
    started: bool,
}

impl<'a> Bench<'a> {
    fn new(plan: &'a Plan, harness: &'a Harness) -> Self {
        let mut cells = Vec::new();
        for reference in plan.groups() {
            if plan.checks.is_reference(reference) {
                cells.push(Measurement::of_reference(reference));
            }
            let mine = plan.cells.iter();
            let mine = mine.filter(|it| it.cell.own_reference() == reference);
            cells.extend(mine.map(Measurement::of));
        }
        Self {
            plan,
            harness,
            head: Head::new(plan, &harness.build),
            cells,
            judge: Judge::new(plan, &harness.build.key),
            resumed: harness.resumed.clone(),
            warnings: harness.warnings.clone(),
            started: false,
        }
    }

    fn has_begun(&self) -> bool {
        self.cells.iter().any(Measurement::has_begun)
    }

    fn conclude(mut self, stopped: Option<RunError>) -> Measured {
        let Self { plan, harness, .. } = self;
        let settings = &plan.settings;
        let cells: Vec<_> = self.cells.iter().map(|it| it.report(settings)).collect();
        self.warnings.extend(drift::warnings(&cells));
        let interrupted = stopped.as_ref().is_some_and(RunError::is_interrupted);
        let failure = stopped.as_ref().filter(|why| !why.is_interrupted());
        let report = Report {
            schema: SCHEMA,
            build: harness.build.clone(),
            nodes: Vec::new(),
            rig: plan.rig.clone(),
            given: plan.given.clone(),
            model: settings.model.clone(),
            runs: Runs::of(settings),
            cells,
            demanded: plan.checks.demanded().iter().copied().collect(),
            against: None,
            warnings: self.warnings,
            interrupted,
            error: failure.map(|why| in_full(why)),
        };
        Measured { report, stopped }
    }

    /// Takes a launch of the schedule: from an earlier run if it has it.
    fn take(&mut self, launch: Launch) -> Result<(), RunError> {
        let at = self.cells.iter().position(|it| it.cell == launch.cell);
        let at = at.expect("every launch is of a cell of the plan");
        if self.cells[at].has_failed() {
            self.harness.progress.skip();
            return Ok(());
        }
        let is_it = |it: &Launched| (it.cell, it.round) == (launch.cell, launch.round);
        let (launched, is_new) = match self.resumed.iter().position(is_it) {
            Some(known) => (Ok(self.resumed.swap_remove(known)), false),
            None => (self.start(launch, self.cells[at].planned())?, true),
        };
        let settings = &self.plan.settings;
        let launched = match launched {
            Ok(launched) => launched,
            Err(why) => {
                let report = self.cells[at].end(Judgement::not_run(why), settings);
                self.harness.progress.end_launch(&report);
                return Ok(());
            }
        };
        let judgement = self.judge.judge(launch, &launched.outcome)?;
        let cell = &mut self.cells[at];
        let not_done = launched.not_done.iter();
        self.warnings
            .extend(not_done.map(|what| format!("{}: {what}", launch.cell)));
        let report = cell.add(launched.clone(), judgement, settings);
        if is_new {
            let line = lines::line(&self.head, &report, &launched);
            if let Err(error) = (self.harness.record)(&line) {
                let name = lines::NAME;
                self.warnings
                    .push(format!("{name} lacks a launch of {}: {error}", launch.cell));
            }
        }
        self.harness.progress.end_launch(&report);
        let hung = report.verdict == Verdict::Hang;
        match hung && settings.after_hang == AfterHang::Stop {
            true => Err(RunError::AfterHang { cell: launch.cell }),
            false => Ok(()),
        }
    }

    /// Waits as long as the settings say, so that a machine can cool down.
    fn pause(&mut self) -> Result<(), RunError> {
        const LOOK: Duration = Duration::from_millis(50);
        let cancel = self.harness.launcher.cancel();
        let until = Instant::now() + self.plan.settings.delay;
        while self.started && Instant::now() < until {
            cancel.check().map_err(LaunchError::from)?;
            thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
        self.started = true;
        Ok(())
    }

    /// Starts the ranks of a cell, or says why its cables could not be plugged in.
    fn start(
        &mut self,
        launch: Launch,
        planned: Option<&PlannedCell>,
    ) -> Result<Result<Launched, String>, RunError> {
        self.pause()?;
        let Launch { cell, round, .. } = launch;
        let after = self.judge.after(launch);
        self.harness.progress.begin_cell(cell);
        let scratch = scratch()?;
        let Some(PlannedCell { joining, .. }) = planned else {
            // Where rank 0 of the cells is, so that both have the same processor.
            let hosts = self.harness.cabling.hosts();
            let first = self.plan.cells.first().map(|it| &*it.joining.nodes[0]);
            let seat = hosts
                .zip(first)
                .map(|(hosts, node)| hosts.seat(cell.engine, node));
            let env = shared_env(cell.workload, &self.plan.settings);
            let starts = [start(self.job(launch, 0, 1, after), env, seat)];
            let outcome = self.launch(cell, &starts, scratch.path(), || 0, |_, _| {})?;
            return Ok(Ok(Launched {
                cell,
                round,
                outcome,
                carried: Carried::default(),
                directions: Vec::new(),
                not_done: Vec::new(),
            }));
        };
        let cables = match self.harness.cabling.plug(&joining.rig) {
            Ok(cables) => cables,
            Err(why) => {
                let why = in_full(&*why);
                return Ok(Err(format!("the cables could not be plugged in: {why}")));
            }
        };
        let starts = self.starts(launch, joining, &*cables, scratch.path(), &after)?;
        let mut meter = Meter::new(&*cables, &joining.nodes);
        let moved = || cables.moved();
        let outcome = self.launch(cell, &starts, scratch.path(), moved, |rank, event| {
            meter.hear(rank, event);
        })?;
        Ok(Ok(Launched {
            cell,
            round,
            outcome,
            carried: meter.read(),
            directions: cables.counters(),
            not_done: cables.not_done(),
        }))
    }

    /// The ranks, each on its node, with the environment that jaccl reads
    /// (`Config::from_env` in `jaccl.cpp`).
    fn starts(
        &self,
        launch: Launch,
        joining: &Joining,
        cables: &dyn Plugged,
        scratch: &Path,
        after: &After,
    ) -> Result<Vec<RankStart>, RunError> {
        let cell = launch.cell;
        let settings = &self.plan.settings;
        let hosts = self.harness.cabling.hosts();
        let matrix = serde_json::to_string(&joining.devices);
        let matrix = matrix.expect("a matrix is arrays of strings");
        let devices = scratch.join(DEVICES);
        fs::write(&devices, &matrix).map_err(|source| RunError::Scratch {
            path: devices.clone(),
            source,
        })?;
        let coordinator = match hosts {
            None => cables.coordinator(),
            Some(hosts) => (hosts.coordinator(&joining.nodes[0])).map_err(LaunchError::from)?,
        };

        let mut joined = vec![("MLX_JACCL_COORDINATOR".to_owned(), coordinator)];
        // jaccl checks only whether these are set, not their values.
        if cell.backend == Some(Backend::Ring) {
            joined.push(("MLX_JACCL_RING".to_owned(), "1".to_owned()));
        }
        if cell.workload.frames == Frames::Big {
            joined.push(("JACCL_BIG_FRAMES".to_owned(), "1".to_owned()));
        }
        let nodes = joining.nodes.iter().enumerate();
        let starts = nodes.map(|(rank, node)| {
            let mut env = shared_env(cell.workload, settings);
            env.extend(cables.env(node));
            env.push(("MLX_RANK".to_owned(), rank.to_string()));
            env.extend(joined.iter().cloned());
            let mut seat = hosts.map(|hosts| hosts.seat(cell.engine, node));
            let devices = match &mut seat {
                None => devices.display().to_string(),
                Some(seat) => seat.add(DEVICES, matrix.clone()),
            };
            env.push(("MLX_IBV_DEVICES".to_owned(), devices));
            let job = self.job(launch, rank, joining.nodes.len(), after.clone());
            start(job, env, seat)
        });
        Ok(starts.collect())
    }

    fn job(&self, launch: Launch, rank: usize, ranks: usize, after: After) -> Job {
        let Launch { cell, repeat, .. } = launch;
        let settings = &self.plan.settings;
        Job {
            repeat,
            after,
            split: launch.split(settings),
            ..settings.job(cell.workload, cell.strategy, (rank, ranks))
        }
    }

    /// Launches the ranks of a cell and makes sure that they run the build that their
    /// engine was made for.
    fn launch(
        &self,
        cell: Cell,
        starts: &[RankStart],
        scratch: &Path,
        moved: impl Fn() -> u64,
        mut listen: impl FnMut(usize, &Event),
    ) -> Result<Outcome, RunError> {
        let Harness {
            engines,
            launcher,
            progress,
            ..
        } = self.harness;
        let mut engines = engines.iter();
        let engine = engines.find(|it| it.engine == cell.engine);
        let engine = engine.expect("every engine of the plan has a program");
        let outcome = launch(
            launcher,
            &engine.program,
            starts,
            scratch,
            self.plan.settings.limits,
            moved,
            |rank, event| {
                listen(rank, event);
                progress.hear(cell, rank, event);
            },
        )?;
        check_build(cell, engine, &outcome)?;
        Ok(outcome)
    }
}

/// Refuses ranks that run another build than their engine was made for.
pub(crate) fn check_build(
    cell: Cell,
    engine: &EngineProgram,
    outcome: &Outcome,
) -> Result<(), RunError> {
    let builds = outcome.transcripts.iter().map(Transcript::build);
    let other = |(rank, loaded): (usize, Option<&str>)| Some((rank, loaded?.to_owned()));
    let mut others = builds.enumerate().filter_map(other);
    match others.find(|(_, loaded)| *loaded != engine.build) {
        None => Ok(()),
        Some((rank, loaded)) => Err(RunError::OtherBuild {
            cell,
            rank,
            loaded,
            expected: engine.build.clone(),
        }),
    }
}

/// What every rank of a cell gets, with cables or without. MLX's own setting is always
/// written, so that none is taken over from the caller.
pub(crate) fn shared_env(workload: Workload, settings: &Settings) -> Vec<(String, String)> {
    let fast = u8::from(workload.fast_synch).to_string();
    let env = settings.env.iter();
    env.map(|(name, value)| (name.clone(), value.clone()))
        .chain([("MLX_METAL_FAST_SYNCH".to_owned(), fast)])
        .collect()
}

/// The start of a rank, with the job as it is at its place.
pub(crate) fn start(job: Job, env: Vec<(String, String)>, seat: Option<Seat>) -> RankStart {
    let job = match &seat {
        None => job,
        Some(seat) => job_there(seat, job),
    };
    RankStart { job, env, seat }
}

pub(crate) fn scratch() -> Result<TempDir, RunError> {
    tempfile::Builder::new()
        .prefix("rail-bench-")
        .tempdir()
        .map_err(|source| RunError::Scratch {
            path: std::env::temp_dir(),
            source,
        })
}
