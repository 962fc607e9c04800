//! The gated delta net of Qwen3-Next (arXiv:2412.06464), as mlx-lm 0.31.3 computes it
//! (`models/qwen3_next.py`, `models/gated_delta.py`) where it has no kernel of its own.
//!
//! Each head keeps a matrix that maps keys to values. A position lets it fade, corrects what
//! it gives for the position's key towards the position's value, and asks it by the query.

use std::ops::Range;

use mlx_core::{Array, Dtype, Result, concatenate, fast::rms_norm, stack};

use super::{Rows, Shape};
use crate::{
    linear::Linear,
    tensors::{Cut, LoadError, Tensors},
};

/// Under the root of the norms of queries and keys.
const HEAD_EPS: f32 = 1e-6;

#[derive(Debug)]
pub(super) struct DeltaNet {
    /// Of each key head: query, key, and of its value heads the values and gates of what
    /// comes out.
    qkvz: Linear,
    /// Of each key head: of its value heads how much is corrected, and how much fades.
    ba: Linear,
    /// Over the positions, of all queries, all keys and all values.
    conv: Array,
    a_log: Array,
    dt_bias: Array,
    norm: Array,
    output: Linear,
    heads: Heads,
    kernel: i32,
    eps: f32,
}

/// A rank's heads.
#[derive(Debug, Clone, Copy)]
struct Heads {
    keys: i32,
    values: i32,
    key_dim: i32,
    value_dim: i32,
}

/// What is kept of the positions so far.
#[derive(Debug, Default)]
pub(crate) struct DeltaState {
    kept: Option<State>,
}

#[derive(Debug, Clone)]
struct State {
    /// What the convolution sees of the last positions, (1, positions, channels).
    conv: Array,
    /// Of each value head its matrix, (1, heads, value, key), in 32 bits.
    memory: Array,
}

impl DeltaState {
    pub(super) fn arrays(&self) -> Vec<&Array> {
        let kept = self.kept.iter();
        kept.flat_map(|it| [&it.conv, &it.memory]).collect()
    }
}

/// What the positions bring, each (1, positions, ...).
struct Inputs {
    queries: Array,
    keys: Array,
    values: Array,
    /// How much of what is wrong is corrected.
    rates: Array,
    /// The part of the memory that stays.
    decay: Array,
}

impl DeltaNet {
    pub(super) fn new(
        shape: &Shape,
        net: &models::DeltaNet,
        tensors: &impl Tensors,
        name: &str,
    ) -> Result<Self, LoadError> {
        let hidden = shape.hidden;
        let (key_width, value_width) =
            (net.key_heads * net.key_dim, net.value_heads * net.value_dim);
        let named = |part: &str| format!("{name}.{part}");
        let by_outputs =
            |part: &str, outputs| tensors.linear(&named(part), Cut::Outputs, outputs, hidden);
        let a_log = tensors.parameter(&named("A_log"), 1)?;
        // A rank has its part of the heads.
        let values = a_log.dim(0);
        Ok(Self {
            qkvz: by_outputs("in_proj_qkvz", 2 * key_width + 2 * value_width)?,
            ba: by_outputs("in_proj_ba", 2 * net.value_heads)?,
            conv: kernel_last_but_one(tensors.parameter(&named("conv1d.weight"), 3)?)?,
            dt_bias: tensors.parameter(&named("dt_bias"), 1)?,
            norm: tensors.norm(&named("norm"), net.value_dim)?,
            output: tensors.linear(&named("out_proj"), Cut::Inputs, hidden, value_width)?,
            heads: Heads {
                keys: values * net.key_heads as i32 / net.value_heads as i32,
                values,
                key_dim: net.key_dim as i32,
                value_dim: net.value_dim as i32,
            },
            a_log,
            kernel: net.kernel as i32,
            eps: shape.rms_eps,
        })
    }

    pub(super) fn weights(&self) -> Vec<&Array> {
        let matrices = [&self.qkvz, &self.ba, &self.output];
        let mut weights: Vec<&Array> = matrices.into_iter().flat_map(Linear::arrays).collect();
        weights.extend([&self.conv, &self.a_log, &self.dt_bias, &self.norm]);
        weights
    }

    pub(super) fn apply(
        &self,
        x: &Array,
        state: &mut DeltaState,
        rows: Rows,
        sum: impl Fn(Array) -> Result<Array>,
    ) -> Result<Array> {
        let dtype = x.dtype();
        let State { conv, memory } = match state.kept.take() {
            Some(kept) => kept,
            None => self.nothing(dtype)?,
        };
        let (mixed, gates) = self.project(x)?;
        let seen = concatenate(&[&conv, &mixed], 1)?;
        let length = seen.dim(1);
        let inputs = self.inputs(x, &seen)?;
        let (out, memory) = recur(&inputs, memory, self.heads, rows)?;
        state.kept = Some(State {
            conv: seen
                .slice_axis(1, length - (self.kernel - 1), length)?
                .contiguous()?,
            memory,
        });
        // The gate is applied in 32 bits.
        let normed = rms_norm(&out, Some(&self.norm), self.eps)?.astype(Dtype::Float32)?;
        let gates = rows.of(&gates)?.astype(Dtype::Float32)?.silu()?;
        let out = gates.multiply(&normed)?.astype(dtype)?;
        let out = out.reshape(&[1, out.dim(1), -1])?;
        self.output.apply_summed(&out, sum)
    }

    /// The state before the first position.
    fn nothing(&self, dtype: Dtype) -> Result<State> {
        let Heads {
            values,
            key_dim,
            value_dim,
            ..
        } = self.heads;
        let channels = self.conv.dim(0);
        Ok(State {
            conv: Array::zeros(&[1, self.kernel - 1, channels], dtype)?,
            memory: Array::zeros(&[1, values, value_dim, key_dim], Dtype::Float32)?,
        })
    }

    /// What the convolution sees, (1, positions, channels), and the gates of what comes out,
    /// (1, positions, value heads, features).
    fn project(&self, x: &Array) -> Result<(Array, Array)> {
        let heads = self.heads;
        let positions = x.dim(1);
        let by_head = self
            .qkvz
            .apply(x)?
            .reshape(&[1, positions, heads.keys, -1])?;
        let values = heads.values / heads.keys * heads.value_dim;
        let flat = |range: Range<i32>| {
            let part = by_head.slice_axis(3, range.start, range.end)?;
            part.reshape(&[1, positions, -1])
        };
        let (queries, keys) = (heads.key_dim, 2 * heads.key_dim);
        let gates = flat(keys + values..keys + 2 * values)?;
        let mixed = concatenate(
            &[
                &flat(0..queries)?,
                &flat(queries..keys)?,
                &flat(keys..keys + values)?,
            ],
            2,
        )?;
        let gates = gates.reshape(&[1, positions, heads.values, heads.value_dim])?;
        Ok((mixed, gates))
    }

    fn inputs(&self, x: &Array, seen: &Array) -> Result<Inputs> {
        let heads = self.heads;
        let positions = x.dim(1);
        let mixed = seen.conv1d_by_channel(&self.conv)?.silu()?;
        let key_width = heads.keys * heads.key_dim;
        let part = |start: i32, count: i32, width: i32| {
            let part = mixed.slice_axis(2, start, start + count * width)?;
            part.reshape(&[1, positions, count, width])
        };
        // Each value head has the query and the key of its key head.
        let of_values = |start: i32, scale: f32| {
            let heads_of = part(start, heads.keys, heads.key_dim)?;
            let normed = rms_norm(&heads_of, None, HEAD_EPS)?.scaled(scale)?;
            match heads.values / heads.keys {
                1 => Ok(normed),
                times => normed.repeat_axis(times, 2),
            }
        };
        let scale = (heads.key_dim as f32).sqrt().recip();
        let ba = self.ba.apply(x)?.reshape(&[1, positions, heads.keys, -1])?;
        let each = heads.values / heads.keys;
        let of_heads = |start: i32| {
            let part = ba.slice_axis(3, start, start + each)?;
            part.reshape(&[1, positions, heads.values])
        };
        let step = of_heads(each)?.add(&self.dt_bias)?.softplus()?;
        let decay = self.a_log.astype(Dtype::Float32)?.exp()?.multiply(&step)?;
        Ok(Inputs {
            queries: of_values(0, scale * scale)?,
            keys: of_values(key_width, scale)?,
            values: part(2 * key_width, heads.values, heads.value_dim)?,
            rates: of_heads(0)?.sigmoid()?,
            decay: decay.negative()?.exp()?,
        })
    }
}

/// Runs the positions one after the other. Gives what each of the rows reads of the memory,
/// (1, rows, heads, features), and the memory after the last.
fn recur(inputs: &Inputs, memory: Array, heads: Heads, rows: Rows) -> Result<(Array, Array)> {
    let positions = inputs.keys.dim(1);
    let mut memory = memory;
    let mut read = Vec::new();
    for at in 0..positions {
        let of = |x: &Array, shape: &[i32]| x.slice_axis(1, at, at + 1)?.reshape(shape);
        let of_heads = [1, heads.values, 1, 1];
        let of_keys = [1, heads.values, 1, heads.key_dim];
        let of_values = [1, heads.values, heads.value_dim, 1];
        let key = of(&inputs.keys, &of_keys)?;
        memory = memory.multiply(&of(&inputs.decay, &of_heads)?)?;
        let known = memory.multiply(&key)?.sum_axis(-1, true)?;
        let wrong = of(&inputs.values, &of_values)?.subtract(&known)?;
        let correction = wrong.multiply(&of(&inputs.rates, &of_heads)?)?;
        memory = memory.add(&key.multiply(&correction)?)?;
        if rows == Rows::All || at + 1 == positions {
            let query = of(&inputs.queries, &of_keys)?;
            read.push(memory.multiply(&query)?.sum_axis(-1, false)?);
        }
    }
    let read = stack(&read.iter().collect::<Vec<_>>(), 1)?;
    Ok((read.astype(inputs.queries.dtype())?, memory))
}

/// A kernel as (channels, length, 1): Hugging Face's folders have (channels, 1, length).
fn kernel_last_but_one(kernel: Array) -> Result<Array> {
    match kernel.dim(2) {
        1 => Ok(kernel),
        _ => kernel.transpose(&[0, 2, 1])?.contiguous(),
    }
}
