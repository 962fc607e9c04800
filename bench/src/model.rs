//! The shapes of the models that the ranks make, as plain data.

use serde::{Deserialize, Serialize};

/// The shape of a Qwen3 decoder: grouped-query attention with RMS norms on
/// queries and keys, rotary positions, SwiGLU, untied output head.
///
/// The weights come from the job's seed, so a spec and a seed define a whole model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Decoder layers. [`Strategy::Pp`](crate::protocol::Strategy::Pp) gives
    /// each rank consecutive ones.
    pub layers: usize,
    /// Width of the activations that ranks exchange.
    pub hidden: usize,
    /// Query heads. [`Strategy::Tp`](crate::protocol::Strategy::Tp) splits them
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
}

impl Dtype {
    /// Bytes per element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
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
    #[error("tp cannot split the model's {count} {what} evenly over {ranks} ranks")]
    Tensor {
        /// The part that does not divide evenly.
        what: &'static str,
        /// The number that the model has.
        count: usize,
        /// Ranks to split them over.
        ranks: usize,
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
        match parts
            .into_iter()
            .find(|(_, count)| !count.is_multiple_of(ranks))
        {
            Some((what, count)) => Err(SplitError::Tensor { what, count, ranks }),
            None => Ok(()),
        }
    }

    /// Checks that pipeline parallelism over `ranks` leaves each rank a layer.
    ///
    /// # Errors
    /// If there are fewer layers than ranks.
    pub fn check_pipeline_split(&self, ranks: usize) -> Result<(), SplitError> {
        if self.layers < ranks {
            let layers = self.layers;
            return Err(SplitError::Pipeline { layers, ranks });
        }
        Ok(())
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

    #[test]
    fn a_spec_survives_json() {
        let spec = Preset::find("qwen3-wide-4bit").unwrap().spec;
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ModelSpec>(&json).unwrap(), spec);
    }
}
