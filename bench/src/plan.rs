//! The plan of a run, checked before anything slow begins.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use launch::environment::configures_jaccl;
use models::Tokenizer;
use rail_matrix::{Backend, Devices, Given, Jaccl, RankOrder};
use rig::{Cables, Rig};

use crate::{
    checks::{Check, Checks},
    engine::Engine,
    launch::Limits,
    model::{Model, Preset},
    protocol::{After, Job, Prompt, Strategy},
    reference::Source,
    seeded,
    sweep::{self, CableCounts, Cell, Joining, PlannedCell, SweepError},
    workload::Workload,
};

/// The values to sweep, and the settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// The nodes and cables.
    pub rig: Rig,
    /// The programs that run the model.
    pub engines: Vec<Engine>,
    /// The parallel strategies.
    pub strategies: Vec<Strategy>,
    /// The backends.
    pub backends: Vec<Backend>,
    /// The numbers of rails between each two ranks that a backend joins; `None` for 1 to
    /// as many as the planner uses.
    pub cables: Option<CableCounts>,
    /// How the nodes of the rig become ranks.
    pub order: RankOrder,
    /// The properties of the jaccl that runs.
    pub jaccl: Jaccl,
    /// A matrix over the rig in place of the planner's; then backends, cables and order
    /// are the matrix's.
    pub given: Option<Given>,
    /// What the cells compute: each has a reference and cells of its own.
    pub workloads: Vec<Workload>,
    /// The checks that are demanded; `None` for sensible ones.
    pub checks: Option<BTreeSet<Check>>,
    /// Where the tokens come from that cells are compared with.
    pub reference: Source,
    /// The settings that all cells share.
    pub settings: Settings,
}

impl Default for Options {
    /// Everything, over the embedded rig, in the order of the widest ring, by the planner's
    /// default jaccl.
    fn default() -> Self {
        Self {
            rig: Rig::embedded(),
            engines: vec![Engine::default()],
            strategies: Strategy::SPREAD.to_vec(),
            backends: Backend::ALL.to_vec(),
            cables: None,
            order: RankOrder::Widest,
            jaccl: Jaccl::default(),
            given: None,
            workloads: vec![Workload::DEFAULT],
            checks: None,
            reference: Source::Single,
            settings: Settings::default(),
        }
    }
}

/// Everything about a run except the resources that execute it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rig, with all its cables.
    pub rig: Rig,
    /// The engines, each of which has references and cells.
    pub engines: Vec<Engine>,
    /// What the cells compute, each once.
    pub workloads: Vec<Workload>,
    /// The cells, without the references.
    pub cells: Vec<PlannedCell>,
    /// The matrix of all cells, if it was given rather than planned.
    pub given: Option<Given>,
    /// The checks that the cells are put to.
    pub checks: Checks,
    /// The settings that all cells share.
    pub settings: Settings,
}

/// A start of a cell's ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// The cell.
    pub cell: Cell,
    /// The round, from 0.
    pub round: usize,
    /// The measured runs.
    pub repeat: usize,
}

impl Launch {
    /// The runs of each pass that shows where the time goes: all in the first round.
    pub fn split(&self, settings: &Settings) -> usize {
        match self.round {
            0 => settings.split,
            _ => 0,
        }
    }
}

/// The settings that all cells of a run share.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model.
    pub model: Model,
    /// Seeds the weights and the prompt. Reports are comparable if it is the same.
    pub seed: u64,
    /// The prompt, if it is a text. It then has as many ids as every workload says.
    pub text: Option<Text>,
    /// The number of runs before the measured ones.
    pub warmup: usize,
    /// The number of measured runs of a cell.
    pub repeat: usize,
    /// The number of rounds. In each every cell is launched once, and has its part of the
    /// measured runs, after the runs before them. At most [`repeat`](Self::repeat).
    pub rounds: usize,
    /// The seed of the order of cells in a round; `None` for the plan's own.
    pub shuffle: Option<u64>,
    /// The pause between two launches.
    pub delay: Duration,
    /// The number of runs of each pass that shows where the time goes, after the measured
    /// runs of the first round; see [`Pass`](crate::protocol::Pass).
    pub split: usize,
    /// Environment variables of every rank.
    pub env: BTreeMap<String, String>,
    /// The limit on the silence of ranks.
    pub limits: Limits,
    /// What follows a cell that hung.
    pub after_hang: AfterHang,
}

/// What follows a cell that hung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterHang {
    /// The next cell. Emulated devices are fresh for every cell.
    Continue,
    /// Nothing. Real devices can stay wedged, and then say nothing about the next cell.
    Stop,
}

impl AfterHang {
    /// What follows over the cables of a rig, unless the caller chose.
    pub fn usual(rig: &Rig) -> Self {
        match rig.kind {
            Cables::Emulated => Self::Continue,
            Cables::Real => Self::Stop,
        }
    }
}

/// The first preset, five runs in two rounds, a warm-up before each, 20 seconds of silence.
pub const DEFAULTS: Settings = Settings {
    model: Model::Preset(Preset::ALL[0]),
    seed: 1,
    text: None,
    warmup: 1,
    repeat: 5,
    rounds: 2,
    shuffle: Some(1),
    delay: Duration::ZERO,
    split: 0,
    env: BTreeMap::new(),
    limits: Limits {
        silence: Duration::from_secs(20),
        // For the other ranks to end by themselves, which jaccl promises within 2 s of a
        // death, and for the error of the failed one to arrive.
        grace: Duration::from_secs(2),
    },
    after_hang: AfterHang::Continue,
};

impl Settings {
    /// The number of rounds, each of which measures something.
    pub fn rounds(&self) -> usize {
        self.rounds.min(self.repeat).max(1)
    }

    /// The measured runs of a round.
    pub fn repeat_of(&self, round: usize) -> usize {
        let (repeat, rounds) = (self.repeat, self.rounds());
        repeat / rounds + usize::from(round < repeat % rounds)
    }

    /// The job of a rank of so many, with one measured run and nothing after it.
    pub fn job(
        &self,
        workload: Workload,
        strategy: Strategy,
        (rank, ranks): (usize, usize),
    ) -> Job {
        Job {
            strategy,
            rank,
            ranks,
            model: self.model.of_job(),
            seed: self.seed,
            prompt: self.prompt(workload),
            depth: workload.depth,
            prefill_step: workload.prefill_step,
            generation_tokens: workload.generation_tokens,
            warmup: self.warmup,
            repeat: 1,
            split: 0,
            alone: false,
            after: After::default(),
        }
    }

    /// The prompt of a workload as a job has it.
    pub fn prompt(&self, workload: Workload) -> Prompt {
        match &self.text {
            None => Prompt::Seeded {
                tokens: workload.prompt_tokens,
            },
            Some(text) => Prompt::Ids(text.ids.clone()),
        }
    }
}

/// The error for an environment variable that the caller of a run cannot set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is set by the benchmark, by its own flags")]
pub struct OwnVariable(String);

/// Refuses an environment variable that the benchmark sets itself: those of jaccl, of the
/// emulated cables, of the loader's search, the meter's file, and what a workload has.
///
/// # Errors
/// If it is one.
pub fn check_variable(name: &str) -> Result<(), OwnVariable> {
    const OWN: [&str; 4] = [
        "MLX_METAL_FAST_SYNCH",
        meter::FILE_VARIABLE,
        "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
    ];
    let own = OWN.contains(&name) || name.starts_with("SOFTRAIL_") || configures_jaccl(name);
    match own {
        true => Err(OwnVariable(name.to_owned())),
        false => Ok(()),
    }
}

/// A prompt that is a text. Engines see its ids alone.
#[derive(Debug, Clone)]
pub struct Text {
    /// The ids of its tokens.
    pub ids: Vec<u32>,
    /// What turns ids into text again.
    pub tokenizer: Tokenizer,
}

impl Text {
    /// Takes a text apart by the model's tokenizer.
    ///
    /// # Errors
    /// The folder has no tokenizer, or the tokenizer does not work.
    pub fn new(text: &str, model: &models::Folder) -> models::Result<Self> {
        let tokenizer = Tokenizer::open(model.path())?;
        Ok(Self {
            ids: tokenizer.encode(text)?,
            tokenizer,
        })
    }
}

impl Default for Settings {
    /// [`DEFAULTS`].
    fn default() -> Self {
        DEFAULTS
    }
}

impl Plan {
    /// Makes the plan of a run.
    ///
    /// # Errors
    /// When the rig or the model does not permit the sweep.
    pub fn new(options: Options) -> Result<Self, SweepError> {
        let cells = sweep::cells(&options)?;
        let (demanded, settings) = (options.checks.as_ref(), &options.settings);
        let checks = Checks::new(demanded, options.reference, settings, &cells)?;
        let mut workloads = options.workloads;
        workloads.sort();
        workloads.dedup();
        Ok(Self {
            rig: options.rig,
            engines: options.engines,
            workloads,
            cells,
            given: options.given,
            checks,
            settings: options.settings,
        })
    }

    /// The references that are processes of their own: of each engine one for each workload.
    pub fn references(&self) -> impl Iterator<Item = Cell> {
        let single = self.checks.source == Source::Single;
        self.groups().filter(move |_| single)
    }

    /// The single process of each engine and workload, whether it is measured or not: see
    /// [`Cell::own_reference`].
    pub(crate) fn groups(&self) -> impl Iterator<Item = Cell> {
        let of_engine = |&engine| {
            let workloads = self.workloads.iter();
            workloads.map(move |&workload| Cell::reference(engine, workload))
        };
        self.engines.iter().flat_map(of_engine)
    }

    /// All launches in their order, round by round. In a round every cell is launched once.
    /// The order in it is shuffled, so that a machine that changes in the meantime is not
    /// taken for a difference between cells. The first round begins with the references,
    /// because the other cells are judged by them.
    pub fn schedule(&self) -> Vec<Launch> {
        let rounds = self.settings.rounds();
        let cells = || self.cells.iter().map(|planned| planned.cell);
        let mut schedule = Vec::new();
        for round in 0..rounds {
            let mut order: Vec<_> = self.references().chain(cells()).collect();
            if let Some(seed) = self.settings.shuffle {
                order.sort_by_cached_key(|cell| {
                    let name = format!("round {round}, {}", cell.name_among(2));
                    let is_judged = round == 0 && !self.checks.is_reference(*cell);
                    (is_judged, seeded::hash(seed, &name))
                });
            }
            let repeat = self.settings.repeat_of(round);
            schedule.extend(order.into_iter().map(|cell| Launch {
                cell,
                round,
                repeat,
            }));
        }
        schedule
    }

    /// Every matrix of the cells, each once, with the node of each rank: those of the most
    /// rails first.
    pub fn matrices(&self) -> Vec<(&[String], &Devices)> {
        let mut cells: Vec<_> = self.cells.iter().collect();
        cells.sort_by_key(|planned| std::cmp::Reverse(planned.cell.cables));
        let mut matrices = Vec::new();
        for PlannedCell { joining, .. } in cells {
            let Joining { nodes, devices, .. } = joining;
            if !matrices.contains(&(&nodes[..], devices)) {
                matrices.push((&nodes[..], devices));
            }
        }
        matrices
    }
}
