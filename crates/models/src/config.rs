//! `config.json`, as far as an engine needs it.
//!
//! Keys, defaults and their meaning are those of mlx-lm 0.31.3's `ModelArgs` of each family.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    error::{Error, IoContext, Result},
    family::{Count, Family},
};

/// The shape of a model of a known family.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The family.
    pub family: Family,
    /// Decoder layers.
    pub layers: usize,
    /// Width of the activations.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Inner width of a feed-forward block without experts.
    pub ffn: usize,
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Base of the rotary encoding.
    pub rope_theta: f32,
    /// Whether the rotary encoding turns neighbouring elements, rather than the halves of a
    /// head.
    pub rope_traditional: bool,
    /// The part of a head that the rotary encoding turns.
    pub rotary_factor: f32,
    /// How the rotary encoding is stretched.
    pub rope_scaling: RopeScaling,
    /// Whether some layers attend to the last positions alone.
    pub has_sliding_window: bool,
    /// Added under the root of an RMS norm.
    pub rms_eps: f32,
    /// Whether the output head is the matrix of the embeddings.
    pub tied: bool,
    /// The experts, of families that have them.
    pub experts: Option<Experts>,
    /// The gated delta net, of families that have it.
    pub delta_net: Option<DeltaNet>,
}

/// How the rotary encoding is stretched (`rope_scaling`).
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// As by Llama 3.1: slow frequencies are divided by a factor, fast ones are kept, and
    /// between both there is a transition.
    Llama3(Llama3Scaling),
    /// In another way: the object as it stands.
    Other(serde_json::Value),
}

/// The numbers of [`RopeScaling::Llama3`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Llama3Scaling {
    /// What slow frequencies are divided by.
    pub factor: f32,
    /// Slow is what turns fewer times than this in the original context.
    #[serde(default = "one_f32")]
    pub low_freq_factor: f32,
    /// Fast is what turns more often than this in the original context.
    #[serde(default = "four_f32")]
    pub high_freq_factor: f32,
    /// The original context in tokens.
    #[serde(
        rename = "original_max_position_embeddings",
        default = "context_of_llama3"
    )]
    pub original_context: f32,
}

const fn one_f32() -> f32 {
    1.0
}

const fn four_f32() -> f32 {
    4.0
}

const fn context_of_llama3() -> f32 {
    8192.0
}

impl RopeScaling {
    fn of(value: Option<serde_json::Value>, file: &Path) -> Result<Self> {
        let Some(value) = value.filter(|it| !it.is_null()) else {
            return Ok(Self::None);
        };
        let keys = ["type", "rope_type"];
        let kind = keys.iter().find_map(|key| value.get(key)?.as_str());
        match kind {
            None | Some("default") => Ok(Self::None),
            Some("llama3") => match serde_json::from_value(value) {
                Ok(scaling) => Ok(Self::Llama3(scaling)),
                Err(source) => Err(Error::Json {
                    file: file.to_owned(),
                    source,
                }),
            },
            Some(_) => Ok(Self::Other(value)),
        }
    }
}

/// The experts of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Experts {
    /// Experts of a layer.
    #[serde(rename = "num_experts")]
    pub count: usize,
    /// Experts that a token takes.
    #[serde(rename = "num_experts_per_tok")]
    pub per_token: usize,
    /// Inner width of an expert.
    #[serde(rename = "moe_intermediate_size")]
    pub ffn: usize,
    /// Inner width of the expert that every token takes, of Qwen3-Next.
    #[serde(rename = "shared_expert_intermediate_size", default)]
    pub shared_ffn: Option<usize>,
    /// Whether the weights of the experts that a token takes are made to sum to 1.
    #[serde(rename = "norm_topk_prob", default)]
    pub normalise: bool,
    /// Of how many consecutive layers the last has experts.
    #[serde(rename = "decoder_sparse_step", default = "one")]
    pub step: usize,
    /// Layers that have none all the same.
    #[serde(rename = "mlp_only_layers", default)]
    pub dense_layers: Vec<usize>,
}

/// The gated delta net of Qwen3-Next.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeltaNet {
    /// Query and key heads.
    #[serde(rename = "linear_num_key_heads")]
    pub key_heads: usize,
    /// Value heads.
    #[serde(rename = "linear_num_value_heads")]
    pub value_heads: usize,
    /// Width of a query or key head.
    #[serde(rename = "linear_key_head_dim")]
    pub key_dim: usize,
    /// Width of a value head.
    #[serde(rename = "linear_value_head_dim")]
    pub value_dim: usize,
    /// Tokens that the convolution sees.
    #[serde(rename = "linear_conv_kernel_dim")]
    pub kernel: usize,
    /// Of how many consecutive layers the last has attention.
    #[serde(rename = "full_attention_interval", default = "four")]
    pub interval: usize,
}

const fn one() -> usize {
    1
}

const fn four() -> usize {
    4
}

impl Config {
    /// Whether a layer has experts.
    pub fn has_experts(&self, layer: usize) -> bool {
        self.experts.as_ref().is_some_and(|experts| {
            experts.count > 0
                && !experts.dense_layers.contains(&layer)
                && (layer + 1).is_multiple_of(experts.step)
        })
    }

    /// Whether a layer has a gated delta net in the place of attention.
    pub fn has_delta_net(&self, layer: usize) -> bool {
        let net = self.delta_net.as_ref();
        net.is_some_and(|net| !(layer + 1).is_multiple_of(net.interval))
    }

    /// A number by its key in the config; `None` if the family has none.
    pub fn count(&self, count: Count) -> Option<usize> {
        let (experts, net) = (self.experts.as_ref(), self.delta_net.as_ref());
        match count {
            Count::NumAttentionHeads => Some(self.heads),
            Count::NumKeyValueHeads => Some(self.kv_heads),
            Count::IntermediateSize => Some(self.ffn),
            Count::MoeIntermediateSize => experts.map(|it| it.ffn),
            Count::SharedExpertIntermediateSize => experts.and_then(|it| it.shared_ffn),
            Count::LinearNumKeyHeads => net.map(|it| it.key_heads),
            Count::LinearNumValueHeads => net.map(|it| it.value_heads),
            Count::LinearKeyHeadDim => net.map(|it| it.key_dim),
            Count::LinearValueHeadDim => net.map(|it| it.value_dim),
        }
    }
}

/// How a model's matrices are quantised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quantisation {
    /// Of matrices that have no entry of their own.
    pub default: Option<Quantised>,
    /// Of modules by name. `None` is one that is not quantised.
    pub modules: BTreeMap<String, Option<Quantised>>,
}

impl Quantisation {
    /// How the matrix of a module is quantised, provided that it has scales.
    pub fn of(&self, module: &str) -> Option<&Quantised> {
        match self.modules.get(module) {
            Some(own) => own.as_ref(),
            None => self.default.as_ref(),
        }
    }
}

/// How a matrix is quantised.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Quantised {
    /// Elements of a row that share a scale.
    pub group_size: usize,
    /// Bits of an element.
    pub bits: usize,
    /// MLX's name of the way, for example `affine` or `mxfp4`.
    #[serde(default = "affine")]
    pub mode: String,
}

fn affine() -> String {
    "affine".to_owned()
}

/// What is read of every folder, of known families and of others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Read {
    pub model_type: String,
    pub layers: Option<usize>,
    pub hidden: Option<usize>,
    pub context: Option<usize>,
    pub end_of_text: Vec<u32>,
    pub quantisation: Quantisation,
    /// Of a known family.
    pub config: Option<Config>,
}

/// Keys that any family may have, or have in a part of its config.
#[derive(Deserialize)]
struct Common {
    model_type: String,
    #[serde(flatten)]
    text: Text,
    quantization: Option<BTreeMap<String, serde_json::Value>>,
    /// Of models of more than text.
    text_config: Option<Text>,
}

#[derive(Default, Deserialize)]
struct Text {
    num_hidden_layers: Option<usize>,
    hidden_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    eos_token_id: Option<Ids>,
}

/// `generation_config.json`, which mlx-lm prefers.
#[derive(Deserialize)]
struct Generation {
    eos_token_id: Option<Ids>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

impl From<Ids> for Vec<u32> {
    fn from(ids: Ids) -> Self {
        match ids {
            Ids::One(id) => vec![id],
            Ids::Several(ids) => ids,
        }
    }
}

/// Keys of the known families.
#[derive(Deserialize)]
struct Known {
    hidden_size: usize,
    num_hidden_layers: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    rms_norm_eps: f32,
    #[serde(default = "theta")]
    rope_theta: f32,
    #[serde(default)]
    rope_traditional: bool,
    rope_scaling: Option<serde_json::Value>,
    layer_types: Option<Vec<String>>,
    #[serde(default = "all")]
    partial_rotary_factor: f32,
    tie_word_embeddings: Option<bool>,
}

/// The default of mlx-lm's Llama.
const fn theta() -> f32 {
    10_000.0
}

const fn all() -> f32 {
    1.0
}

/// Reads `config.json` and `generation_config.json`.
pub(crate) fn read(folder: &Path) -> Result<Read> {
    let file = folder.join("config.json");
    let text = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder.to_owned();
            return Err(Error::NoConfig { folder });
        }
        text => text.at("read", &file)?,
    };
    let common: Common = parse(&text, &file)?;
    let family = Family::of(&common.model_type);
    let config = family.map(|family| known(family, &text, &file));
    let (text, inner) = (common.text, common.text_config.unwrap_or_default());
    let end = text.eos_token_id.or(inner.eos_token_id);
    Ok(Read {
        model_type: common.model_type,
        layers: text.num_hidden_layers.or(inner.num_hidden_layers),
        hidden: text.hidden_size.or(inner.hidden_size),
        context: (text.max_position_embeddings).or(inner.max_position_embeddings),
        end_of_text: generation(folder)
            .or(end)
            .map(Into::into)
            .unwrap_or_default(),
        quantisation: quantisation(common.quantization.unwrap_or_default(), &file)?,
        config: config.transpose()?,
    })
}

fn parse<T: DeserializeOwned>(text: &[u8], file: &Path) -> Result<T> {
    serde_json::from_slice(text).map_err(|source| Error::Json {
        file: file.to_owned(),
        source,
    })
}

/// The end of text that `generation_config.json` names. mlx-lm ignores a file that is no
/// JSON, and so does this.
fn generation(folder: &Path) -> Option<Ids> {
    let text = fs::read(folder.join("generation_config.json")).ok()?;
    serde_json::from_slice::<Generation>(&text)
        .ok()?
        .eos_token_id
}

fn known(family: Family, text: &[u8], file: &Path) -> Result<Config> {
    let known: Known = parse(text, file)?;
    let experts = match family {
        Family::Llama | Family::Qwen3 => None,
        Family::Qwen3Moe | Family::Qwen3Next => Some(parse::<Experts>(text, file)?),
    };
    let delta_net = match family {
        Family::Qwen3Next => Some(parse::<DeltaNet>(text, file)?),
        _ => None,
    };
    let heads = known.num_attention_heads;
    let config = Config {
        family,
        layers: known.num_hidden_layers,
        hidden: known.hidden_size,
        heads,
        kv_heads: known.num_key_value_heads.unwrap_or(heads),
        head_dim: match known.head_dim {
            Some(width) => width,
            None => known.hidden_size.checked_div(heads).unwrap_or_default(),
        },
        ffn: known.intermediate_size,
        vocab: known.vocab_size,
        rope_theta: known.rope_theta,
        rope_traditional: known.rope_traditional && family == Family::Llama,
        rotary_factor: match family {
            Family::Qwen3Next => known.partial_rotary_factor,
            _ => 1.0,
        },
        rope_scaling: RopeScaling::of(known.rope_scaling, file)?,
        // Only mlx-lm's Llama reads it.
        has_sliding_window: family == Family::Llama
            && (known.layer_types.iter().flatten()).any(|it| it == "sliding_attention"),
        rms_eps: known.rms_norm_eps,
        tied: known.tie_word_embeddings.unwrap_or(family == Family::Llama),
        experts,
        delta_net,
    };
    match impossible(&config) {
        None => Ok(config),
        Some(problem) => Err(Error::Config {
            file: file.to_owned(),
            problem,
        }),
    }
}

/// What no model can be, and what a division by it would be.
fn impossible(config: &Config) -> Option<String> {
    let mut counts = vec![
        ("num_hidden_layers", config.layers),
        ("hidden_size", config.hidden),
        ("num_attention_heads", config.heads),
        ("num_key_value_heads", config.kv_heads),
        ("head_dim", config.head_dim),
        ("vocab_size", config.vocab),
    ];
    if let Some(experts) = &config.experts {
        counts.push(("decoder_sparse_step", experts.step));
    }
    if let Some(net) = &config.delta_net {
        counts.extend([
            ("linear_num_key_heads", net.key_heads),
            ("linear_num_value_heads", net.value_heads),
            ("full_attention_interval", net.interval),
        ]);
    }
    if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Some(format!("{key} is 0"));
    }
    let groups = |key: &str, many: usize, of: &str, few: usize| {
        let problem = || format!("{many} {key} are no multiple of {few} {of}");
        (!many.is_multiple_of(few)).then(problem)
    };
    let (many, few) = (config.heads, config.kv_heads);
    groups("num_attention_heads", many, "num_key_value_heads", few).or_else(|| {
        let net = config.delta_net.as_ref()?;
        let (many, few) = (net.value_heads, net.key_heads);
        groups("linear_num_value_heads", many, "linear_num_key_heads", few)
    })
}

/// Reads `quantization`: three keys, and an entry for each module that differs, which is
/// `false` for one that is not quantised.
fn quantisation(entries: BTreeMap<String, serde_json::Value>, file: &Path) -> Result<Quantisation> {
    let json = |source| Error::Json {
        file: PathBuf::from(file),
        source,
    };
    let mut quantisation = Quantisation::default();
    if entries.contains_key("group_size") {
        let of_all = entries.iter().filter(|(_, value)| !value.is_object());
        let of_all = of_all
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let of_all = serde_json::from_value(serde_json::Value::Object(of_all));
        quantisation.default = Some(of_all.map_err(json)?);
    }
    for (module, value) in entries {
        let own = match value {
            serde_json::Value::Bool(false) => None,
            serde_json::Value::Object(_) => Some(serde_json::from_value(value).map_err(json)?),
            // `true` is the same as no entry.
            _ => continue,
        };
        quantisation.modules.insert(module, own);
    }
    Ok(quantisation)
}
