//! The layers of a Qwen3 decoder: grouped-query attention with RMS norms on
//! queries and keys, then SwiGLU, each behind an RMS norm and added to its input.
//!
//! Activations have the shape (1, positions, hidden).

use mlx_core::{
    Array, Dtype, Result, concatenate, eval,
    fast::{Mask, Rope, rms_norm, scaled_dot_product_attention},
    quant::Scheme,
};
use rail_bench::model::{self, ModelSpec};

use crate::{linear::Linear, share::Share, weights::Weights};

/// A rank's share of a model.
#[derive(Debug)]
pub(crate) struct Decoder {
    embedding: Array,
    layers: Vec<Layer>,
    norm: Array,
    head: Linear,
    spec: ModelSpec,
}

impl Decoder {
    /// Makes a share of the model of a seed. Every share has the embedding and the head,
    /// so that any rank can choose the next token and start from it.
    pub(crate) fn new(spec: &ModelSpec, share: &Share, seed: u64) -> Result<Self> {
        let weights = Weights::new(seed, spec.layers, dtype(spec));
        let scheme = scheme(spec)?;
        let embedding = weights.matrix("model.embed_tokens", spec.vocab, spec.hidden)?;
        let norm = weights.norm("model.norm", spec.hidden)?;
        eval(&[&embedding, &norm])?;
        Ok(Self {
            embedding,
            layers: share
                .layers
                .clone()
                .map(|index| Layer::new(spec, share, &weights, scheme, index))
                .collect::<Result<_>>()?,
            norm,
            head: Linear::new(&weights.matrix("lm_head", spec.vocab, spec.hidden)?, None)?,
            spec: *spec,
        })
    }

    /// The arrays of the share.
    pub(crate) fn weights(&self) -> impl Iterator<Item = &Array> {
        let layers = self.layers.iter().flat_map(Layer::weights);
        layers
            .chain([&self.embedding, &self.norm])
            .chain(self.head.arrays())
    }

    /// Type of the activations.
    pub(crate) fn dtype(&self) -> Dtype {
        dtype(&self.spec)
    }

    /// Shape of the activations of this many positions.
    pub(crate) fn activation_shape(&self, positions: usize) -> [i32; 3] {
        [1, positions as i32, self.spec.hidden as i32]
    }

    /// An empty cache for each layer.
    pub(crate) fn caches(&self) -> Vec<Cache> {
        self.layers.iter().map(|_| Cache::default()).collect()
    }

    /// The activations of the embedded tokens.
    pub(crate) fn embed(&self, tokens: &[u32]) -> Result<Array> {
        self.embedding
            .take_axis(tokens, 0)?
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
        let x = rms_norm(x, Some(&self.norm), self.spec.rms_eps)?;
        self.head.apply(&x)?.astype(Dtype::Float32)?.to_vec()
    }
}

fn dtype(spec: &ModelSpec) -> Dtype {
    match spec.dtype {
        model::Dtype::F32 => Dtype::Float32,
        model::Dtype::Bf16 => Dtype::Bfloat16,
        model::Dtype::F16 => Dtype::Float16,
    }
}

fn scheme(spec: &ModelSpec) -> Result<Option<Scheme>> {
    spec.quant
        .map(|quant| Scheme::new(quant.group_size as i32, quant.bits as i32))
        .transpose()
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
    feed_forward: FeedForward,
    eps: f32,
}

impl Layer {
    fn new(
        spec: &ModelSpec,
        share: &Share,
        weights: &Weights,
        scheme: Option<Scheme>,
        index: usize,
    ) -> Result<Self> {
        let name = format!("model.layers.{index}");
        let parts = Parts {
            share,
            weights,
            scheme,
            name: &name,
        };
        Ok(Self {
            attention_norm: parts.norm("input_layernorm", spec.hidden)?,
            attention: Attention::new(spec, &parts)?,
            feed_forward_norm: parts.norm("post_attention_layernorm", spec.hidden)?,
            feed_forward: FeedForward::new(spec, &parts)?,
            eps: spec.rms_eps,
        })
    }

    fn weights(&self) -> impl Iterator<Item = &Array> {
        let (attention, feed) = (&self.attention, &self.feed_forward);
        let matrices = [
            &attention.queries,
            &attention.keys,
            &attention.values,
            &attention.output,
            &feed.gate,
            &feed.up,
            &feed.down,
        ];
        let norms = [
            &self.attention_norm,
            &attention.query_norm,
            &attention.key_norm,
            &self.feed_forward_norm,
        ];
        let matrices = matrices.into_iter().flat_map(Linear::arrays);
        matrices.chain(norms)
    }

    fn apply(
        &self,
        x: &Array,
        cache: &mut Cache,
        sum: impl Fn(Array) -> Result<Array>,
    ) -> Result<Array> {
        let normed = rms_norm(x, Some(&self.attention_norm), self.eps)?;
        let x = x.add(&sum(self.attention.apply(&normed, cache)?)?)?;
        let normed = rms_norm(&x, Some(&self.feed_forward_norm), self.eps)?;
        x.add(&sum(self.feed_forward.apply(&normed)?)?)
    }
}

/// Makes a layer's tensors, sliced to the rank's share.
struct Parts<'a> {
    share: &'a Share,
    weights: &'a Weights,
    scheme: Option<Scheme>,
    name: &'a str,
}

impl Parts<'_> {
    /// A matrix of which the share has a slice of the outputs.
    fn by_outputs(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear> {
        self.cut(name, outputs, inputs, 0)
    }

    /// A matrix of which the share has a slice of the inputs, so that the ranks' results
    /// must be summed.
    fn by_inputs(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear> {
        self.cut(name, outputs, inputs, 1)
    }

    fn cut(&self, name: &str, outputs: usize, inputs: usize, axis: usize) -> Result<Linear> {
        let matrix = self.weights.matrix(&self.full(name), outputs, inputs)?;
        Linear::new(&self.share.take(&matrix, axis)?, self.scheme)
    }

    /// The weight of a norm, which every rank has in full.
    fn norm(&self, name: &str, width: usize) -> Result<Array> {
        let weight = self.weights.norm(&self.full(name), width)?;
        eval(&[&weight])?;
        Ok(weight)
    }

    fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}

#[derive(Debug)]
struct Attention {
    queries: Linear,
    keys: Linear,
    values: Linear,
    output: Linear,
    query_norm: Array,
    key_norm: Array,
    rope: Rope,
    head_dim: i32,
    eps: f32,
}

impl Attention {
    fn new(spec: &ModelSpec, parts: &Parts<'_>) -> Result<Self> {
        let (query_width, kv_width) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        Ok(Self {
            queries: parts.by_outputs("self_attn.q_proj", query_width, spec.hidden)?,
            keys: parts.by_outputs("self_attn.k_proj", kv_width, spec.hidden)?,
            values: parts.by_outputs("self_attn.v_proj", kv_width, spec.hidden)?,
            output: parts.by_inputs("self_attn.o_proj", spec.hidden, query_width)?,
            query_norm: parts.norm("self_attn.q_norm", spec.head_dim)?,
            key_norm: parts.norm("self_attn.k_norm", spec.head_dim)?,
            rope: Rope {
                dims: spec.head_dim as i32,
                traditional: false,
                base: spec.rope_theta,
            },
            head_dim: spec.head_dim as i32,
            eps: spec.rms_eps,
        })
    }

    fn apply(&self, x: &Array, cache: &mut Cache) -> Result<Array> {
        let positions = x.dim(1);
        let offset = cache.len();
        let turned = |projected: Array, norm: &Array| {
            let normed = rms_norm(&self.split_heads(&projected)?, Some(norm), self.eps)?;
            self.rope.apply(&by_head(&normed)?, offset)
        };
        let queries = turned(self.queries.apply(x)?, &self.query_norm)?;
        let keys = turned(self.keys.apply(x)?, &self.key_norm)?;
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
        self.output
            .apply(&by_head(&mixed)?.reshape(&[1, positions, -1])?)
    }

    /// (1, positions, heads x features) to (1, positions, heads, features).
    fn split_heads(&self, x: &Array) -> Result<Array> {
        x.reshape(&[1, x.dim(1), -1, self.head_dim])
    }
}

/// Swaps positions and heads.
fn by_head(x: &Array) -> Result<Array> {
    x.transpose(&[0, 2, 1, 3])
}

/// SwiGLU (arXiv:2002.05202).
#[derive(Debug)]
struct FeedForward {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl FeedForward {
    fn new(spec: &ModelSpec, parts: &Parts<'_>) -> Result<Self> {
        Ok(Self {
            gate: parts.by_outputs("mlp.gate_proj", spec.ffn, spec.hidden)?,
            up: parts.by_outputs("mlp.up_proj", spec.ffn, spec.hidden)?,
            down: parts.by_inputs("mlp.down_proj", spec.hidden, spec.ffn)?,
        })
    }

    fn apply(&self, x: &Array) -> Result<Array> {
        let gate = self.gate.apply(x)?.silu()?;
        self.down.apply(&gate.multiply(&self.up.apply(x)?)?)
    }
}
