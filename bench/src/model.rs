//! The models that the ranks run: shapes as plain data, and folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocol::{JobModel, Strategy};

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
    /// The preset with this name, or else the model in the folder at this path.
    ///
    /// # Errors
    /// If it is neither.
    pub fn named(name: &str) -> Result<Self, FolderError> {
        match Preset::find(name) {
            Some(preset) => Ok(Self::Preset(preset)),
            None => Folder::read(Path::new(name)).map(Self::Folder),
        }
    }

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
            Self::Folder(folder) => JobModel::Folder(folder.path.clone()),
        }
    }

    /// Bytes of one token's activation: what PP sends and TP reduces at decode.
    pub fn message_bytes(&self) -> usize {
        match self {
            Self::Preset(preset) => preset.spec.message_bytes(),
            Self::Folder(folder) => folder.hidden * folder.dtype.bytes(),
        }
    }

    /// Whether a strategy's tokens must equal the single process's. PP computes what the
    /// single process does in the same order. TP adds in another one: with the presets,
    /// which are made for it, no token may change by that; with real weights a close
    /// choice may.
    pub fn is_exact(&self, strategy: Strategy) -> bool {
        strategy != Strategy::Tp || matches!(self, Self::Preset(_))
    }

    /// Checks that a strategy can divide the model over `ranks`.
    ///
    /// # Errors
    /// Names the first part that does not divide.
    pub fn check_split(&self, strategy: Strategy, ranks: usize) -> Result<(), SplitError> {
        match (self, strategy) {
            (_, Strategy::Single) => Ok(()),
            (Self::Preset(preset), Strategy::Tp) => preset.spec.check_tensor_split(ranks),
            (Self::Preset(preset), Strategy::Pp) => preset.spec.check_pipeline_split(ranks),
            (Self::Folder(folder), Strategy::Tp) => {
                let heads = ("query heads", folder.heads);
                tensor_split(&[heads, ("key and value heads", folder.kv_heads)], ranks)
            }
            (Self::Folder(folder), Strategy::Pp) => pipeline_split(folder.layers, ranks),
        }
    }
}

impl From<Preset> for Model {
    fn from(preset: Preset) -> Self {
        Self::Preset(preset)
    }
}

/// A model folder as mlx-lm reads it, as far as a sweep must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Folder {
    /// The folder's own name.
    pub name: String,
    /// The folder, as an absolute path.
    pub path: PathBuf,
    /// `model_type` of its config: the family.
    pub family: String,
    /// Decoder layers.
    pub layers: usize,
    /// Width of the activations that ranks exchange.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Size of the vocabulary.
    pub vocab: usize,
    /// The longest sequence that the model was made for, if the config names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// Type of the activations.
    pub dtype: Dtype,
}

/// Why a folder is no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is no such folder.
    #[error("{} is neither a preset nor a folder", path.display())]
    Unknown {
        /// What was named.
        path: PathBuf,
    },
    /// It has no config, or the config cannot be read.
    #[error("{} is no model folder: its config.json cannot be read", path.display())]
    NoConfig {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The config is no JSON.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The config.
        path: PathBuf,
        /// The reason.
        #[source]
        source: serde_json::Error,
    },
    /// The config lacks a number or a name that every family has.
    #[error("{} does not name its {key}", path.display())]
    Lacks {
        /// The config.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// No file of weights is in it.
    #[error("{} has a config and no weights (model*.safetensors)", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
}

impl FolderError {
    /// The remedy.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown { .. } => {
                let presets: Vec<_> = Preset::ALL.iter().map(|preset| preset.name).collect();
                let presets = presets.join(", ");
                format!("the presets are {presets}; a folder is named by its path")
            }
            Self::NoConfig { .. } | Self::Lacks { .. } => {
                "pass a preset's name, or a folder with config.json and model*.safetensors"
                    .to_owned()
            }
            Self::Damaged { .. } | Self::NoWeights { .. } => {
                "download or convert the model again; a partial download looks like this".to_owned()
            }
        }
    }
}

impl Folder {
    /// Reads the config of a folder. The weights are left to the engine.
    ///
    /// # Errors
    /// When it is no model folder.
    pub fn read(folder: &Path) -> Result<Self, FolderError> {
        let no_config = |source| FolderError::NoConfig {
            path: folder.to_owned(),
            source,
        };
        if !folder.is_dir() {
            let path = folder.to_owned();
            return Err(FolderError::Unknown { path });
        }
        let path = fs::canonicalize(folder).map_err(no_config)?;
        let config = path.join("config.json");
        let text = fs::read(&config).map_err(no_config)?;
        let whole: Value =
            serde_json::from_slice(&text).map_err(|source| FolderError::Damaged {
                path: config.clone(),
                source,
            })?;
        // A model that also sees images has its text model's numbers in a part of their own.
        let text = whole.get("text_config").unwrap_or(&whole);
        let find = |key: &'static str| text.get(key).or_else(|| whole.get(key));
        let lacks = |key| FolderError::Lacks {
            path: config.clone(),
            key,
        };
        let number = |key| Some(find(key)?.as_u64()? as usize);
        let needed = |key| number(key).filter(|&it| it > 0).ok_or_else(|| lacks(key));
        let family = whole.get("model_type").and_then(Value::as_str);
        let dtype = find("torch_dtype").or_else(|| find("dtype"));
        let heads = needed("num_attention_heads")?;
        let read = Self {
            family: family.ok_or_else(|| lacks("model_type"))?.to_owned(),
            layers: needed("num_hidden_layers")?,
            hidden: needed("hidden_size")?,
            heads,
            kv_heads: number("num_key_value_heads").unwrap_or(heads),
            vocab: needed("vocab_size")?,
            context: number("max_position_embeddings"),
            dtype: match dtype.and_then(Value::as_str) {
                Some("float32") => Dtype::F32,
                Some("float16") => Dtype::F16,
                _ => Dtype::Bf16,
            },
            name: (path.file_name().unwrap_or_default().to_string_lossy()).into_owned(),
            path,
        };
        let files = fs::read_dir(&read.path).map_err(no_config)?;
        let mut names = files.flatten().map(|file| file.file_name());
        let is_weights = |name: &str| name.starts_with("model") && name.ends_with(".safetensors");
        match names.any(|name| is_weights(&name.to_string_lossy())) {
            true => Ok(read),
            false => Err(FolderError::NoWeights { path: read.path }),
        }
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

    const CONFIG: &str = r#"{"model_type": "llama", "hidden_size": 576,
        "num_hidden_layers": 30, "num_attention_heads": 12, "num_key_value_heads": 6,
        "vocab_size": 49152, "max_position_embeddings": 2048, "torch_dtype": "float16"}"#;

    /// A folder with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_is_read_as_far_as_a_sweep_must_know_it() {
        let files = [
            ("config.json", CONFIG),
            ("model-00001-of-2.safetensors", ""),
        ];
        let whole = folder(&files);
        let model = Model::named(whole.path().to_str().unwrap()).unwrap();
        let Model::Folder(read) = &model else {
            panic!("{model:?}")
        };
        let counts = [
            read.layers,
            read.hidden,
            read.heads,
            read.kv_heads,
            read.vocab,
        ];
        assert_eq!(counts, [30, 576, 12, 6, 49152]);
        assert_eq!((&*read.family, read.context), ("llama", Some(2048)));
        assert_eq!(model.message_bytes(), 1152);
        assert!(read.path.is_absolute());
        assert_eq!(model.of_job(), JobModel::Folder(read.path.clone()));

        // A model that also sees images has these in a part of their own.
        let nested = format!(r#"{{"model_type": "both", "text_config": {CONFIG}}}"#);
        let nested = folder(&[("config.json", &nested), ("model.safetensors", "")]);
        let nested = Folder::read(nested.path()).unwrap();
        assert_eq!((&*nested.family, nested.vocab), ("both", 49152));
    }

    #[test]
    fn what_is_no_model_folder_is_refused_with_the_remedy() {
        let refusal = |files: &[(&str, &str)]| {
            let folder = folder(files);
            let error = Folder::read(folder.path()).unwrap_err();
            assert!(!error.help().is_empty());
            let place = folder.path().display().to_string();
            assert!(error.to_string().contains(&place), "{error}");
            error
        };
        assert!(matches!(refusal(&[]), FolderError::NoConfig { .. }));
        let damaged = refusal(&[("config.json", "{")]);
        assert!(matches!(damaged, FolderError::Damaged { .. }), "{damaged}");
        let no_weights = refusal(&[("config.json", CONFIG), ("notes.safetensors", "")]);
        assert!(
            matches!(no_weights, FolderError::NoWeights { .. }),
            "{no_weights}"
        );
        let lacks = CONFIG.replace("vocab_size", "vocabulary");
        let lacks = refusal(&[("config.json", &lacks)]);
        assert!(lacks.to_string().contains("vocab_size"), "{lacks}");

        let unknown = Model::named("gpt").unwrap_err();
        assert!(
            unknown.to_string().starts_with("gpt is neither"),
            "{unknown}"
        );
        assert!(unknown.help().contains("qwen3-tiny"));
    }

    #[test]
    fn heads_that_do_not_divide_are_refused_with_the_counts_that_would_do() {
        let files = folder(&[("config.json", CONFIG), ("model.safetensors", "")]);
        let model = Model::Folder(Folder::read(files.path()).unwrap());
        model.check_split(Strategy::Tp, 3).unwrap();
        model.check_split(Strategy::Pp, 4).unwrap();
        let error = model.check_split(Strategy::Tp, 4).unwrap_err().to_string();
        assert_eq!(
            error,
            "tp cannot split the model's 6 key and value heads evenly over 4 ranks; over 2, 3 or \
             6 it can"
        );
        assert!(model.check_split(Strategy::Pp, 31).is_err());
    }

    #[test]
    fn a_spec_survives_json() {
        let spec = Preset::find("qwen3-wide-4bit").unwrap().spec;
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ModelSpec>(&json).unwrap(), spec);
    }
}
