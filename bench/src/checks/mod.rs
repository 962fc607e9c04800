//! The checks of a run: which there are, which of them a cell is put to, and why some cannot
//! be made.
//!
//! | check | of which cells | what must hold |
//! |---|---|---|
//! | [`Check::Ranks`] | all with several ranks | every rank has the same logits, bit for bit, every token |
//! | [`Check::Cross`] | TP over two ranks | every cell of an engine and a workload has the logits of the first, bit for bit: a sum of two is the same in either order |
//! | [`Check::Exact`] | see [`Promise`] | the reference's tokens, and its logits where the same is computed in the same order |
//! | [`Check::Logits`] | TP, and PP of folders that cuts the prompt in other steps | given the reference's tokens, no logit moves farther than another order of sums moves it: see [`logits`] |
//! | [`Check::Needle`] | all | a sentence that a long prompt hides comes back: see [`needle`] |

pub mod logits;
pub mod needle;

use std::{collections::BTreeSet, fmt, str::FromStr};

use needle::{NeedleError, Needles};
use rail_matrix::Backend;
use serde::{Deserialize, Serialize};

use crate::{
    engine::Engine,
    model::{Dtype, Model},
    plan::Settings,
    protocol::Strategy,
    reference::{FileError, Reference, References, Source},
    sweep::{Cell, PlannedCell},
    workload::Workload,
};

/// A check of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// The ranks of a cell have the same logits.
    Ranks,
    /// All TP cells of two ranks have the same logits.
    Cross,
    /// A cell has the reference's tokens.
    Exact,
    /// A TP cell has the reference's logits, as far as its model allows that to be asked.
    Logits,
    /// A model finds what a long prompt hides.
    Needle,
}

impl Check {
    /// All checks.
    pub const ALL: [Self; 5] = [
        Self::Ranks,
        Self::Cross,
        Self::Exact,
        Self::Logits,
        Self::Needle,
    ];

    /// Its name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ranks => "ranks",
            Self::Cross => "cross",
            Self::Exact => "exact",
            Self::Logits => "logits",
            Self::Needle => "needle",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error for a word that is no check's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown check {0:?}; the values are ranks, cross, exact, logits, needle")]
pub struct UnknownCheck(String);

impl FromStr for Check {
    type Err = UnknownCheck;

    fn from_str(name: &str) -> Result<Self, UnknownCheck> {
        let mut all = Self::ALL.into_iter();
        all.find(|check| check.name() == name)
            .ok_or_else(|| UnknownCheck(name.to_owned()))
    }
}

/// What a strategy promises about a cell's tokens and logits, beside a reference's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// The same is computed in the same order: the logits have the same bits.
    Bits,
    /// Sums are added in another order, and no token may change by that: the presets are made
    /// for it, in 32-bit floats.
    Tokens,
    /// Sums are added in another order, and a close choice may change.
    Bounds,
}

impl Promise {
    /// The promise of a cell over this many ranks.
    ///
    /// PP computes what the single process does, in the same order if the prompt is cut in
    /// the same steps. TP over two ranks is TP over two ranks, whatever the cables.
    pub(crate) fn of(cell: Cell, ranks: usize, model: &Model, reference: &Reference) -> Self {
        let same = match (cell.strategy, reference.strategy) {
            (Strategy::Tp, Strategy::Tp) => ranks == 2 && reference.ranks == 2,
            (Strategy::Tp, _) | (_, Strategy::Tp) => false,
            (own, other) => has_same_steps(cell, own, other),
        };
        let is_f32 = matches!(model, Model::Preset(preset) if preset.spec.dtype == Dtype::F32);
        match (same, is_f32) {
            (true, _) => Self::Bits,
            (false, true) => Self::Tokens,
            (false, false) => Self::Bounds,
        }
    }
}

/// Whether [`Check::Logits`] is about a cell with a reference of this strategy: it adds in
/// another order, and with real weights no more than this can be asked. TP of presets has it
/// where the caller demands it.
pub(crate) fn reorders(cell: Cell, model: &Model, reference: Strategy) -> bool {
    let real = matches!(model, Model::Folder(_));
    cell.strategy == Strategy::Tp || real && !has_same_steps(cell, cell.strategy, reference)
}

/// Whether two strategies process the cell's prompt in the same steps.
fn has_same_steps(cell: Cell, a: Strategy, b: Strategy) -> bool {
    let Workload {
        prompt_tokens,
        depth,
        prefill_step,
        ..
    } = cell.workload;
    let [a, b] = [a, b].map(|it| prefill_step.unwrap_or(cell.engine.prefill_step(it)));
    a == b || prompt_tokens.max(depth) <= a.min(b)
}

/// The checks of a run, which can all be made.
#[derive(Debug, Clone)]
pub struct Checks {
    made: BTreeSet<Check>,
    demanded: BTreeSet<Check>,
    /// The prompts, for each engine and step.
    needles: Vec<(Engine, Option<usize>, Needles)>,
    /// What is known of references before the run.
    pub(crate) known: References,
    /// Where references come from.
    pub source: Source,
}

/// Why a check cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A single TP cell agrees with itself.
    #[error(
        "the check cross compares the tp cells of an engine and a workload over two ranks, and \
         this run has none to compare"
    )]
    NothingToCross,
    /// There is nothing to compare with.
    #[error("the check {0} compares with a reference, and this run has none")]
    NoReference(Check),
    /// Only TP moves logits.
    #[error("the check logits is of tp, and this run has no tp cell")]
    NoTp,
    /// The reference of a file was made without it.
    #[error("the check logits needs the logits of the reference, and the file has none")]
    NoLogits,
    /// There is no text in a preset.
    #[error("the check needle asks in words, and the preset {0} has no tokenizer")]
    NoWords(&'static str),
    /// The prompts cannot be made.
    #[error("the check needle cannot be made")]
    Needle(#[from] NeedleError),
    /// The cell that is to be the reference is not in the run.
    #[error("the reference is to be the cell mesh-1, which is not in this run")]
    NoMesh,
    /// The file has no reference for this run.
    #[error(transparent)]
    File(#[from] FileError),
}

impl CheckError {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        let fixed = match self {
            Self::NothingToCross => "ask for several cables or backends in tp, or leave cross out",
            Self::NoReference(_) => "leave it out, or pass --reference mesh-1",
            Self::NoTp => "add tp to --strategy, or leave logits out",
            Self::NoLogits => "make the reference with --check logits, or leave logits out",
            Self::NoWords(_) => "leave needle out, or pass --model smollm2",
            Self::Needle(error) => return error.help(),
            Self::NoMesh => "add mesh to --backend, or name another reference",
            Self::File(error) => error.help(),
        };
        Some(fixed.to_owned())
    }
}

impl Checks {
    /// The checks that the caller demanded, or sensible ones: `ranks`, `cross` and `exact`,
    /// and for a folder `logits`, each where it can be made.
    ///
    /// # Errors
    /// A check that was demanded cannot be made, or the reference cannot serve.
    pub(crate) fn new(
        demanded: Option<&BTreeSet<Check>>,
        source: Source,
        settings: &Settings,
        cells: &[PlannedCell],
    ) -> Result<Self, CheckError> {
        let known = match &source {
            Source::File(path) => References::read(path, settings, cells)?,
            Source::Single | Source::Mesh1 | Source::None => References::default(),
        };
        let is_mesh = |it: &PlannedCell| is_mesh_1(it.cell);
        if source == Source::Mesh1 && !cells.iter().any(is_mesh) {
            return Err(CheckError::NoMesh);
        }
        let mut checks = Self {
            made: BTreeSet::new(),
            demanded: demanded.cloned().unwrap_or_default(),
            needles: Vec::new(),
            known,
            source,
        };
        let sensible = match settings.model {
            Model::Preset(_) => &[Check::Ranks, Check::Cross, Check::Exact][..],
            Model::Folder(_) => &[Check::Ranks, Check::Cross, Check::Exact, Check::Logits],
        };
        let wanted = demanded.map_or(sensible.to_vec(), |it| it.iter().copied().collect());
        for check in wanted {
            match checks.possible(check, settings, cells) {
                Ok(()) => _ = checks.made.insert(check),
                Err(why) if demanded.is_some() => return Err(why),
                Err(_) => {}
            }
        }
        if checks.has(Check::Needle) {
            checks.needles = needles(settings, cells)?;
        }
        Ok(checks)
    }

    fn possible(
        &self,
        check: Check,
        settings: &Settings,
        cells: &[PlannedCell],
    ) -> Result<(), CheckError> {
        let reordered = || {
            let of = |it: &&PlannedCell| reorders(it.cell, &settings.model, Strategy::Single);
            cells.iter().filter(of)
        };
        match (check, &settings.model) {
            (Check::Exact | Check::Logits, _) if self.source == Source::None => {
                Err(CheckError::NoReference(check))
            }
            (Check::Ranks | Check::Exact, _) => Ok(()),
            (Check::Cross, _) => {
                let key = |it: &PlannedCell| crossed(it.cell, it.joining.nodes.len());
                let keys: Vec<_> = cells.iter().filter_map(key).collect();
                let distinct: BTreeSet<_> = keys.iter().collect();
                match distinct.len() < keys.len() {
                    true => Ok(()),
                    false => Err(CheckError::NothingToCross),
                }
            }
            (Check::Logits, _) if reordered().next().is_none() => Err(CheckError::NoTp),
            (Check::Logits, _) => {
                let lacks = |it: &PlannedCell| {
                    let known = self.known.get(it.cell);
                    known.is_some_and(|(_, it)| it.bounds().is_none())
                };
                match reordered().any(lacks) {
                    true => Err(CheckError::NoLogits),
                    false => Ok(()),
                }
            }
            (Check::Needle, Model::Preset(preset)) => Err(CheckError::NoWords(preset.name)),
            (Check::Needle, Model::Folder(_)) => Ok(()),
        }
    }

    /// Whether a check is made, of the cells that it is about.
    pub fn has(&self, check: Check) -> bool {
        self.made.contains(&check)
    }

    /// The checks that are made.
    pub fn made(&self) -> impl Iterator<Item = Check> {
        self.made.iter().copied()
    }

    /// The checks that the caller demanded. Empty for sensible ones.
    pub fn demanded(&self) -> &BTreeSet<Check> {
        &self.demanded
    }

    /// Whether a cell is to be the reference of others.
    pub(crate) fn is_reference(&self, cell: Cell) -> bool {
        match self.source {
            Source::Single => cell.strategy == Strategy::Single,
            Source::Mesh1 => is_mesh_1(cell),
            Source::File(_) | Source::None => false,
        }
    }

    /// The needles of a cell, if it has any.
    pub(crate) fn needles(&self, cell: Cell) -> Option<&Needles> {
        let key = (cell.engine, cell.workload.prefill_step);
        let mut all = self.needles.iter();
        all.find(|(engine, step, _)| (*engine, *step) == key)
            .map(|(_, _, needles)| needles)
    }
}

fn is_mesh_1(cell: Cell) -> bool {
    (cell.backend, cell.cables) == (Some(Backend::Mesh), 1)
}

/// What the cells have in common that [`Check::Cross`] compares; `None` for a cell that it is
/// not about. Over more than two ranks the order of a sum depends on the path.
pub(crate) fn crossed(cell: Cell, ranks: usize) -> Option<(Engine, Workload)> {
    (cell.strategy == Strategy::Tp && ranks == 2).then(|| (cell.engine, cell.workload.computed()))
}

/// The prompts of each engine and step. Every strategy has the same ones, for TP's step where
/// the job has none.
fn needles(
    settings: &Settings,
    cells: &[PlannedCell],
) -> Result<Vec<(Engine, Option<usize>, Needles)>, NeedleError> {
    let Model::Folder(folder) = &settings.model else {
        return Ok(Vec::new());
    };
    let keys = cells
        .iter()
        .map(|it| (it.cell.engine, it.cell.workload.prefill_step));
    let keys: BTreeSet<_> = keys.collect();
    let made = keys.into_iter().map(|(engine, step)| {
        let tokens = step.unwrap_or(engine.prefill_step(Strategy::Tp));
        let needles = Needles::new(&folder.content, tokens, settings.seed)?;
        Ok((engine, step, needles))
    });
    made.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Preset;

    #[test]
    fn a_check_is_read_and_written_by_its_name() {
        for check in Check::ALL {
            assert_eq!(check.name().parse(), Ok(check));
            let json = serde_json::to_string(&check).unwrap();
            assert_eq!(json, format!("{:?}", check.name()));
        }
        let unknown = "all".parse::<Check>().unwrap_err().to_string();
        assert!(
            unknown.contains("ranks, cross, exact, logits, needle"),
            "{unknown}"
        );
    }

    fn promise(
        engine: Engine,
        strategy: Strategy,
        prompt: usize,
        by: (Strategy, usize),
    ) -> Promise {
        let cell = Cell {
            engine,
            workload: Workload {
                prompt_tokens: prompt,
                ..Workload::DEFAULT
            },
            strategy,
            backend: Some(Backend::Ring),
            cables: 1,
        };
        let reference = Reference {
            strategy: by.0,
            ranks: by.1,
            prompt: String::new(),
            tokens: vec![],
            digests: vec![],
            top: vec![],
            noise: None,
        };
        let preset = Model::Preset(Preset::ALL[0]);
        Promise::of(cell, 2, &preset, &reference)
    }

    #[test]
    fn bits_are_promised_where_the_same_is_computed_in_the_same_order() {
        let single = (Strategy::Single, 1);
        let rust = |strategy, prompt, by| promise(Engine::Rust, strategy, prompt, by);
        // Rust cuts a prompt every 2048 tokens in PP, and every 4096 on one process.
        assert_eq!(rust(Strategy::Pp, 2048, single), Promise::Bits);
        assert_eq!(rust(Strategy::Pp, 2049, single), Promise::Tokens);
        let mlx_lm = promise(Engine::MlxLm, Strategy::Pp, 9000, single);
        assert_eq!(mlx_lm, Promise::Bits);

        assert_eq!(rust(Strategy::Tp, 8, single), Promise::Tokens);
        assert_eq!(rust(Strategy::Tp, 8, (Strategy::Tp, 2)), Promise::Bits);
        assert_eq!(rust(Strategy::Tp, 8, (Strategy::Tp, 4)), Promise::Tokens);
        assert_eq!(rust(Strategy::Pp, 9000, (Strategy::Pp, 4)), Promise::Bits);
    }
}
