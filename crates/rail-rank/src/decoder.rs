//! The layers of a Llama or Qwen3 decoder: grouped-query attention, of Qwen3 with RMS norms
//! on queries and keys, then SwiGLU, or several experts of it, each behind an RMS norm and
//! added to its input.
//!
//! Activations have the shape (1, positions, hidden).

use std::ops::Range;

use mlx_core::{
    Array, Dtype, Result, concatenate,
    fast::{Mask, Rope, rms_norm, scaled_dot_product_attention},
};
use models::{Config, Experts, Family, Llama3Scaling, RopeScaling};
use rail_bench::model::{self, ModelSpec};

use crate::{
    linear::{Linear, Matrix},
    tensors::{Cut, LoadError, Tensors},
};

/// The shape of a whole model.
#[derive(Debug)]
pub(crate) struct Shape {
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    ffn: usize,
    vocab: usize,
    rope: Rope,
    rope_scaling: Option<Llama3Scaling>,
    rms_eps: f32,
    experts: Option<Experts>,
    /// Of each layer, whether it has experts.
    has_experts: Vec<bool>,
    /// Whether queries and keys have norms.
    has_head_norms: bool,
    /// Whether the output head is the table of embeddings.
    is_tied: bool,
    /// Type of the activations.
    pub(crate) dtype: Dtype,
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
            has_experts: vec![false; spec.layers],
            has_head_norms: true,
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
                dims: config.head_dim as i32,
                traditional: config.rope_traditional,
                base: config.rope_theta,
            },
            rope_scaling: match config.rope_scaling {
                RopeScaling::Llama3(scaling) => Some(scaling),
                RopeScaling::None | RopeScaling::Other(_) => None,
            },
            rms_eps: config.rms_eps,
            experts: config.experts.clone(),
            has_experts: (0..config.layers)
                .map(|it| config.has_experts(it))
                .collect(),
            has_head_norms: config.family != Family::Llama,
            is_tied: config.tied,
            dtype,
        }
    }
}

/// A rank's share of a model.
#[derive(Debug)]
pub(crate) struct Decoder {
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Array,
    /// None if it is the table of embeddings.
    head: Option<Linear>,
    shape: Shape,
}

impl Decoder {
    /// Takes these layers of a model. Every share has the embedding and the head, so that any
    /// rank can choose the next token and start from it.
    pub(crate) fn new(
        shape: Shape,
        layers: Range<usize>,
        tensors: &impl Tensors,
    ) -> Result<Self, LoadError> {
        let head = || tensors.linear("lm_head", Cut::Whole, shape.vocab, shape.hidden);
        Ok(Self {
            embedding: tensors.table("model.embed_tokens", shape.vocab, shape.hidden)?,
            norm: tensors.norm("model.norm", shape.hidden)?,
            layers: layers
                .map(|index| Layer::new(&shape, tensors, index))
                .collect::<Result<_, _>>()?,
            head: (!shape.is_tied).then(head).transpose()?,
            shape,
        })
    }

    /// The arrays of the share.
    pub(crate) fn weights(&self) -> impl Iterator<Item = &Array> {
        let layers = self.layers.iter().flat_map(Layer::weights);
        layers
            .chain(self.embedding.arrays())
            .chain([&self.norm])
            .chain(self.head.iter().flat_map(Linear::arrays))
    }

    /// Type of the activations.
    pub(crate) fn dtype(&self) -> Dtype {
        self.shape.dtype
    }

    /// Shape of the activations of this many positions.
    pub(crate) fn activation_shape(&self, positions: usize) -> [i32; 3] {
        [1, positions as i32, self.shape.hidden as i32]
    }

    /// An empty cache for each layer.
    pub(crate) fn caches(&self) -> Vec<Cache> {
        self.layers.iter().map(|_| Cache::default()).collect()
    }

    /// The activations of the embedded tokens.
    pub(crate) fn embed(&self, tokens: &[u32]) -> Result<Array> {
        self.embedding
            .rows(tokens)?
            .reshape(&self.activation_shape(tokens.len()))
    }

    /// Runs the share's layers over the positions that follow the cached ones. `sum` adds
    /// up the partial results of the ranks with slices of a layer.
    pub(crate) fn layers(
        &self,
        x: Array,
        caches: &mut [Cache],
        sum: impl Fn(Array) -> Result<Array>,
    ) -> Result<Array> {
        let mut layers = self.layers.iter().zip(caches);
        layers.try_fold(x, |x, (layer, cache)| layer.apply(&x, cache, &sum))
    }

    /// The logits of one position, (1, 1, hidden), in 32 bits.
    pub(crate) fn logits(&self, x: &Array) -> Result<Vec<f32>> {
        let x = rms_norm(x, Some(&self.norm), self.shape.rms_eps)?;
        let logits = match &self.head {
            None => self.embedding.apply(&x)?,
            Some(head) => head.apply(&x)?,
        };
        logits.astype(Dtype::Float32)?.to_vec()
    }
}

/// Keys and values of the positions so far, (1, heads, positions, features).
#[derive(Debug, Default)]
pub(crate) struct Cache {
    keys_values: Option<(Array, Array)>,
}

impl Cache {
    /// The number of positions cached.
    fn len(&self) -> i32 {
        self.keys_values.as_ref().map_or(0, |(keys, _)| keys.dim(2))
    }

    /// Adds positions and returns all so far.
    fn extend(&mut self, keys: Array, values: Array) -> Result<(Array, Array)> {
        let extended = match &self.keys_values {
            None => (keys, values),
            Some((old_keys, old_values)) => (
                concatenate(&[old_keys, &keys], 2)?,
                concatenate(&[old_values, &values], 2)?,
            ),
        };
        self.keys_values = Some(extended.clone());
        Ok(extended)
    }

    /// The arrays to compute before their graph can be released.
    pub(crate) fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.keys_values
            .iter()
            .flat_map(|(keys, values)| [keys, values])
    }
}

#[derive(Debug)]
struct Layer {
    attention_norm: Array,
    attention: Attention,
    feed_forward_norm: Array,
    block: Block,
    eps: f32,
}

impl Layer {
    fn new(shape: &Shape, tensors: &impl Tensors, index: usize) -> Result<Self, LoadError> {
        let name = format!("model.layers.{index}");
        let norm = |norm: &str| tensors.norm(&format!("{name}.{norm}"), shape.hidden);
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            attention: Attention::new(shape, tensors, &format!("{name}.self_attn"))?,
            feed_forward_norm: norm("post_attention_layernorm")?,
            block: Block::new(shape, tensors, &format!("{name}.mlp"), index)?,
            eps: shape.rms_eps,
        })
    }

    fn weights(&self) -> impl Iterator<Item = &Array> {
        let attention = &self.attention;
        let matrices = [
            &attention.queries,
            &attention.keys,
            &attention.values,
            &attention.output,
        ];
        let head_norms = attention.head_norms.iter().flatten();
        let matrices = matrices.into_iter().flat_map(Linear::arrays);
        matrices
            .chain([&self.attention_norm, &self.feed_forward_norm])
            .chain(head_norms)
            .chain(self.block.weights())
    }

    fn apply(
        &self,
        x: &Array,
        cache: &mut Cache,
        sum: impl Fn(Array) -> Result<Array>,
    ) -> Result<Array> {
        let normed = rms_norm(x, Some(&self.attention_norm), self.eps)?;
        let x = x.add(&self.attention.apply(&normed, cache, &sum)?)?;
        let normed = rms_norm(&x, Some(&self.feed_forward_norm), self.eps)?;
        x.add(&self.block.apply(&normed, &sum)?)
    }
}

#[derive(Debug)]
struct Attention {
    queries: Linear,
    keys: Linear,
    values: Linear,
    output: Linear,
    /// Of the queries and of the keys.
    head_norms: Option<[Array; 2]>,
    rotary: Rotary,
    head_dim: i32,
    eps: f32,
}

impl Attention {
    fn new(shape: &Shape, tensors: &impl Tensors, name: &str) -> Result<Self, LoadError> {
        let Shape {
            hidden, head_dim, ..
        } = *shape;
        let (query_width, kv_width) = (shape.heads * head_dim, shape.kv_heads * head_dim);
        let by_outputs = |matrix: &str, outputs: usize| {
            tensors.linear(&format!("{name}.{matrix}"), Cut::Outputs, outputs, hidden)
        };
        let norm = |norm: &str| tensors.norm(&format!("{name}.{norm}"), head_dim);
        let output = format!("{name}.o_proj");
        Ok(Self {
            queries: by_outputs("q_proj", query_width)?,
            keys: by_outputs("k_proj", kv_width)?,
            values: by_outputs("v_proj", kv_width)?,
            output: tensors.linear(&output, Cut::Inputs, hidden, query_width)?,
            head_norms: match shape.has_head_norms {
                true => Some([norm("q_norm")?, norm("k_norm")?]),
                false => None,
            },
            rotary: Rotary::new(shape)?,
            head_dim: head_dim as i32,
            eps: shape.rms_eps,
        })
    }

    fn apply(
        &self,
        x: &Array,
        cache: &mut Cache,
        sum: impl Fn(Array) -> Result<Array>,
    ) -> Result<Array> {
        let positions = x.dim(1);
        let offset = cache.len();
        let turned = |projected: Array, norm: Option<&Array>| {
            let heads = self.split_heads(&projected)?;
            let heads = match norm {
                None => heads,
                Some(norm) => rms_norm(&heads, Some(norm), self.eps)?,
            };
            self.rotary.apply(&by_head(&heads)?, offset)
        };
        let [query_norm, key_norm] = match &self.head_norms {
            None => [None, None],
            Some([queries, keys]) => [Some(queries), Some(keys)],
        };
        let queries = turned(self.queries.apply(x)?, query_norm)?;
        let keys = turned(self.keys.apply(x)?, key_norm)?;
        let values = by_head(&self.split_heads(&self.values.apply(x)?)?)?;
        let (keys, values) = cache.extend(keys, values)?;

        // A single query has the last position and attends to every key.
        let mask = if positions > 1 {
            Mask::Causal
        } else {
            Mask::None
        };
        let scale = (self.head_dim as f32).sqrt().recip();
        let mixed = scaled_dot_product_attention(&queries, &keys, &values, scale, mask)?;
        let mixed = by_head(&mixed)?.reshape(&[1, positions, -1])?;
        self.output.apply_summed(&mixed, sum)
    }

    /// (1, positions, heads x features) to (1, positions, heads, features).
    fn split_heads(&self, x: &Array) -> Result<Array> {
        x.reshape(&[1, x.dim(1), -1, self.head_dim])
    }
}

/// The rotary encoding of positions.
#[derive(Debug)]
struct Rotary {
    rope: Rope,
    /// Of each pair of features, if they do not follow from the base.
    periods: Option<Array>,
}

impl Rotary {
    fn new(shape: &Shape) -> Result<Self> {
        let periods = |scaling| {
            let periods = periods(shape.rope, scaling);
            Array::from_slice(&periods, &[periods.len() as i32])
        };
        Ok(Self {
            rope: shape.rope,
            periods: shape.rope_scaling.map(periods).transpose()?,
        })
    }

    fn apply(&self, x: &Array, offset: i32) -> Result<Array> {
        match &self.periods {
            None => self.rope.apply(x, offset),
            Some(periods) => self.rope.apply_by_periods(x, offset, periods),
        }
    }
}

/// The positions in which each pair of features turns by one radian, as mlx-lm 0.31.3 has
/// them (`Llama3RoPE`).
fn periods(rope: Rope, scaling: Llama3Scaling) -> Vec<f32> {
    let Llama3Scaling {
        factor,
        low_freq_factor: low,
        high_freq_factor: high,
        original_context: context,
    } = scaling;
    let pairs = (0..rope.dims).step_by(2);
    pairs
        .map(|at| {
            let period = rope.base.powf(at as f32 / rope.dims as f32);
            let turns = context / (std::f32::consts::TAU * period);
            if turns < low {
                period * factor
            } else if turns > high {
                period
            } else {
                let smooth = (turns - low) / (high - low);
                period / ((1.0 - smooth) / factor + smooth)
            }
        })
        .collect()
}

/// Swaps positions and heads.
fn by_head(x: &Array) -> Result<Array> {
    x.transpose(&[0, 2, 1, 3])
}

/// What follows attention in a layer.
#[derive(Debug)]
enum Block {
    Dense(FeedForward),
    Experts(Mixture),
}

impl Block {
    fn new(
        shape: &Shape,
        tensors: &impl Tensors,
        name: &str,
        layer: usize,
    ) -> Result<Self, LoadError> {
        match &shape.experts {
            Some(experts) if shape.has_experts[layer] => {
                Mixture::new(shape, experts, tensors, name).map(Self::Experts)
            }
            _ => FeedForward::new(shape, tensors, name).map(Self::Dense),
        }
    }

    fn weights(&self) -> Vec<&Array> {
        match self {
            Self::Dense(FeedForward { gate, up, down }) => [gate, up, down]
                .into_iter()
                .flat_map(Linear::arrays)
                .collect(),
            Self::Experts(mixture) => {
                let Mixture { gate, up, down, .. } = mixture;
                let stacks = [gate, up, down].into_iter().flat_map(Matrix::arrays);
                stacks.chain(mixture.router.arrays()).collect()
            }
        }
    }

    fn apply(&self, x: &Array, sum: impl Fn(Array) -> Result<Array>) -> Result<Array> {
        match self {
            Self::Dense(feed_forward) => feed_forward.apply(x, sum),
            Self::Experts(mixture) => sum(mixture.apply(x)?),
        }
    }
}

/// Experts, of which each token takes a few (arXiv:1701.06538), as in Qwen3-MoE.
#[derive(Debug)]
struct Mixture {
    router: Linear,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
    per_token: i32,
    is_normalised: bool,
}

impl Mixture {
    fn new(
        shape: &Shape,
        experts: &Experts,
        tensors: &impl Tensors,
        name: &str,
    ) -> Result<Self, LoadError> {
        let stack = |matrix: &str| tensors.experts(name, matrix, experts.count);
        let router = format!("{name}.gate");
        Ok(Self {
            router: tensors.linear(&router, Cut::Whole, experts.count, shape.hidden)?,
            gate: stack("gate_proj")?,
            up: stack("up_proj")?,
            down: stack("down_proj")?,
            per_token: experts.per_token as i32,
            is_normalised: experts.normalise,
        })
    }

    /// This rank's part of the result.
    fn apply(&self, x: &Array) -> Result<Array> {
        let (positions, hidden) = (x.dim(1), x.dim(2));
        let weights = self.router.apply(x)?.softmax_axis(-1, true)?;
        let (choices, mut weights) = weights.greatest(self.per_token)?;
        if self.is_normalised {
            weights = weights.divide(&weights.sum_axis(-1, true)?)?;
        }
        let x = x.reshape(&[1, positions, 1, 1, hidden])?;
        let gate = self.gate.apply_chosen(&x, &choices)?.silu()?;
        let wide = gate.multiply(&self.up.apply_chosen(&x, &choices)?)?;
        let each = self.down.apply_chosen(&wide, &choices)?;
        let each = each.reshape(&[1, positions, self.per_token, hidden])?;
        let weights = weights.reshape(&[1, positions, self.per_token, 1])?;
        each.multiply(&weights)?.sum_axis(2, false)
    }
}

/// SwiGLU (arXiv:2002.05202).
#[derive(Debug)]
struct FeedForward {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl FeedForward {
    fn new(shape: &Shape, tensors: &impl Tensors, name: &str) -> Result<Self, LoadError> {
        let (hidden, ffn) = (shape.hidden, shape.ffn);
        let by_outputs =
            |matrix: &str| tensors.linear(&format!("{name}.{matrix}"), Cut::Outputs, ffn, hidden);
        let down = format!("{name}.down_proj");
        Ok(Self {
            gate: by_outputs("gate_proj")?,
            up: by_outputs("up_proj")?,
            down: tensors.linear(&down, Cut::Inputs, hidden, ffn)?,
        })
    }

    fn apply(&self, x: &Array, sum: impl Fn(Array) -> Result<Array>) -> Result<Array> {
        let gate = self.gate.apply(x)?.silu()?;
        let wide = gate.multiply(&self.up.apply(x)?)?;
        self.down.apply_summed(&wide, sum)
    }
}
