//! The plan of a run, checked before anything slow begins.

use std::time::Duration;

use models::Tokenizer;
use rail_matrix::{Backend, Devices, Frames, Given, Jaccl, RankOrder};
use rig::Rig;

use crate::{
    engine::Engine,
    launch::Limits,
    model::{Model, Preset},
    protocol::{Prompt, Strategy},
    sweep::{self, CableCounts, Joining, PlannedCell, SweepError},
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
            settings: Settings::default(),
        }
    }
}

/// Everything about a run except the resources that execute it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rig, with all its cables.
    pub rig: Rig,
    /// The engines, each of which has a reference and cells.
    pub engines: Vec<Engine>,
    /// The cells, without the references.
    pub cells: Vec<PlannedCell>,
    /// The matrix of all cells, if it was given rather than planned.
    pub given: Option<Given>,
    /// The settings that all cells share.
    pub settings: Settings,
}

/// The settings that all cells of a run share.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model.
    pub model: Model,
    /// Seeds the weights and the prompt. Reports are comparable if it is the same.
    pub seed: u64,
    /// Length of the prompt in tokens.
    pub prompt_tokens: usize,
    /// The prompt, if it is a text. It then has as many ids as `prompt_tokens` says.
    pub text: Option<Text>,
    /// The most tokens of the prompt that are processed in one step; `None` for the
    /// engine's own.
    pub prefill_step: Option<usize>,
    /// Tokens generated in a run.
    pub generation_tokens: usize,
    /// The number of runs before the measured ones.
    pub warmup: usize,
    /// The number of measured runs.
    pub repeat: usize,
    /// jaccl's largest message.
    pub frames: Frames,
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

/// The first preset, a prompt of 256 tokens, 32 generated, five runs after a warm-up,
/// small frames, 20 seconds of silence.
pub const DEFAULTS: Settings = Settings {
    model: Model::Preset(Preset::ALL[0]),
    seed: 1,
    prompt_tokens: 256,
    text: None,
    prefill_step: None,
    generation_tokens: 32,
    warmup: 1,
    repeat: 5,
    frames: Frames::Small,
    limits: Limits {
        silence: Duration::from_secs(20),
        // For the other ranks to end by themselves, which jaccl promises within 2 s of a
        // death, and for the error of the failed one to arrive.
        grace: Duration::from_secs(2),
    },
    after_hang: AfterHang::Continue,
};

impl Settings {
    /// The prompt as a job has it.
    pub fn prompt(&self) -> Prompt {
        match &self.text {
            None => Prompt::Seeded {
                tokens: self.prompt_tokens,
            },
            Some(text) => Prompt::Ids(text.ids.clone()),
        }
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
        Ok(Self {
            rig: options.rig,
            engines: options.engines,
            cells,
            given: options.given,
            settings: options.settings,
        })
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
