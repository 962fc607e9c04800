//! What cells are compared with: the tokens and logits of a process that uses no cable, of
//! another cell, or of an earlier run.

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    checks::logits,
    engine::Engine,
    launch::{Outcome, RunRecord, Transcript},
    model::{Dtype, Model},
    plan::Settings,
    protocol::{Strategy, Top},
    report::{
        SCHEMA,
        read::{as_reported, without_path},
    },
    sweep::{Cell, PlannedCell},
    verdict::{Judgement, Verdict},
    workload::Workload,
};

/// Where the references of a run come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// A process without cables, of each engine and workload.
    #[default]
    Single,
    /// The cell mesh-1 of the run, of each engine, workload and strategy: for a model that is too
    /// big for one process.
    Mesh1,
    /// An earlier report.
    File(PathBuf),
    /// There is none. The ranks and the cells are compared with each other.
    None,
}

impl FromStr for Source {
    type Err = Infallible;

    /// `single`, `mesh-1`, `none`, or a file.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "single" => Self::Single,
            "mesh-1" => Self::Mesh1,
            "none" => Self::None,
            path => Self::File(path.into()),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => f.write_str("single"),
            Self::Mesh1 => f.write_str("mesh-1"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::None => f.write_str("none"),
        }
    }
}

/// The tokens and logits that are correct by definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// How the model was spread.
    pub strategy: Strategy,
    /// Over how many ranks.
    pub ranks: usize,
    /// Names the prompt and the seed.
    pub prompt: String,
    /// The ids of the tokens of a run.
    pub tokens: Vec<u32>,
    /// Names the bits of each token's logits. Empty if the runs differ in them.
    pub digests: Vec<String>,
    /// The greatest logits of each token. Empty without [`Check::Logits`], like the next.
    ///
    /// [`Check::Logits`]: crate::checks::Check::Logits
    #[serde(default)]
    pub top: Vec<Top>,
    /// How far another order of sums moves a logit: see [`logits`].
    #[serde(default)]
    pub noise: Option<f32>,
}

/// Why equality with a reference's tokens would prove nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The reference did not pass.
    #[error("the reference ended in {verdict}: {detail}")]
    Failed {
        /// Its verdict.
        verdict: Verdict,
        /// The reason.
        detail: String,
    },
    /// Its own runs differ.
    #[error("the runs of the reference differ among themselves: {0}")]
    Unsteady(String),
    /// It repeats tokens.
    #[error(
        "the reference's {tokens} tokens hold only {distinct} different ones, and unless half of \
         them differ, equal tokens prove nothing"
    )]
    Repetitive {
        /// Tokens in a run.
        tokens: usize,
        /// The number of distinct tokens.
        distinct: usize,
    },
    /// It reports no margin.
    #[error("the reference reported no margin between its best tokens")]
    NoMargin,
    /// It computed with NaN.
    #[error("{0}")]
    NotANumber(String),
    /// A choice is so close that rounding could have made it.
    #[error(
        "the reference chose a token by a margin of {margin:e} of its greatest logit, and below \
         {needed:e} rounding may choose another"
    )]
    TooClose {
        /// The smallest margin of its runs.
        margin: f32,
        /// The smallest sufficient margin.
        needed: f32,
    },
    /// The model does not find the sentence by itself.
    #[error("the model loses the needle without any cable: {0}")]
    Needle(String),
    /// Its forced passes are missing or have no numbers.
    #[error("the reference did not report how far another order of sums moves its logits")]
    NoNoise,
}

impl ReferenceError {
    /// The remedy, if there is one.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::Repetitive { .. } => Some("choose another model, or generate fewer tokens"),
            Self::TooClose { .. } => Some("choose another model, or a prompt of another length"),
            Self::NoMargin | Self::NoNoise => Some("the rank program is broken: compile it anew"),
            Self::Needle(_) => Some("leave needle out, or pass a smaller --prefill-step"),
            Self::Failed { .. } | Self::Unsteady(_) | Self::NotANumber(_) => None,
        }
    }
}

/// The smallest margin, relative as `min_margin` of [`Event::Run`] is, at which another
/// order of summation cannot be expected to change the token.
///
/// Splitting a model reorders its sums. Over two ranks in f32 this moved the margins of
/// the presets by less than 1e-6 in measurements; the limit is ten times that. bfloat16
/// keeps 8 significant bits where f32 keeps 24, so there the same reordering moves the
/// margins 2^16 times as far (float16, with 11 bits, 2^13 times), and hardly any reference
/// passes.
///
/// [`Event::Run`]: crate::protocol::Event::Run
pub const fn least_margin(dtype: Dtype) -> f32 {
    const F32: f32 = 1e-5;
    match dtype {
        Dtype::F32 => F32,
        Dtype::Bf16 => F32 * 65536.0,
        Dtype::F16 => F32 * 8192.0,
    }
}

impl Reference {
    /// Takes the tokens of a cell after checking that they can serve as a reference.
    ///
    /// # Errors
    /// When they cannot.
    pub fn from_outcome(
        cell: Cell,
        outcome: &Outcome,
        settings: &Settings,
    ) -> Result<Self, ReferenceError> {
        let judgement = Judgement::of_ending(outcome, settings, cell.workload);
        if let Some(detail) = judgement.detail {
            return Err(ReferenceError::Failed {
                verdict: judgement.verdict,
                detail,
            });
        }
        if let Some(why) = first_nan(&outcome.transcripts) {
            return Err(ReferenceError::NotANumber(why));
        }
        let Transcript { runs, forced, .. } = &outcome.transcripts[0];
        let mut reference = Self {
            strategy: cell.strategy,
            ranks: outcome.transcripts.len(),
            prompt: name_of_prompt(settings, cell.workload),
            tokens: runs[0].tokens.iter().map(|token| token.id).collect(),
            digests: digests_of(&runs[0]).unwrap_or_default(),
            top: forced.first().cloned().unwrap_or_default(),
            noise: logits::noise(forced),
        };
        if let Some(why) = reference.first_difference(&outcome.transcripts) {
            return Err(ReferenceError::Unsteady(why));
        }
        if reference.first_other_bits(&outcome.transcripts).is_some() {
            reference.digests.clear();
        }
        if !forced.is_empty() && reference.bounds().is_none() {
            return Err(ReferenceError::NoNoise);
        }
        // A folder's model is what it is: it may repeat itself, and a close choice voids
        // nothing, because its TP need not have the same tokens.
        let Model::Preset(preset) = &settings.model else {
            return Ok(reference);
        };
        let tokens = reference.tokens.len();
        let distinct = reference.tokens.iter().collect::<HashSet<_>>().len();
        if 2 * distinct < tokens {
            return Err(ReferenceError::Repetitive { tokens, distinct });
        }
        let margin = least_margin_of(runs).ok_or(ReferenceError::NoMargin)?;
        let needed = least_margin(preset.spec.dtype);
        if margin < needed {
            return Err(ReferenceError::TooClose { margin, needed });
        }
        Ok(reference)
    }

    /// The greatest logits and the noise, if both were measured.
    pub(crate) fn bounds(&self) -> Option<(&[Top], f32)> {
        (self.top.len() == self.tokens.len()).then_some((&*self.top, self.noise?))
    }

    /// The first token, by rank, run and position, that differs from the reference's.
    pub(crate) fn first_difference(&self, transcripts: &[Transcript]) -> Option<String> {
        first_token(transcripts, |index, token| {
            let expected = self.tokens.get(index)?;
            let got = token.id;
            (got != *expected).then(|| format!("expected {expected}, got {got}"))
        })
    }

    /// The first token whose logits do not have the reference's bits.
    pub(crate) fn first_other_bits(&self, transcripts: &[Transcript]) -> Option<String> {
        first_other_bits(&self.digests, transcripts).map(|(place, own, theirs)| {
            format!("{place}: its logits differ from the reference's ({own} and {theirs})")
        })
    }
}

/// The digests of a run, if every token has one.
pub(crate) fn digests_of(run: &RunRecord) -> Option<Vec<String>> {
    run.tokens
        .iter()
        .map(|token| token.digest.clone())
        .collect()
}

/// The first token whose digest is not the expected one: its place, and the two.
pub(crate) fn first_other_bits<'a>(
    expected: &'a [String],
    transcripts: &'a [Transcript],
) -> Option<(String, &'a str, &'a str)> {
    places(transcripts).find_map(|(place, index, token)| {
        let (own, theirs) = (token.digest.as_deref()?, expected.get(index)?.as_str());
        (own != theirs).then(|| (place.to_string(), own, theirs))
    })
}

/// The place of the first token, by rank, run and position, of which there is something to
/// say, and that.
fn first_token(
    transcripts: &[Transcript],
    say: impl Fn(usize, &crate::launch::Token) -> Option<String>,
) -> Option<String> {
    let mut places = places(transcripts);
    places.find_map(|(place, index, token)| Some(format!("{place}: {}", say(index, token)?)))
}

/// Where a token is.
struct Place {
    rank: usize,
    run: usize,
    token: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, run, token } = self;
        write!(f, "rank {rank}, run {run}, token {token}")
    }
}

/// Every token by rank, run and position.
fn places(
    transcripts: &[Transcript],
) -> impl Iterator<Item = (Place, usize, &crate::launch::Token)> {
    transcripts.iter().enumerate().flat_map(|(rank, said)| {
        said.runs.iter().enumerate().flat_map(move |(run, record)| {
            let tokens = record.tokens.iter().enumerate();
            tokens.map(move |(index, token)| {
                let place = Place {
                    rank,
                    run,
                    token: index,
                };
                (place, index, token)
            })
        })
    })
}

/// The first run, by rank and run, in which a logit was NaN.
pub(crate) fn first_nan(transcripts: &[Transcript]) -> Option<String> {
    for (rank, transcript) in transcripts.iter().enumerate() {
        let mut runs = transcript.runs.iter();
        if let Some(run) = runs.position(|run| run.min_margin.is_some_and(f32::is_nan)) {
            return Some(format!(
                "rank {rank}, run {run}: a logit is not a number (NaN)"
            ));
        }
    }
    None
}

/// The smallest margin of all runs, if every run has one. NaN is smaller than any number.
pub(crate) fn least_margin_of<'a>(runs: impl IntoIterator<Item = &'a RunRecord>) -> Option<f32> {
    let margins: Option<Vec<f32>> = runs.into_iter().map(|run| run.min_margin).collect();
    let least = |least: f32, margin: f32| match least.is_nan() || least <= margin {
        true => least,
        false => margin,
    };
    margins?.into_iter().reduce(least)
}

/// Names a prompt and the seed of the weights and of what is in the cache.
fn name_of_prompt(settings: &Settings, workload: Workload) -> String {
    let named = (settings.seed, settings.prompt(workload));
    let text = serde_json::to_vec(&named).expect("a prompt is plain data");
    let hash = Sha256::digest(text);
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The references of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct References {
    /// The build that computed those of a file.
    build: Option<String>,
    all: BTreeMap<(Engine, Workload, Strategy), (String, Reference)>,
}

impl References {
    /// Adds one, under a name for people.
    pub(crate) fn add(&mut self, cell: Cell, name: String, reference: Reference) {
        let key = (cell.engine, cell.workload.computed(), reference.strategy);
        self.all.insert(key, (name, reference));
    }

    /// The reference of a cell with its name: a single process, or else the cell's own
    /// strategy.
    pub(crate) fn get(&self, cell: Cell) -> Option<(&str, &Reference)> {
        let of = |strategy| {
            let key = (cell.engine, cell.workload.computed(), strategy);
            self.all.get(&key)
        };
        let (name, reference) = of(Strategy::Single).or_else(|| of(cell.strategy))?;
        Some((name, reference))
    }

    /// Reads those of every cell from an earlier report.
    ///
    /// # Errors
    /// The file is no report, is of another model or prompt, or lacks a reference.
    pub(crate) fn read(
        path: &Path,
        settings: &Settings,
        cells: &[PlannedCell],
    ) -> Result<Self, FileError> {
        let file = path.to_owned();
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(source) => return Err(FileError::Unreadable { file, source }),
        };
        let document: Document = match serde_json::from_slice(&text) {
            Ok(document) => document,
            Err(source) => return Err(FileError::Malformed { file, source }),
        };
        if document.schema != SCHEMA {
            let schema = document.schema;
            return Err(FileError::Schema { file, schema });
        }
        let own = as_reported(&settings.model);
        if without_path(&document.model) != without_path(&own) {
            let name = document.model.get("name").and_then(Value::as_str);
            return Err(FileError::Model {
                file,
                theirs: name.unwrap_or("a model without a name").to_owned(),
                ours: settings.model.name().to_owned(),
            });
        }
        let mut references = Self {
            build: Some(document.build.key),
            ..Self::default()
        };
        let mut other_prompt = false;
        for row in document.cells {
            let Some(reference) = row.evidence else {
                continue;
            };
            if reference.prompt != name_of_prompt(settings, row.workload) {
                other_prompt = true;
                continue;
            }
            let cell = Cell::reference(row.engine, row.workload);
            references.add(cell, file.display().to_string(), reference);
        }
        match cells.iter().find(|it| references.get(it.cell).is_none()) {
            None => Ok(references),
            Some(_) if other_prompt => Err(FileError::Prompt { file }),
            Some(PlannedCell { cell, .. }) => Err(FileError::Missing {
                file,
                cell: cell.name_among(2),
            }),
        }
    }

    /// Forgets the bits of the logits if they were computed by another build than this one.
    pub(crate) fn keep_bits_of(&mut self, build: &str) {
        if self.build.as_ref().is_some_and(|it| it != build) {
            for (_, reference) in self.all.values_mut() {
                reference.digests.clear();
            }
        }
    }
}

/// What is read of a report.
#[derive(Debug, Deserialize)]
struct Document {
    schema: String,
    build: Build,
    model: Value,
    cells: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Build {
    key: String,
}

#[derive(Debug, Deserialize)]
struct Row {
    engine: Engine,
    #[serde(flatten)]
    workload: Workload,
    evidence: Option<Reference>,
}

/// A model as a report has it, wherever its folder was.
/// Why a file has no reference for a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot read the reference {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is no report of the benchmark.
    #[error("the reference {} is no report of the benchmark", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// The report has a schema that has no references.
    #[error("the reference {} has schema {schema}", file.display())]
    Schema {
        /// The file.
        file: PathBuf,
        /// Its schema.
        schema: String,
    },
    /// The report is about another model.
    #[error("the reference {} is of the model {theirs}, and this run of {ours}", file.display())]
    Model {
        /// The file.
        file: PathBuf,
        /// Its model.
        theirs: String,
        /// The run's.
        ours: String,
    },
    /// The report is about another prompt, or weights of another seed.
    #[error("the reference {} has another prompt", file.display())]
    Prompt {
        /// The file.
        file: PathBuf,
    },
    /// The report has no reference for a cell.
    #[error("the reference {} has no tokens for {cell}", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// The cell, with its workload.
        cell: String,
    },
}

impl FileError {
    /// The remedy.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::Malformed { .. } | Self::Schema { .. } => {
                "give a bench.json that this version of `cargo xtask bench` has written"
            }
            Self::Model { .. } | Self::Prompt { .. } | Self::Missing { .. } => {
                "measure the reference with the same engine, model, prompt, tokens, depth and \
                 prefill step"
            }
        }
    }
}
