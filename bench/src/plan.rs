//! A run as it will be, checked before anything slow begins.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rail_matrix::{Rig, RigError};

use crate::{
    args::BenchArgs,
    launch::Limits,
    model::Preset,
    report::check_output,
    sweep::{self, Cell, Frames, SweepError},
};

/// Seeds the weights and the prompt of every run, so that reports compare.
const SEED: u64 = 1;

/// What the ranks of a failed cell get to end by themselves, and the failed one's
/// own words to arrive.
const GRACE: Duration = Duration::from_secs(1);

/// Everything about a run but the machinery that executes it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rig, with all its cables.
    pub rig: Rig,
    /// The cells, without the reference.
    pub cells: Vec<Cell>,
    /// What all cells have in common.
    pub settings: Settings,
    /// Where the reports go, if anywhere.
    pub output: Option<PathBuf>,
}

/// What all cells of a run have in common.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The model.
    pub model: Preset,
    /// Seeds the weights and the prompt.
    pub seed: u64,
    /// Length of the prompt in tokens.
    pub prompt_tokens: usize,
    /// Tokens generated in a run.
    pub generation_tokens: usize,
    /// Runs before the measured ones.
    pub warmup: usize,
    /// Measured runs.
    pub repeat: usize,
    /// jaccl's largest message.
    pub frames: Frames,
    /// How long ranks may be silent.
    pub limits: Limits,
}

/// A run that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A rig file that cannot be opened.
    #[error("cannot read the rig {}; name a file with --rig, or leave it out to use the embedded rig", path.display())]
    RigUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A rig file with a mistake.
    #[error("{}", path.display())]
    RigInvalid {
        /// The file.
        path: PathBuf,
        /// The mistake and its line.
        source: RigError,
    },
    /// A sweep that the rig or the model does not allow.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// Reports have nowhere to go.
    #[error("cannot write reports to {}: {source}; name another folder with --output", dir.display())]
    Output {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Plan {
    /// The rig without the cables that no cell uses.
    ///
    /// # Errors
    /// When the rig was changed after it was checked.
    pub fn used_rig(&self) -> Result<Rig, RigError> {
        let most = self.cells.iter().map(|cell| cell.cables).max();
        self.rig.with_cables(most.unwrap_or(1))
    }

    /// Makes the plan that the arguments ask for. Reads the rig and tries the
    /// output folder (making it when it is not there), so that a long run does
    /// not end in a mistake that could have been seen before.
    ///
    /// # Errors
    /// Names the argument's fault and the remedy.
    pub fn from_args(args: &BenchArgs) -> Result<Self, PlanError> {
        let rig = match &args.rig {
            Some(path) => read_rig(path)?,
            None => Rig::embedded(),
        };
        let cells = sweep::cells(
            &rig,
            &args.model.spec,
            &args.strategy,
            &args.backend,
            args.cables.as_ref(),
        )?;
        if let Some(dir) = &args.output {
            check_output(dir).map_err(|source| PlanError::Output {
                dir: dir.clone(),
                source,
            })?;
        }
        let settings = Settings {
            model: args.model,
            seed: SEED,
            prompt_tokens: args.prompt_tokens,
            generation_tokens: args.gen_tokens,
            warmup: args.warmup,
            repeat: args.repeat,
            frames: args.frames,
            limits: Limits {
                silence: args.timeout,
                grace: GRACE,
            },
        };
        Ok(Self {
            rig,
            cells,
            settings,
            output: args.output.clone(),
        })
    }
}

/// Reads a rig file.
///
/// # Errors
/// Names the file, and the line of a mistake in it.
pub fn read_rig(path: &Path) -> Result<Rig, PlanError> {
    let text = fs::read_to_string(path).map_err(|source| PlanError::RigUnreadable {
        path: path.to_owned(),
        source,
    })?;
    Rig::parse(&text).map_err(|source| PlanError::RigInvalid {
        path: path.to_owned(),
        source,
    })
}
