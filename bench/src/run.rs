//! The run: the reference, then cell by cell.

use std::{
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use rail_matrix::{Matrix, MatrixError, Rig, RigError};
use tempfile::TempDir;

use crate::{
    cabling::{Cabling, Plugged},
    launch::{LaunchError, Outcome, RankProgram, RankStart, launch},
    plan::{Plan, Settings},
    progress::Progress,
    protocol::{Job, Strategy},
    report::{BuildInfo, CellReport, Report, SCHEMA, Times},
    sweep::{Backend, Cell, Frames},
    verdict::{Judgement, Reference, ReferenceError, Verdict},
};

/// What a plan is executed with.
pub struct Harness<'a> {
    /// The rank.
    pub program: RankProgram,
    /// The cables.
    pub cabling: &'a dyn Cabling,
    /// The MLX in the rank, for the report.
    pub build: BuildInfo,
    /// Set by the caller to stop, as at Ctrl-C.
    pub interrupted: &'a AtomicBool,
    /// Told how far the run is.
    pub progress: Progress,
}

/// A run that came to nothing. What goes wrong in a cell is its verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// No place for job files.
    #[error("cannot write temporary files to {}: {source}; free some space there, or set TMPDIR", path.display())]
    Scratch {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No port for jaccl's coordinator.
    #[error(
        "no free port of 127.0.0.1 between {first} and {last} for jaccl's coordinator; end what listens there"
    )]
    NoPort {
        /// First port tried.
        first: u16,
        /// Last port tried.
        last: u16,
    },
    /// The rig changed under the plan.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// The rig changed under the plan.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    /// Ranks could not be started, or the caller asked to stop.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The check itself is void.
    #[error("the check of tokens is void: {0}")]
    Reference(#[from] ReferenceError),
    /// The reports could not be written.
    #[error("cannot write reports to {}: {source}", dir.display())]
    Save {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RunError {
    /// Whether this is the caller's own wish to stop.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Launch(LaunchError::Interrupted))
    }
}

/// Executes a plan: the reference on one process, then every cell, each with
/// fresh cables and fresh ranks. A cell that fails does not keep the next ones
/// from running. Writes the reports when the plan names a folder.
///
/// When this returns, no process it started is alive and no cable is left.
///
/// # Errors
/// When the reference cannot serve, nothing can be started, or the caller asked
/// to stop.
pub fn run(plan: &Plan, harness: &Harness) -> Result<Report, RunError> {
    let mut bench = Bench {
        plan,
        harness,
        ports: Ports::new(),
    };
    harness.progress.begin(plan.cells.len() + 1);
    let (reference, first) = bench.reference()?;
    let mut cells = vec![first];
    for &cell in &plan.cells {
        cells.push(bench.cell(cell, &reference)?);
    }
    harness.progress.end();

    let report = Report {
        schema: SCHEMA,
        build: harness.build.clone(),
        rig: plan.rig.clone(),
        cells,
    };
    if let Some(dir) = &plan.output {
        report.save(dir).map_err(|source| RunError::Save {
            dir: dir.clone(),
            source,
        })?;
    }
    Ok(report)
}

struct Bench<'a> {
    plan: &'a Plan,
    harness: &'a Harness<'a>,
    ports: Ports,
}

impl Bench<'_> {
    fn reference(&mut self) -> Result<(Reference, CellReport), RunError> {
        let settings = &self.plan.settings;
        let cell = Cell::REFERENCE;
        self.harness.progress.begin_cell(cell);
        let starts = [RankStart {
            job: job(cell, 0, 1, settings),
            env: vec![],
        }];
        let outcome = self.launch(cell, &starts, scratch()?.path())?;
        let reference = Reference::from_outcome(&outcome, settings)?;
        let passed = Judgement {
            verdict: Verdict::Pass,
            detail: None,
        };
        let report = self.report(cell, passed, Some(&outcome), None);
        Ok((reference, report))
    }

    fn cell(&mut self, cell: Cell, reference: &Reference) -> Result<CellReport, RunError> {
        self.harness.progress.begin_cell(cell);
        let rig = self.plan.rig.with_cables(cell.cables)?;
        let scratch = scratch()?;
        let cables = match self.harness.cabling.plug(&rig) {
            Ok(cables) => cables,
            Err(why) => {
                let detail = Some(format!("the cables could not be plugged in: {why}"));
                let judgement = Judgement {
                    verdict: Verdict::Error,
                    detail,
                };
                return Ok(self.report(cell, judgement, None, None));
            }
        };
        let starts = self.starts(cell, &rig, &*cables, scratch.path())?;
        let outcome = self.launch(cell, &starts, scratch.path())?;
        let judgement = Judgement::of(&outcome, &self.plan.settings, reference);
        Ok(self.report(cell, judgement, Some(&outcome), Some(&*cables)))
    }

    /// A rank for each node, with the environment that jaccl reads
    /// (`Config::from_env` in `jaccl.cpp`).
    fn starts(
        &mut self,
        cell: Cell,
        rig: &Rig,
        cables: &dyn Plugged,
        scratch: &Path,
    ) -> Result<Vec<RankStart>, RunError> {
        let settings = &self.plan.settings;
        let devices = scratch.join("devices.json");
        write(&devices, &Matrix::from_rig(rig)?.to_jaccl_json())?;
        let coordinator = format!("127.0.0.1:{}", self.ports.next()?);

        let mut shared = vec![
            ("MLX_IBV_DEVICES", devices.display().to_string()),
            ("MLX_JACCL_COORDINATOR", coordinator),
        ];
        // jaccl looks at whether these are set, not at what they say.
        if cell.backend == Backend::Ring {
            shared.push(("MLX_JACCL_RING", "1".to_owned()));
        }
        if settings.frames == Frames::Big {
            shared.push(("JACCL_BIG_FRAMES", "1".to_owned()));
        }
        let start = |(rank, node): (usize, &rail_matrix::Node)| {
            let mut env = cables.env(&node.name);
            env.push(("MLX_RANK".to_owned(), rank.to_string()));
            env.extend(
                shared
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone())),
            );
            RankStart {
                job: job(cell, rank, rig.nodes.len(), settings),
                env,
            }
        };
        Ok(rig.nodes.iter().enumerate().map(start).collect())
    }

    fn launch(
        &self,
        cell: Cell,
        starts: &[RankStart],
        scratch: &Path,
    ) -> Result<Outcome, LaunchError> {
        let Harness {
            program,
            interrupted,
            progress,
            ..
        } = self.harness;
        let limits = self.plan.settings.limits;
        launch(
            program,
            starts,
            scratch,
            limits,
            interrupted,
            |rank, event| {
                progress.hear(cell, rank, event);
            },
        )
    }

    fn report(
        &self,
        cell: Cell,
        judgement: Judgement,
        outcome: Option<&Outcome>,
        cables: Option<&dyn Plugged>,
    ) -> CellReport {
        let settings = &self.plan.settings;
        let Judgement { verdict, detail } = judgement;
        let mut report = CellReport {
            strategy: cell.strategy,
            backend: cell.backend,
            cables: cell.cables,
            frames: settings.frames,
            prompt_tokens: settings.prompt_tokens,
            generation_tokens: settings.generation_tokens,
            verdict,
            tokens_match: verdict == Verdict::Pass,
            ttft_ms: None,
            prompt_tps: None,
            generation_tps: None,
            itl_ms: None,
            cable_bytes: cables.map(Plugged::cable_bytes).unwrap_or_default(),
            detail,
        };
        // A cell that ended has all its times, even where its tokens are wrong.
        if let (Verdict::Pass | Verdict::Wrong, Some(outcome)) = (verdict, outcome) {
            Times::of(&outcome.transcripts[0], settings.prompt_tokens).write_to(&mut report);
        }
        self.harness.progress.end_cell(&report);
        report
    }
}

fn job(cell: Cell, rank: usize, ranks: usize, settings: &Settings) -> Job {
    debug_assert!(cell.strategy != Strategy::Single || ranks == 1);
    Job {
        strategy: cell.strategy,
        rank,
        ranks,
        model: settings.model,
        seed: settings.seed,
        prompt_tokens: settings.prompt_tokens,
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

fn write(path: &Path, text: &str) -> Result<(), RunError> {
    fs::write(path, text).map_err(|source| RunError::Scratch {
        path: path.to_owned(),
        source,
    })
}

/// Ports for coordinators, a new one a cell. Below 32768 the system gives none
/// away to outgoing connections, so a free one stays free until jaccl listens.
struct Ports {
    next: u16,
}

impl Ports {
    const FIRST: u16 = 20_000;
    const LAST: u16 = 32_000;

    /// Begins at a place of this process's own, so that two runs at once do not
    /// try the same port at the same time.
    fn new() -> Self {
        let span = u32::from(Self::LAST - Self::FIRST);
        let offset = std::process::id().wrapping_mul(37) % span;
        Self {
            next: Self::FIRST + offset as u16,
        }
    }

    fn next(&mut self) -> Result<u16, RunError> {
        for _ in Self::FIRST..=Self::LAST {
            let port = self.next;
            self.next = if port == Self::LAST {
                Self::FIRST
            } else {
                port + 1
            };
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
        Err(RunError::NoPort {
            first: Self::FIRST,
            last: Self::LAST,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_passed_over() {
        let mut ports = Ports::new();
        let free = ports.next().unwrap();
        let _held = TcpListener::bind(("127.0.0.1", free)).unwrap();
        ports.next = free;
        let other = ports.next().unwrap();
        assert_ne!(other, free);
        assert!((Ports::FIRST..=Ports::LAST).contains(&other));
    }
}
