//! The JSON files that a report is made of. Unknown fields are ignored, so that a file
//! with more in it can be read too.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// The name of the benchmark's JSON, without the version.
const BENCH: Schema = Schema {
    name: "mlx-rails/bench",
    newest: 2,
    made_by: "cargo xtask bench --format json",
};

/// The name of the JSON of collectives, without the version.
const COLLECTIVES: Schema = Schema {
    name: "mlx-rails/collectives",
    newest: 1,
    made_by: "cargo xtask collectives --format json",
};

/// A kind of file.
struct Schema {
    name: &'static str,
    newest: u32,
    made_by: &'static str,
}

/// Why a text is no input of a report. The caller knows the name of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not JSON.
    #[error("it is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON of another kind.
    #[error("its schema is {}, not {expected}", found.as_deref().unwrap_or("not named"))]
    Other {
        /// The schema that it names, if it names one.
        found: Option<String>,
        /// The schema that is read.
        expected: String,
        /// The command that writes such a file.
        made_by: &'static str,
    },
    /// It was written by a later version.
    #[error("its schema is {found}, and the newest that is read here is {newest}")]
    Newer {
        /// The schema that it names.
        found: String,
        /// The newest that is read.
        newest: String,
    },
    /// A field is missing, or is of another type than its schema has.
    #[error("its field {path} is not as {schema} has it")]
    Field {
        /// Where the field is.
        path: String,
        /// The schema.
        schema: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It has nothing to show.
    #[error("it has no {0}")]
    Empty(&'static str),
}

impl ReadError {
    /// The remedy.
    pub fn help(&self) -> String {
        match self {
            Self::NotJson(_) | Self::Field { .. } => {
                "pass a bench.json as it was written; a cut or edited file looks like this"
                    .to_owned()
            }
            Self::Other { made_by, .. } => format!("pass what `{made_by}` writes"),
            Self::Newer { .. } => {
                "make the report with the checkout that measured, or update this one".to_owned()
            }
            Self::Empty(_) => "measure again; a complete file has one or more".to_owned(),
        }
    }
}

impl Schema {
    /// Reads a file of this kind.
    fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T, ReadError> {
        #[derive(Deserialize)]
        struct Named {
            schema: Option<Value>,
        }

        let value: Value = serde_json::from_str(text).map_err(ReadError::NotJson)?;
        let named = Named::deserialize(&value).ok().and_then(|it| it.schema);
        let found = named.and_then(|name| name.as_str().map(str::to_owned));
        let newest = format!("{}/{}", self.name, self.newest);
        let version = found.as_deref().and_then(|found| {
            let version = found.strip_prefix(self.name)?.strip_prefix('/')?;
            version.parse::<u32>().ok()
        });
        match (version, found) {
            (Some(version), Some(found)) if version > self.newest => {
                return Err(ReadError::Newer { found, newest });
            }
            (Some(1..), _) => {}
            (_, found) => {
                return Err(ReadError::Other {
                    found,
                    expected: newest,
                    made_by: self.made_by,
                });
            }
        }
        // From the text, so that an error names the line.
        let mut deserializer = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| ReadError::Field {
            path: error.path().to_string(),
            schema: newest,
            source: error.into_inner(),
        })
    }
}

/// A report of the benchmark, as far as a page shows it.
#[derive(Debug, Deserialize)]
pub struct Bench {
    pub schema: String,
    pub build: Build,
    /// As `rig.toml` has it.
    #[serde(default)]
    pub rig: Value,
    #[serde(default)]
    pub model: Map<String, Value>,
    pub cells: Vec<Cell>,
    #[serde(default)]
    pub warnings: Vec<String>,
    #[serde(default)]
    pub interrupted: bool,
    pub error: Option<String>,
    /// The matrix, if it was given.
    pub given: Option<Value>,
    /// The machine that measured.
    pub machine: Option<Value>,
    /// The command line that measured.
    pub command: Option<Value>,
}

/// The MLX that ran.
#[derive(Debug, Deserialize)]
pub struct Build {
    pub mlx: String,
    pub series: String,
    #[serde(default)]
    pub tree: String,
    #[serde(default)]
    pub patched_tree: String,
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub manifest: Value,
}

/// One cell.
#[derive(Debug, Deserialize)]
#[serde(from = "FlatCell")]
pub struct Cell {
    pub task: Task,
    pub place: Place,
    pub verdict: String,
    pub tokens_match: Option<bool>,
    pub ttft_ms: Option<Figure>,
    pub prompt_tps: Option<Figure>,
    pub generation_tps: Option<Figure>,
    pub itl_ms: Option<Percentiles>,
    /// Bytes that each cable carried.
    pub prefill_bytes: BTreeMap<String, f64>,
    pub decode_bytes: BTreeMap<String, f64>,
    pub tpot_ms: Option<Figure>,
    pub time_split: Option<TimeSplit>,
    pub explained: Option<Explained>,
    pub detail: Option<String>,
}

/// What a cell computes. Only cells of one task are compared in a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub engine: Option<String>,
    pub frames: String,
    pub prompt_tokens: u64,
    pub generation_tokens: u64,
    /// Tokens in the cache before the prompt.
    pub depth: u64,
    pub prefill_step: Option<u64>,
    pub fast_synch: bool,
    pub env: BTreeMap<String, String>,
}

/// Over which cables a cell computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub strategy: String,
    /// `none` for the reference.
    pub backend: String,
    pub cables: u32,
}

/// The fields of a cell as the file has them. A flattened struct would hide from an error
/// which field it is about.
#[derive(Deserialize)]
struct FlatCell {
    strategy: String,
    backend: String,
    cables: u32,
    engine: Option<String>,
    #[serde(default)]
    frames: String,
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    generation_tokens: u64,
    #[serde(default)]
    depth: u64,
    prefill_step: Option<u64>,
    #[serde(default)]
    fast_synch: bool,
    #[serde(default)]
    env: BTreeMap<String, String>,
    verdict: String,
    tokens_match: Option<bool>,
    ttft_ms: Option<Figure>,
    prompt_tps: Option<Figure>,
    generation_tps: Option<Figure>,
    itl_ms: Option<Percentiles>,
    #[serde(default)]
    cable_bytes: BTreeMap<String, f64>,
    #[serde(default)]
    decode_cable_bytes: BTreeMap<String, f64>,
    tpot_ms: Option<Figure>,
    time_split: Option<TimeSplit>,
    explained: Option<Explained>,
    detail: Option<String>,
}

impl From<FlatCell> for Cell {
    fn from(flat: FlatCell) -> Self {
        Self {
            task: Task {
                engine: flat.engine,
                frames: flat.frames,
                prompt_tokens: flat.prompt_tokens,
                generation_tokens: flat.generation_tokens,
                depth: flat.depth,
                prefill_step: flat.prefill_step,
                fast_synch: flat.fast_synch,
                env: flat.env,
            },
            place: Place {
                strategy: flat.strategy,
                backend: flat.backend,
                cables: flat.cables,
            },
            verdict: flat.verdict,
            tokens_match: flat.tokens_match,
            ttft_ms: flat.ttft_ms.and_then(Figure::usable),
            prompt_tps: flat.prompt_tps.and_then(Figure::usable),
            generation_tps: flat.generation_tps.and_then(Figure::usable),
            itl_ms: flat.itl_ms,
            prefill_bytes: flat.cable_bytes,
            decode_bytes: flat.decode_cable_bytes,
            tpot_ms: flat.tpot_ms.and_then(Figure::usable),
            time_split: flat.time_split,
            explained: flat.explained,
            detail: flat.detail,
        }
    }
}

/// What a cell should take, beside what it took.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Explained {
    pub ttft: Explanation,
    pub token: Explanation,
}

/// What a time should be.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Explanation {
    pub predicted_ms: f64,
    /// Of the measured median.
    pub part: f64,
}

/// Where the time of a cell went, by runs of their own.
#[derive(Debug, Deserialize)]
pub struct TimeSplit {
    pub cost: Cost,
    /// Milliseconds of each rank up to its first token.
    pub prefill_ms: Vec<Parts>,
    /// Milliseconds of each rank for a token after the first.
    pub decode_ms: Vec<Parts>,
}

/// How long these runs take, as a part of a measured run.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Cost {
    pub without: f64,
    pub apart: Option<f64>,
}

/// Milliseconds by what they were spent on.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Parts {
    compute: f64,
    fence: f64,
    cable: f64,
    wait: f64,
    host: f64,
}

impl Parts {
    /// The parts in the order of a bar, each with its name.
    pub fn each(&self) -> [(&'static str, f64); 5] {
        [
            ("compute", self.compute),
            ("fence", self.fence),
            ("cable", self.cable),
            ("wait", self.wait),
            ("host", self.host),
        ]
        .map(|(name, ms)| (name, if ms > 0.0 { ms } else { 0.0 }))
    }

    /// All of them.
    pub fn total(&self) -> f64 {
        self.each().iter().map(|(_, ms)| ms).sum()
    }
}

/// Samples of one quantity.
#[derive(Debug, Clone, Deserialize)]
pub struct Figure {
    pub median: f64,
    /// In the order in which they were taken.
    #[serde(default)]
    pub samples: Vec<f64>,
}

impl Figure {
    /// It, if its numbers can be drawn: a time or a rate that is greater than zero, and far
    /// from the largest number.
    fn usable(self) -> Option<Self> {
        let usable = |value: &f64| (1e-9..1e15).contains(value);
        let all = [self.median];
        all.iter().chain(&self.samples).all(usable).then_some(self)
    }
}

/// Percentiles of one quantity.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

/// A report of collectives, as far as a page shows it.
#[derive(Debug, Deserialize)]
pub struct Collectives {
    pub rows: Vec<Row>,
}

/// An operation of one length.
#[derive(Debug, Deserialize)]
pub struct Row {
    pub mlx: String,
    pub series: String,
    pub op: String,
    pub backend: String,
    pub ranks: u32,
    pub cables: u32,
    #[serde(default)]
    pub frames: String,
    pub bytes: u64,
    pub verdict: String,
    /// Bytes a second.
    pub busbw: Option<f64>,
    /// Of the line, from 0 to 1.
    pub line_share: Option<f64>,
}

impl Bench {
    /// Reads a `bench.json`.
    pub fn read(text: &str) -> Result<Self, ReadError> {
        let read: Self = BENCH.read(text)?;
        match read.cells.is_empty() {
            true => Err(ReadError::Empty("cells")),
            false => Ok(read),
        }
    }

    /// Bytes of one token's activation: what TP reduces and PP sends at decode.
    pub fn message_bytes(&self) -> Option<u64> {
        let hidden = self.model.get("hidden")?.as_u64()?;
        let bytes = match self.model.get("dtype")?.as_str()? {
            "f32" => 4,
            "bf16" | "f16" => 2,
            _ => return None,
        };
        hidden.checked_mul(bytes)
    }
}

impl Collectives {
    /// Reads a `collectives.json`.
    pub fn read(text: &str) -> Result<Self, ReadError> {
        let read: Self = COLLECTIVES.read(text)?;
        match read.rows.is_empty() {
            true => Err(ReadError::Empty("rows")),
            false => Ok(read),
        }
    }
}

impl Cell {
    /// Whether its tokens are right, or as near as real weights allow (`drift`). Only such a
    /// cell's figures are compared.
    pub fn passed(&self) -> bool {
        self.verdict == "pass" || self.drifts()
    }

    /// Whether its tokens are near those of the reference, and not the same.
    pub fn drifts(&self) -> bool {
        self.verdict == "drift"
    }

    /// Whether it is one process without cables.
    pub fn is_reference(&self) -> bool {
        self.place.strategy == "single"
    }
}

impl Place {
    /// Its name, as `tp ring-3`.
    pub fn name(&self) -> String {
        let Self {
            strategy,
            backend,
            cables,
        } = self;
        match backend.as_str() {
            "none" => strategy.clone(),
            _ => format!("{strategy} {backend}-{cables}"),
        }
    }
}

impl Task {
    /// It in words, for a heading.
    pub fn name(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.engine.clone());
        parts.push(format!("prompt of {} tokens", self.prompt_tokens));
        parts.push(format!("{} generated", self.generation_tokens));
        parts.extend((self.depth > 0).then(|| format!("depth {}", self.depth)));
        parts.extend(self.prefill_step.map(|it| format!("prefill step {it}")));
        parts.extend((!self.frames.is_empty()).then(|| format!("{} frames", self.frames)));
        parts.extend(self.fast_synch.then(|| "fast synch".to_owned()));
        let env = self.env.iter();
        parts.extend(env.map(|(name, value)| format!("{name}={value}")));
        parts.join(", ")
    }
}
