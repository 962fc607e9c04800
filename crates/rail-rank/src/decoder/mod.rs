//! The layers of a decoder: grouped-query attention, in some families with RMS norms on
//! queries and keys and with a gate, or a gated delta net; then SwiGLU, or several experts of
//! it. Each is behind an RMS norm and added to its input.
//!
//! Activations have the shape (1, positions, hidden).

mod attention;
mod block;
mod delta_net;
mod shape;

use std::ops::Range;

use mlx_core::{Array, Choices, Dtype, Result, fast::rms_norm};

use crate::{
    linear::{Linear, Matrix},
    tensors::{Cut, LoadError, Tensors},
};
use attention::{Attention, KeysValues};
use block::{Activation, Block};
use delta_net::{DeltaNet, DeltaState};
pub(crate) use shape::Shape;

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
        let activation = Activation::new()?;
        Ok(Self {
            embedding: tensors.table("model.embed_tokens", shape.vocab, shape.hidden)?,
            norm: tensors.norm("model.norm", shape.hidden)?,
            layers: layers
                .map(|index| Layer::new(&shape, tensors, index, &activation))
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

    /// The number of tokens that the model knows.
    pub(crate) fn vocab(&self) -> i32 {
        self.embedding.outputs()
    }

    /// The number of layers of this share.
    pub(crate) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Shape of the activations of this many positions.
    pub(crate) fn activation_shape(&self, positions: usize) -> [i32; 3] {
        [1, positions as i32, self.shape.hidden as i32]
    }

    /// An empty cache for each layer.
    pub(crate) fn caches(&self) -> Vec<Cache> {
        self.layers.iter().map(Layer::cache).collect()
    }

    /// The activations of the embedded tokens.
    pub(crate) fn embed(&self, tokens: &Choices) -> Result<Array> {
        self.embedding
            .rows(tokens)?
            .reshape(&self.activation_shape(tokens.len()))
    }

    /// Runs some of the share's layers over the positions that follow the cached ones. `sum`
    /// adds up the partial results of the ranks with slices of a layer. `rows` of the last
    /// layer's result are computed.
    pub(crate) fn layers(
        &self,
        mut indices: Range<usize>,
        x: Array,
        caches: &mut [Cache],
        rows: Rows,
        sum: impl Fn(Array) -> Result<Array>,
    ) -> Result<Array> {
        let last = self.layers.len() - 1;
        indices.try_fold(x, |x, index| {
            let rows = if index == last { rows } else { Rows::All };
            self.layers[index].apply(&x, &mut caches[index], rows, &sum)
        })
    }

    /// The logits of one position, (1, 1, hidden), in 32 bits.
    pub(crate) fn logits(&self, x: &Array) -> Result<Array> {
        let x = rms_norm(x, Some(&self.norm), self.shape.rms_eps)?;
        let logits = match &self.head {
            None => self.embedding.apply(&x)?,
            Some(head) => head.apply(&x)?,
        };
        logits.astype(Dtype::Float32)
    }
}

/// The positions of a result that somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Every one.
    All,
    /// The last one.
    Last,
}

impl Rows {
    /// These positions of activations.
    pub(crate) fn of(self, x: &Array) -> Result<Array> {
        match (self, x.dim(1)) {
            (Self::All, _) | (Self::Last, 1) => Ok(x.clone()),
            (Self::Last, positions) => x.slice_axis(1, positions - 1, positions),
        }
    }
}

/// What a layer keeps of the positions so far.
#[derive(Debug)]
pub(crate) enum Cache {
    Attention(KeysValues),
    DeltaNet(DeltaState),
}

impl Cache {
    /// The arrays to compute before their graph can be released.
    pub(crate) fn arrays(&self) -> Vec<&Array> {
        match self {
            Self::Attention(kept) => kept.arrays(),
            Self::DeltaNet(state) => state.arrays(),
        }
    }
}

#[derive(Debug)]
struct Layer {
    mixer_norm: Array,
    mixer: Mixer,
    block_norm: Array,
    block: Block,
    eps: f32,
}

/// What mixes the positions.
#[derive(Debug)]
enum Mixer {
    Attention(Attention),
    DeltaNet(DeltaNet),
}

impl Layer {
    fn new(
        shape: &Shape,
        tensors: &impl Tensors,
        index: usize,
        activation: &Activation,
    ) -> Result<Self, LoadError> {
        let name = format!("model.layers.{index}");
        let norm = |norm: &str| tensors.norm(&format!("{name}.{norm}"), shape.hidden);
        let net = shape.delta_net.as_ref();
        Ok(Self {
            mixer_norm: norm("input_layernorm")?,
            mixer: match net.filter(|_| shape.layers[index].has_delta_net) {
                Some(net) => {
                    let name = format!("{name}.linear_attn");
                    Mixer::DeltaNet(DeltaNet::new(shape, net, tensors, &name)?)
                }
                None => {
                    let name = format!("{name}.self_attn");
                    Mixer::Attention(Attention::new(shape, tensors, &name)?)
                }
            },
            block_norm: norm("post_attention_layernorm")?,
            block: Block::new(shape, tensors, &format!("{name}.mlp"), index, activation)?,
            eps: shape.rms_eps,
        })
    }

    fn weights(&self) -> Vec<&Array> {
        let mut weights = match &self.mixer {
            Mixer::Attention(attention) => attention.weights(),
            Mixer::DeltaNet(net) => net.weights(),
        };
        weights.extend([&self.mixer_norm, &self.block_norm]);
        weights.extend(self.block.weights());
        weights
    }

    fn cache(&self) -> Cache {
        match &self.mixer {
            Mixer::Attention(_) => Cache::Attention(KeysValues::default()),
            Mixer::DeltaNet(_) => Cache::DeltaNet(DeltaState::default()),
        }
    }

    fn apply(
        &self,
        x: &Array,
        cache: &mut Cache,
        rows: Rows,
        sum: impl Fn(Array) -> Result<Array>,
    ) -> Result<Array> {
        let normed = rms_norm(x, Some(&self.mixer_norm), self.eps)?;
        let mixed = match (&self.mixer, cache) {
            (Mixer::Attention(attention), Cache::Attention(kept)) => {
                attention.apply(&normed, kept, rows, &sum)?
            }
            (Mixer::DeltaNet(net), Cache::DeltaNet(state)) => {
                net.apply(&normed, state, rows, &sum)?
            }
            (mixer, cache) => unreachable!("{mixer:?} with {cache:?}"),
        };
        let x = rows.of(x)?.add(&mixed)?;
        let normed = rms_norm(&x, Some(&self.block_norm), self.eps)?;
        x.add(&self.block.apply(&normed, &sum)?)
    }
}
