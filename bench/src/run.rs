//! The run: the reference, then cell by cell.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use launch::Launcher;
use rail_matrix::{Backend, Frames};
use tempfile::TempDir;

use crate::{
    cabling::{Cabling, Plugged},
    engine::{Engine, EngineProgram},
    hosts::Seat,
    launch::{LaunchError, Outcome, RankStart, Transcript, launch},
    meter::Meter,
    plan::{AfterHang, Plan, Settings},
    progress::Progress,
    protocol::{Event, Job},
    report::{BuildInfo, CellReport, Report, SCHEMA},
    sweep::{Cell, Joining, PlannedCell},
    verdict::{Judgement, Reference, ReferenceError, Verdict},
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
                "the devices may be wedged: run `cargo xtask preflight` on emulated cables, pull \
                 the cables and plug them in again, or restart the nodes; `--after-hang continue` \
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
    /// Every cell of the plan. A cell that the run did not reach is [`Verdict::NotRun`].
    pub report: Report,
    /// Why the run stopped before its last cell, if it did.
    pub stopped: Option<RunError>,
}

/// Executes a plan: for each engine the reference on one process, then every cell, each with
/// fresh cables and fresh ranks. A cell that fails does not keep the next ones from running. If the
/// run itself cannot continue, or the caller asks to stop, the measurements until then
/// are kept: see [`Measured::stopped`].
///
/// When this returns, no process it started is alive and no cable is left.
///
/// # Errors
/// When nothing was measured, not even the first reference.
///
/// # Panics
/// An engine of the plan has no program.
pub fn run(plan: &Plan, harness: &Harness) -> Result<Measured, RunError> {
    let bench = Bench { plan, harness };
    harness
        .progress
        .begin(plan.cells.len() + plan.engines.len());
    let mut cells = Vec::new();
    let mut warnings = harness.warnings.clone();
    let mut stopped: Option<RunError> = None;
    let not_run = || Judgement::not_run("the run stopped before it was measured".to_owned());
    for &engine in &plan.engines {
        let mut reference = None;
        if stopped.is_none() {
            match bench.reference(engine) {
                Ok((tokens, report)) => {
                    reference = Some(tokens);
                    cells.push(report);
                }
                Err(why) if cells.is_empty() => return Err(why),
                Err(why) => stopped = Some(why),
            }
        }
        if reference.is_none() {
            let cell = Cell::reference(engine);
            cells.push(CellReport::new(cell, &plan.settings, not_run()));
        }
        for planned in plan.cells.iter().filter(|it| it.cell.engine == engine) {
            if let (Some(reference), None) = (&reference, &stopped) {
                match bench.cell(planned, reference, &mut warnings) {
                    Ok(report) => {
                        let hung = report.verdict == Verdict::Hang;
                        if hung && plan.settings.after_hang == AfterHang::Stop {
                            let cell = planned.cell;
                            stopped = Some(RunError::AfterHang { cell });
                        }
                        cells.push(report);
                        continue;
                    }
                    Err(why) => stopped = Some(why),
                }
            }
            cells.push(CellReport::of(planned, &plan.settings, not_run()));
        }
    }
    harness.progress.end();

    let interrupted = stopped.as_ref().is_some_and(RunError::is_interrupted);
    let failure = stopped.as_ref().filter(|why| !why.is_interrupted());
    let report = Report {
        schema: SCHEMA,
        build: harness.build.clone(),
        nodes: Vec::new(),
        rig: plan.rig.clone(),
        given: plan.given.clone(),
        model: plan.settings.model.clone(),
        cells,
        against: None,
        warnings,
        interrupted,
        error: failure.map(|why| in_full(why)),
    };
    Ok(Measured { report, stopped })
}

struct Bench<'a> {
    plan: &'a Plan,
    harness: &'a Harness<'a>,
}

impl Bench<'_> {
    fn reference(&self, engine: Engine) -> Result<(Reference, CellReport), RunError> {
        let settings = &self.plan.settings;
        let cell = Cell::reference(engine);
        self.harness.progress.begin_cell(cell);

        // Where rank 0 of the cells is, so that both have the same processor.
        let hosts = self.harness.cabling.hosts();
        let first = self.plan.cells.first().map(|it| &*it.joining.nodes[0]);
        let seat = hosts
            .zip(first)
            .map(|(hosts, node)| hosts.seat(engine, node));
        let starts = [start(job(cell, 0, 1, settings), vec![], seat)];
        let outcome = self.launch(cell, &starts, scratch()?.path(), || 0, |_, _| {})?;
        let reference = Reference::from_outcome(&outcome, settings)?;

        let mut report = CellReport::new(cell, settings, Judgement::passed());
        report.set_measured(&outcome.transcripts, settings);
        self.harness.progress.end_cell(&report);
        Ok((reference, report))
    }

    fn cell(
        &self,
        planned: &PlannedCell,
        reference: &Reference,
        warnings: &mut Vec<String>,
    ) -> Result<CellReport, RunError> {
        let settings = &self.plan.settings;
        let PlannedCell { cell, joining } = planned;
        let cell = *cell;
        self.harness.progress.begin_cell(cell);

        let report = match self.harness.cabling.plug(&joining.rig) {
            Err(why) => {
                let why = format!("the cables could not be plugged in: {}", in_full(&*why));
                CellReport::of(planned, settings, Judgement::not_run(why))
            }
            Ok(cables) => {
                let scratch = scratch()?;
                let starts = self.starts(cell, joining, &*cables, scratch.path())?;
                let mut meter = Meter::new(&*cables);
                let moved = || cables.moved();
                let outcome =
                    self.launch(cell, &starts, scratch.path(), moved, |rank, event| {
                        meter.hear(rank, event);
                    })?;
                let judgement = Judgement::of(&outcome, settings, cell, reference);
                let mut report = CellReport::of(planned, settings, judgement);
                report.set_carried(meter.read());
                report.directions = cables.counters();
                let not_done = cables.not_done().into_iter();
                warnings.extend(not_done.map(|what| format!("{cell}: {what}")));
                // A cell that ended has all its times, even if its tokens are wrong.
                if matches!(report.verdict, Verdict::Pass | Verdict::Wrong) {
                    report.set_measured(&outcome.transcripts, settings);
                }
                report
            }
        };
        self.harness.progress.end_cell(&report);
        Ok(report)
    }

    /// The ranks, each on its node, with the environment that jaccl reads
    /// (`Config::from_env` in `jaccl.cpp`).
    fn starts(
        &self,
        cell: Cell,
        joining: &Joining,
        cables: &dyn Plugged,
        scratch: &Path,
    ) -> Result<Vec<RankStart>, RunError> {
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

        let mut shared = vec![("MLX_JACCL_COORDINATOR".to_owned(), coordinator)];
        // jaccl checks only whether these are set, not their values.
        if cell.backend == Some(Backend::Ring) {
            shared.push(("MLX_JACCL_RING".to_owned(), "1".to_owned()));
        }
        if settings.frames == Frames::Big {
            shared.push(("JACCL_BIG_FRAMES".to_owned(), "1".to_owned()));
        }
        let nodes = joining.nodes.iter().enumerate();
        let starts = nodes.map(|(rank, node)| {
            let mut env = cables.env(node);
            env.push(("MLX_RANK".to_owned(), rank.to_string()));
            env.extend(shared.iter().cloned());
            let mut seat = hosts.map(|hosts| hosts.seat(cell.engine, node));
            let devices = match &mut seat {
                None => devices.display().to_string(),
                Some(seat) => seat.add(DEVICES, matrix.clone()),
            };
            env.push(("MLX_IBV_DEVICES".to_owned(), devices));
            start(job(cell, rank, joining.nodes.len(), settings), env, seat)
        });
        Ok(starts.collect())
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
        let EngineProgram { program, build, .. } =
            engine.expect("every engine of the plan has a program");
        let outcome = launch(
            launcher,
            program,
            starts,
            scratch,
            self.plan.settings.limits,
            moved,
            |rank, event| {
                listen(rank, event);
                progress.hear(cell, rank, event);
            },
        )?;
        let builds = outcome.transcripts.iter().map(Transcript::build);
        let other = |(rank, loaded): (usize, Option<&str>)| Some((rank, loaded?.to_owned()));
        let mut others = builds.enumerate().filter_map(other);
        match others.find(|(_, loaded)| loaded != build) {
            None => Ok(outcome),
            Some((rank, loaded)) => Err(RunError::OtherBuild {
                cell,
                rank,
                loaded,
                expected: build.clone(),
            }),
        }
    }
}

/// The start of a rank, with the job as it is at its place.
fn start(job: Job, env: Vec<(String, String)>, seat: Option<Seat>) -> RankStart {
    let job = match &seat {
        None => job,
        Some(seat) => seat.job(job),
    };
    RankStart { job, env, seat }
}

fn job(cell: Cell, rank: usize, ranks: usize, settings: &Settings) -> Job {
    Job {
        strategy: cell.strategy,
        rank,
        ranks,
        model: settings.model.of_job(),
        seed: settings.seed,
        prompt: settings.prompt(),
        prefill_step: settings.prefill_step,
        generation_tokens: settings.generation_tokens,
        warmup: settings.warmup,
        repeat: settings.repeat,
    }
}

fn scratch() -> Result<TempDir, RunError> {
    tempfile::Builder::new()
        .prefix("rail-bench-")
        .tempdir()
        .map_err(|source| RunError::Scratch {
            path: std::env::temp_dir(),
            source,
        })
}
