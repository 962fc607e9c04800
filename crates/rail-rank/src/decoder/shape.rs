//! The shape of a whole model, of a preset or of a folder's config.

use mlx_core::{Dtype, fast::Rope};
use models::{Config, DeltaNet, Experts, Family, Llama3Scaling, RopeScaling};
use rail_bench::model::{self, ModelSpec};

/// The shape of a whole model.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(super) hidden: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) ffn: usize,
    pub(super) vocab: usize,
    pub(super) rope: Rope,
    pub(super) rope_scaling: Option<Llama3Scaling>,
    pub(super) rms_eps: f32,
    pub(super) experts: Option<Experts>,
    pub(super) delta_net: Option<DeltaNet>,
    pub(super) layers: Vec<Kind>,
    /// Whether queries and keys have norms.
    pub(super) has_head_norms: bool,
    /// Whether attention has a gate for each of its outputs.
    pub(super) has_output_gate: bool,
    /// Whether the output head is the table of embeddings.
    pub(super) is_tied: bool,
    /// Type of the activations.
    pub(crate) dtype: Dtype,
}

/// What a layer consists of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kind {
    /// Experts, rather than one feed-forward block.
    pub has_experts: bool,
    /// A gated delta net, rather than attention.
    pub has_delta_net: bool,
}

impl Shape {
    pub(crate) fn of_spec(spec: &ModelSpec) -> Self {
        Self {
            hidden: spec.hidden,
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
            ffn: spec.ffn,
            vocab: spec.vocab,
            rope: Rope {
                dims: spec.head_dim as i32,
                traditional: false,
                base: spec.rope_theta,
            },
            rope_scaling: None,
            rms_eps: spec.rms_eps,
            experts: None,
            delta_net: None,
            layers: vec![Kind::default(); spec.layers],
            has_head_norms: true,
            has_output_gate: false,
            is_tied: false,
            dtype: match spec.dtype {
                model::Dtype::F32 => Dtype::Float32,
                model::Dtype::Bf16 => Dtype::Bfloat16,
                model::Dtype::F16 => Dtype::Float16,
            },
        }
    }

    /// The shape of a config whose family and rotary encoding this engine knows; see
    /// [`rail_bench::engine::Engine::check`].
    pub(crate) fn of_config(config: &Config, dtype: Dtype) -> Self {
        Self {
            hidden: config.hidden,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            ffn: config.ffn,
            vocab: config.vocab,
            rope: Rope {
                dims: (config.head_dim as f32 * config.rotary_factor) as i32,
                traditional: config.rope_traditional,
                base: config.rope_theta,
            },
            rope_scaling: match config.rope_scaling {
                RopeScaling::Llama3(scaling) => Some(scaling),
                RopeScaling::None | RopeScaling::Other(_) => None,
            },
            rms_eps: config.rms_eps,
            experts: config.experts.clone(),
            delta_net: config.delta_net.clone(),
            layers: (0..config.layers)
                .map(|layer| Kind {
                    has_experts: config.has_experts(layer),
                    has_delta_net: config.has_delta_net(layer),
                })
                .collect(),
            has_head_norms: config.family != Family::Llama,
            has_output_gate: config.family == Family::Qwen3Next,
            is_tied: config.tied,
            dtype,
        }
    }
}
