//! The plan of a run, checked before anything slow begins.

use std::time::Duration;

use rail_matrix::{Backend, Frames};
use rig::{Rig, RigError};

use crate::{
    launch::Limits,
    model::Preset,
    protocol::Strategy,
    sweep::{self, CableCounts, Cell, SweepError},
};

/// The values to sweep, and the settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// The nodes and cables.
    pub rig: Rig,
    /// The parallel strategies.
    pub strategies: Vec<Strategy>,
    /// The backends.
    pub backends: Vec<Backend>,
    /// The numbers of cables for each joined pair of nodes; `None` for 1 to all that the
    /// rig has.
    pub cables: Option<CableCounts>,
    /// The settings that all cells share.
    pub settings: Settings,
}

impl Default for Options {
    /// Everything, over the embedded rig.
    fn default() -> Self {
        Self {
            rig: Rig::embedded(),
            strategies: Strategy::SPREAD.to_vec(),
            backends: Backend::ALL.to_vec(),
            cables: None,
            settings: Settings::default(),
        }
    }
}

/// Everything about a run except the resources that execute it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rig, with all its cables.
    pub rig: Rig,
    /// The cells, without the reference.
    pub cells: Vec<Cell>,
    /// The settings that all cells share.
    pub settings: Settings,
}

/// The settings that all cells of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The model.
    pub model: Preset,
    /// Seeds the weights and the prompt. Reports are comparable if it is the same.
    pub seed: u64,
    /// Length of the prompt in tokens.
    pub prompt_tokens: usize,
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
}

/// The first preset, a prompt of 256 tokens, 32 generated, five runs after a warm-up,
/// small frames, 20 seconds of silence.
pub const DEFAULTS: Settings = Settings {
    model: Preset::ALL[0],
    seed: 1,
    prompt_tokens: 256,
    generation_tokens: 32,
    warmup: 1,
    repeat: 5,
    frames: Frames::Small,
    limits: Limits {
        silence: Duration::from_secs(20),
        // For the other ranks to end by themselves, and for the error of the failed one
        // to arrive.
        grace: Duration::from_secs(1),
    },
};

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
        let Options {
            rig,
            strategies,
            backends,
            cables,
            settings,
        } = options;
        let cells = sweep::cells(
            &rig,
            &settings.model.spec,
            &strategies,
            &backends,
            cables.as_ref(),
        )?;
        Ok(Self {
            rig,
            cells,
            settings,
        })
    }

    /// The rig without the cables that no cell uses.
    ///
    /// # Errors
    /// When the rig was changed after it was checked.
    pub fn used_rig(&self) -> Result<Rig, RigError> {
        let most = self.cells.iter().map(|cell| cell.cables).max();
        self.rig.with_cables(most.unwrap_or(1))
    }
}
