//! The models that the ranks run: shapes as plain data, and folders.

use std::{fs, path::Path, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    engine::Engine,
    protocol::{JobModel, Strategy},
};

/// A model to run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Model {
    /// A shape with weights from a seed.
    Preset(Preset),
    /// A folder with weights.
    Folder(Folder),
}

impl Model {
    /// Its name, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Preset(preset) => preset.name,
            Self::Folder(folder) => &folder.name,
        }
    }

    /// The model as a rank gets it.
    pub fn of_job(&self) -> JobModel {
        match self {
            Self::Preset(preset) => JobModel::Preset(preset.spec),
            Self::Folder(folder) => JobModel::Folder(folder.content.path().to_owned()),
        }
    }

    /// Bytes of one token's activation, if they are known: what PP sends and TP reduces at
    /// decode.
    pub fn message_bytes(&self) -> Option<usize> {
        match self {
            Self::Preset(preset) => Some(preset.spec.message_bytes()),
            Self::Folder(folder) => folder.content.message_bytes(),
        }
    }

    /// Bytes of all weights, if they are known.
    pub fn bytes(&self) -> Option<usize> {
        match self {
            Self::Preset(preset) => Some(preset.spec.weight_bytes()),
            Self::Folder(folder) => Some(folder.content.bytes()),
        }
    }

    /// The number of decoder layers, if it is known.
    pub fn layers(&self) -> Option<usize> {
        match self {
            Self::Preset(preset) => Some(preset.spec.layers),
            Self::Folder(folder) => folder.content.layers(),
        }
    }

    /// Whether a strategy's tokens must equal the single process's. PP computes what the
    /// single process does in the same order. TP adds in another one: with the presets,
    /// which are made for it, no token may change by that; with real weights a close
    /// choice may.
    pub fn is_exact(&self, strategy: Strategy) -> bool {
        strategy != Strategy::Tp || matches!(self, Self::Preset(_))
    }

    /// Checks that a strategy of an engine can divide the model over `ranks`.
    ///
    /// # Errors
    /// Names the first part that does not divide, or the family that the engine cannot cut.
    pub fn check_split(
        &self,
        engine: Engine,
        strategy: Strategy,
        ranks: usize,
    ) -> Result<(), ModelError> {
        match (self, strategy) {
            (_, Strategy::Single) => {}
            (Self::Preset(preset), Strategy::Tp) => preset.spec.check_tensor_split(ranks)?,
            (Self::Preset(preset), Strategy::Pp) => preset.spec.check_pipeline_split(ranks)?,
            (Self::Folder(Folder { content, .. }), Strategy::Tp) => {
                models::family::check_known(content.model_type(), engine == Engine::MlxLm)?;
                // mlx-lm knows families whose numbers this project does not read.
                if content.family().is_some() {
                    content.check_split(ranks)?;
                }
            }
            (Self::Folder(Folder { content, .. }), Strategy::Pp) => {
                content.check_pipeline(ranks)?;
            }
        }
        Ok(())
    }

    /// Checks that a prompt and what is to be generated are no longer than the model permits.
    ///
    /// # Errors
    /// If they are.
    pub fn check_length(&self, prompt: usize, generated: usize) -> Result<(), ModelError> {
        match self {
            Self::Preset(_) => Ok(()),
            Self::Folder(folder) => Ok(folder.content.check_length(prompt, generated)?),
        }
    }
}

impl From<Preset> for Model {
    fn from(preset: Preset) -> Self {
        Self::Preset(preset)
    }
}

/// Why a model does not permit what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A preset cannot be divided.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A folder cannot be read or divided, or its context is too short.
    #[error(transparent)]
    Folder(#[from] models::Error),
}

impl ModelError {
    /// The remedy, if one is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Split(error) => Some(error.help().to_owned()),
            Self::Folder(error) => error.help(),
        }
    }
}

/// A model folder as mlx-lm reads it, under a name for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Folder {
    /// The name.
    pub name: String,
    /// The folder, by its absolute path.
    pub content: Arc<models::Folder>,
    /// Names what is in it, wherever it is: see [`models::Folder::digest`].
    pub digest: String,
}

impl Folder {
    /// Opens a folder. Without a name it has the folder's own.
    ///
    /// # Errors
    /// As [`models::Folder::open`] and [`models::Folder::digest`].
    pub fn open(name: Option<&str>, path: &Path) -> models::Result<Self> {
        // A folder that does not exist is refused in words by `open`.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let own = path.file_name().unwrap_or_default().to_string_lossy();
        let content = models::Folder::open(&path)?;
        Ok(Self {
            name: name.unwrap_or(&own).to_owned(),
            digest: content.digest()?,
            content: Arc::new(content),
        })
    }
}

/// What a report says of it.
impl Serialize for Folder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row<'a> {
            name: &'a str,
            path: &'a Path,
            digest: &'a str,
            family: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            layers: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            hidden: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            heads: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            kv_heads: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            vocab: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            context: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            dtype: Option<Dtype>,
        }
        let content = &self.content;
        let config = content.config().ok();
        let dtype = content.activations().and_then(|dtype| match dtype {
            models::Dtype::F32 => Some(Dtype::F32),
            models::Dtype::BF16 => Some(Dtype::Bf16),
            models::Dtype::F16 => Some(Dtype::F16),
            _ => None,
        });
        let row = Row {
            name: &self.name,
            path: content.path(),
            digest: &self.digest,
            family: content.model_type(),
            layers: content.layers(),
            hidden: content.hidden(),
            heads: config.map(|it| it.heads),
            kv_heads: config.map(|it| it.kv_heads),
            vocab: config.map(|it| it.vocab),
            context: content.context(),
            dtype,
        };
        row.serialize(serializer)
    }
}

/// The shape of a Qwen3 decoder: grouped-query attention with RMS norms on
/// queries and keys, rotary positions, SwiGLU, untied output head.
///
/// The weights come from the job's seed, so a spec and a seed define a whole model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Decoder layers. [`Strategy::Pp`] gives
    /// each rank consecutive ones.
    pub layers: usize,
    /// Width of the activations that ranks exchange.
    pub hidden: usize,
    /// Query heads. [`Strategy::Tp`] splits them
    /// over the ranks.
    pub heads: usize,
    /// Key and value heads, split like the query heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Inner width of the feed-forward block, split like the heads.
    pub ffn: usize,
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Base of the rotary encoding.
    pub rope_theta: f32,
    /// Added under the root of an RMS norm.
    pub rms_eps: f32,
    /// Type of weights and activations.
    pub dtype: Dtype,
    /// Quantisation of the linear layers, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quant: Option<Quant>,
}

/// Type of weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit IEEE float: another order of summation changes a sum far less than the
    /// margin between two tokens, so equal tokens are a fair requirement.
    F32,
    /// bfloat16.
    Bf16,
    /// 16-bit IEEE float.
    F16,
}

impl Dtype {
    /// Bytes per element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }
}

/// Affine quantisation as in `mlx_quantize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quant {
    /// The number of elements that share a scale and a bias.
    pub group_size: usize,
    /// Bits per element.
    pub bits: usize,
}

/// A named model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Its purpose, in one line.
    #[serde(skip)]
    pub purpose: &'static str,
    /// Its shape.
    #[serde(flatten)]
    pub spec: ModelSpec,
}

/// Wide and shallow: an activation is 8192 bytes (two of jaccl's small frames,
/// where the receive of an unpatched ring goes wrong; 4096 would not show it),
/// while little is computed for each byte sent.
const WIDE: ModelSpec = ModelSpec {
    layers: 4,
    hidden: 2048,
    heads: 4,
    kv_heads: 2,
    head_dim: 32,
    ffn: 128,
    vocab: 1024,
    rope_theta: 1_000_000.0,
    rms_eps: 1e-6,
    dtype: Dtype::F32,
    quant: None,
};

impl Preset {
    /// All presets. The first is the default.
    pub const ALL: &[Self] = &[
        Self {
            name: "qwen3-wide",
            purpose: "f32, decode messages of 8192 bytes, prefill bound by the cables",
            spec: WIDE,
        },
        Self {
            name: "qwen3-wide-4bit",
            purpose: "the same with its linear layers in 4 bits, groups of 64",
            spec: ModelSpec {
                quant: Some(Quant {
                    group_size: 64,
                    bits: 4,
                }),
                ..WIDE
            },
        },
        Self {
            name: "qwen3-tiny",
            purpose: "two layers of width 64, for a quick look",
            spec: ModelSpec {
                layers: 2,
                hidden: 64,
                heads: 4,
                head_dim: 16,
                ffn: 128,
                vocab: 512,
                ..WIDE
            },
        },
    ];

    /// The preset with this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|preset| preset.name == name)
    }
}

/// Why a model cannot be spread over this many ranks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Tensor parallelism would give the ranks unequal parts.
    #[error(
        "tp cannot split the model's {count} {what} evenly over {ranks} ranks{}",
        would(fits)
    )]
    Tensor {
        /// The part that does not divide evenly.
        what: &'static str,
        /// The number that the model has.
        count: usize,
        /// Ranks to split them over.
        ranks: usize,
        /// The numbers of ranks, from 2 on, over which every part divides.
        fits: Vec<usize>,
    },
    /// Pipeline parallelism would leave a rank without a layer.
    #[error("pp needs a layer for each of {ranks} ranks, and the model has {layers}")]
    Pipeline {
        /// Layers of the model.
        layers: usize,
        /// Ranks to spread them over.
        ranks: usize,
    },
}

/// The numbers of ranks that would do, after a semicolon.
fn would(fits: &[usize]) -> String {
    let fits: Vec<_> = fits.iter().map(usize::to_string).collect();
    match &fits[..] {
        [] => String::new(),
        [fit] => format!("; over {fit} it can"),
        [fits @ .., last] => format!("; over {} or {last} it can", fits.join(", ")),
    }
}

/// Checks that every part divides over `ranks`.
fn tensor_split(parts: &[(&'static str, usize)], ranks: usize) -> Result<(), SplitError> {
    let divides = |ranks: &usize| parts.iter().all(|(_, count)| count.is_multiple_of(*ranks));
    match parts.iter().find(|(_, count)| !count.is_multiple_of(ranks)) {
        None => Ok(()),
        Some(&(what, count)) => {
            let most = parts.iter().map(|(_, count)| *count).min().unwrap_or(1);
            Err(SplitError::Tensor {
                what,
                count,
                ranks,
                fits: (2..=most).filter(divides).collect(),
            })
        }
    }
}

/// Checks that each rank gets a layer.
fn pipeline_split(layers: usize, ranks: usize) -> Result<(), SplitError> {
    match layers < ranks {
        true => Err(SplitError::Pipeline { layers, ranks }),
        false => Ok(()),
    }
}

impl SplitError {
    /// The remedy.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Tensor { .. } => "use pp alone, a rig with fewer nodes, or another model",
            Self::Pipeline { .. } => "use tp alone, a rig with fewer nodes, or another model",
        }
    }
}

impl ModelSpec {
    /// Bytes of one token's activation: what PP sends and TP reduces at decode.
    pub fn message_bytes(&self) -> usize {
        self.hidden * self.dtype.bytes()
    }

    /// Bytes of all weights, without norms and the scales of quantised layers.
    pub fn weight_bytes(&self) -> usize {
        let heads = (2 * self.heads + 2 * self.kv_heads) * self.head_dim;
        let linear = self.layers * self.hidden * (heads + 3 * self.ffn);
        let bits = self.quant.map_or(8 * self.dtype.bytes(), |it| it.bits);
        2 * self.vocab * self.hidden * self.dtype.bytes() + linear * bits / 8
    }

    /// Checks that tensor parallelism over `ranks` leaves each rank whole heads
    /// and an equal share of the feed-forward block.
    ///
    /// # Errors
    /// Names the first part that does not divide.
    pub fn check_tensor_split(&self, ranks: usize) -> Result<(), SplitError> {
        let parts = [
            ("query heads", self.heads),
            ("key and value heads", self.kv_heads),
            ("feed-forward units", self.ffn),
        ];
        tensor_split(&parts, ranks)
    }

    /// Checks that pipeline parallelism over `ranks` leaves each rank a layer.
    ///
    /// # Errors
    /// If there are fewer layers than ranks.
    pub fn check_pipeline_split(&self, ranks: usize) -> Result<(), SplitError> {
        pipeline_split(self.layers, ranks)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use models::{
        Family,
        tiny::{self, Weights},
    };

    use super::*;

    #[test]
    fn the_default_preset_sends_the_message_that_shows_the_receive_defect() {
        assert_eq!(Preset::ALL[0].spec.message_bytes(), 8192);
    }

    #[test]
    fn every_preset_is_found_by_its_name_and_runs_on_two_ranks() {
        let names: HashSet<_> = Preset::ALL.iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), Preset::ALL.len());
        for preset in Preset::ALL {
            assert_eq!(Preset::find(preset.name), Some(*preset));
            let spec = preset.spec;
            spec.check_tensor_split(2).unwrap();
            spec.check_pipeline_split(2).unwrap();
            assert!(spec.heads.is_multiple_of(spec.kv_heads));
            if let Some(quant) = spec.quant {
                let shard_inputs = [spec.hidden, spec.heads * spec.head_dim / 2, spec.ffn / 2];
                assert!(
                    shard_inputs
                        .iter()
                        .all(|inputs| inputs.is_multiple_of(quant.group_size))
                );
            }
        }
        assert_eq!(Preset::find("no-such-model"), None);
    }

    #[test]
    fn a_split_that_does_not_divide_is_refused_by_name() {
        let error = WIDE.check_tensor_split(3).unwrap_err();
        assert!(error.help().starts_with("use pp alone"));
        let error = error.to_string();
        assert!(
            error.contains("4 query heads") && error.contains("3 ranks"),
            "{error}"
        );
        let error = WIDE.check_pipeline_split(5).unwrap_err().to_string();
        assert!(
            error.contains("5 ranks") && error.contains("has 4"),
            "{error}"
        );
    }

    /// A small Llama of four query heads, two key and value heads and four layers.
    fn tiny() -> (tempfile::TempDir, Model) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tiny");
        tiny::write(Family::Llama, Weights::Quantised, 1, &path).unwrap();
        let folder = Folder::open(None, &path).unwrap();
        (root, Model::Folder(folder))
    }

    #[test]
    fn a_report_says_of_a_folder_what_it_is() {
        let (root, model) = tiny();
        let path = fs::canonicalize(root.path()).unwrap().join("tiny");
        let Model::Folder(Folder { digest, .. }) = &model else {
            panic!("{model:?}")
        };
        assert_eq!(
            serde_json::to_value(&model).unwrap(),
            serde_json::json!({
                "name": "tiny", "path": path, "digest": digest, "family": "llama", "layers": 4, "hidden": 64,
                "heads": 4, "kv_heads": 2, "vocab": 256, "context": 4096, "dtype": "f32",
            })
        );
        assert_eq!(model.message_bytes(), Some(64 * 4));
        assert_eq!(model.of_job(), JobModel::Folder(path.clone()));
        assert_eq!(Folder::open(Some("a/b"), &path).unwrap().name, "a/b");
        assert!(Folder::open(None, root.path()).is_err());
    }

    #[test]
    fn what_a_folder_does_not_permit_is_refused_with_what_would_do() {
        let (_root, model) = tiny();
        let refusal = |engine, strategy, ranks| {
            let refused = model.check_split(engine, strategy, ranks).unwrap_err();
            format!("{refused}; {}", refused.help().unwrap())
        };
        for engine in Engine::ALL {
            model.check_split(engine, Strategy::Tp, 2).unwrap();
            model.check_split(engine, Strategy::Pp, 4).unwrap();
            let text = refusal(engine, Strategy::Tp, 4);
            assert!(text.contains("2 key and value heads"), "{text}");
            assert!(text.contains("a rig with 2 nodes"), "{text}");
            let text = refusal(engine, Strategy::Pp, 5);
            assert!(text.contains("the model has 4"), "{text}");
        }
        model.check_length(4000, 96).unwrap();
        let error = model.check_length(4000, 97).unwrap_err();
        assert!(error.to_string().contains("4097 tokens"), "{error}");
    }

    #[test]
    fn a_family_is_cut_by_the_engine_that_can() {
        let (root, _) = tiny();
        let config = root.path().join("tiny/config.json");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace("\"llama\"", "\"deepseek_v3\"")).unwrap();
        let model = Model::Folder(Folder::open(None, &root.path().join("tiny")).unwrap());
        model.check_split(Engine::MlxLm, Strategy::Tp, 2).unwrap();
        let refused = model.check_split(Engine::Rust, Strategy::Tp, 2);
        assert!(matches!(refused, Err(ModelError::Folder(_))), "{refused:?}");
    }

    #[test]
    fn a_spec_survives_json() {
        let spec = Preset::find("qwen3-wide-4bit").unwrap().spec;
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ModelSpec>(&json).unwrap(), spec);
    }
}
