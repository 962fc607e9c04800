//! Grouped-query attention, and what it keeps of the positions so far.

use mlx_core::{
    Array, Result, concatenate,
    fast::{Mask, Rope, rms_norm, scaled_dot_product_attention},
};
use models::Llama3Scaling;

use super::{Rows, Shape};
use crate::{
    linear::Linear,
    tensors::{Cut, LoadError, Tensors},
};

#[derive(Debug)]
pub(super) struct Attention {
    /// Of each head the queries, and after them the gate if there is one.
    queries: Linear,
    keys: Linear,
    values: Linear,
    output: Linear,
    /// Of the queries and of the keys.
    head_norms: Option<[Array; 2]>,
    has_output_gate: bool,
    rotary: Rotary,
    head_dim: i32,
    eps: f32,
}

impl Attention {
    pub(super) fn new(
        shape: &Shape,
        tensors: &impl Tensors,
        name: &str,
    ) -> Result<Self, LoadError> {
        let Shape {
            hidden,
            head_dim,
            has_output_gate,
            ..
        } = *shape;
        let (query_width, kv_width) = (shape.heads * head_dim, shape.kv_heads * head_dim);
        let gated_width = if has_output_gate { 2 } else { 1 } * query_width;
        let by_outputs = |matrix: &str, outputs: usize| {
            tensors.linear(&format!("{name}.{matrix}"), Cut::Outputs, outputs, hidden)
        };
        let norm = |norm: &str| tensors.norm(&format!("{name}.{norm}"), head_dim);
        let output = format!("{name}.o_proj");
        Ok(Self {
            queries: by_outputs("q_proj", gated_width)?,
            keys: by_outputs("k_proj", kv_width)?,
            values: by_outputs("v_proj", kv_width)?,
            output: tensors.linear(&output, Cut::Inputs, hidden, query_width)?,
            head_norms: match shape.has_head_norms {
                true => Some([norm("q_norm")?, norm("k_norm")?]),
                false => None,
            },
            has_output_gate,
            rotary: Rotary::new(shape)?,
            head_dim: head_dim as i32,
            eps: shape.rms_eps,
        })
    }

    pub(super) fn weights(&self) -> Vec<&Array> {
        let matrices = [&self.queries, &self.keys, &self.values, &self.output];
        let matrices = matrices.into_iter().flat_map(Linear::arrays);
        matrices.chain(self.head_norms.iter().flatten()).collect()
    }

    pub(super) fn apply(
        &self,
        x: &Array,
        kept: &mut KeysValues,
        rows: Rows,
        sum: impl Fn(Array) -> Result<Array>,
    ) -> Result<Array> {
        let asking = rows.of(x)?;
        let (first, positions) = (kept.len, asking.dim(1));
        let first_asking = first + x.dim(1) - positions;
        let (queries, gate) = self.queries_and_gate(&asking)?;
        let [query_norm, key_norm] = match &self.head_norms {
            None => [None, None],
            Some([queries, keys]) => [Some(queries), Some(keys)],
        };
        let queries = self.turned(&queries, query_norm, first_asking)?;
        let keys = self.split_heads(&self.keys.apply(x)?)?;
        let keys = self.turned(&keys, key_norm, first)?;
        let values = by_head(&self.split_heads(&self.values.apply(x)?)?)?;
        let (keys, values) = kept.extend(&keys, &values)?;

        // A single query has the last position and attends to every key.
        let mask = if positions > 1 {
            Mask::Causal
        } else {
            Mask::None
        };
        let scale = (self.head_dim as f32).sqrt().recip();
        let mixed = scaled_dot_product_attention(&queries, &keys, &values, scale, mask)?;
        let mixed = by_head(&mixed)?.reshape(&[1, positions, -1])?;
        let mixed = match gate {
            None => mixed,
            Some(gate) => mixed.multiply(&gate.sigmoid()?)?,
        };
        self.output.apply_summed(&mixed, sum)
    }

    /// The queries, (1, positions, heads, features), and the gate of what comes out,
    /// (1, positions, heads x features).
    fn queries_and_gate(&self, x: &Array) -> Result<(Array, Option<Array>)> {
        let projected = self.queries.apply(x)?;
        if !self.has_output_gate {
            return Ok((self.split_heads(&projected)?, None));
        }
        let (positions, width) = (x.dim(1), self.head_dim);
        let both = projected.reshape(&[1, positions, -1, 2 * width])?;
        let gate = both.slice_axis(3, width, 2 * width)?;
        let gate = gate.reshape(&[1, positions, -1])?;
        Ok((both.slice_axis(3, 0, width)?, Some(gate)))
    }

    /// (1, positions, heads, features), normalised and turned by their positions, to
    /// (1, heads, positions, features).
    fn turned(&self, heads: &Array, norm: Option<&Array>, first: i32) -> Result<Array> {
        let heads = match norm {
            None => heads.clone(),
            Some(norm) => rms_norm(heads, Some(norm), self.eps)?,
        };
        self.rotary.apply(&by_head(&heads)?, first)
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

/// Keys and values of the positions so far, (1, heads, positions, features), with room for
/// more, as in mlx-lm's `KVCache`: a token is written into its place, and nothing is copied
/// until the room is used up.
#[derive(Debug, Default)]
pub(crate) struct KeysValues {
    rooms: Option<[Array; 2]>,
    /// The positions that are in use.
    len: i32,
}

/// Positions that a room grows by, as in mlx-lm.
const STEP: i32 = 256;

impl KeysValues {
    /// Adds positions and returns all so far.
    fn extend(&mut self, keys: &Array, values: &Array) -> Result<(Array, Array)> {
        let (start, end) = (self.len, self.len + keys.dim(2));
        let [key_room, value_room] = match self.rooms.take() {
            Some([keys, values]) => [Some(keys), Some(values)],
            None => [None, None],
        };
        let key_room = put(key_room, keys, start)?;
        let value_room = put(value_room, values, start)?;
        let all = |room: &Array| room.slice_axis(2, 0, end);
        let both = (all(&key_room)?, all(&value_room)?);
        self.rooms = Some([key_room, value_room]);
        self.len = end;
        Ok(both)
    }

    pub(super) fn arrays(&self) -> Vec<&Array> {
        self.rooms.iter().flatten().collect()
    }
}

/// The room with `new` from position `start` on. Nobody else refers to the room, so that it
/// is changed in place.
fn put(room: Option<Array>, new: &Array, start: i32) -> Result<Array> {
    let end = start + new.dim(2);
    let room = match room {
        Some(room) if room.dim(2) >= end => room,
        room => grown(room, new, start)?,
    };
    let mut stop = room.shape().to_vec();
    stop[2] = end;
    room.slice_update(new, &[0, 0, start, 0], &stop)
}

/// The positions in use, and behind them room for the new ones.
fn grown(room: Option<Array>, new: &Array, used: i32) -> Result<Array> {
    let mut shape = new.shape().to_vec();
    shape[2] = (shape[2] + STEP - 1) / STEP * STEP;
    let free = Array::zeros(&shape, new.dtype())?;
    match room {
        None => Ok(free),
        Some(room) => concatenate(&[&room.slice_axis(2, 0, used)?, &free], 2),
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
