//! What follows attention in a layer: SwiGLU, or experts.

use std::rc::Rc;

use mlx_core::{Array, Choices, Compiled, Device, Result};
use models::Experts;

use super::Shape;
use crate::{
    linear::{Linear, Matrix},
    tensors::{Cut, LoadError, Tensors},
};

/// A feed-forward block, or experts.
#[derive(Debug)]
pub(super) enum Block {
    Dense(FeedForward),
    Experts(Box<Mixture>),
}

impl Block {
    pub(super) fn new(
        shape: &Shape,
        tensors: &impl Tensors,
        name: &str,
        layer: usize,
        activation: &Activation,
    ) -> Result<Self, LoadError> {
        match &shape.experts {
            Some(experts) if shape.layers[layer].has_experts => {
                let mixture = Mixture::new(shape, experts, tensors, name, activation)?;
                Ok(Self::Experts(Box::new(mixture)))
            }
            _ => FeedForward::new(shape, tensors, name, shape.ffn, activation).map(Self::Dense),
        }
    }

    pub(super) fn weights(&self) -> Vec<&Array> {
        match self {
            Self::Dense(feed_forward) => feed_forward.weights(),
            Self::Experts(mixture) => mixture.weights(),
        }
    }

    pub(super) fn apply(&self, x: &Array, sum: impl Fn(Array) -> Result<Array>) -> Result<Array> {
        match self {
            Self::Dense(feed_forward) => feed_forward.apply(x, sum),
            Self::Experts(mixture) => sum(mixture.apply(x)?),
        }
    }
}

/// `silu(gate) * up`: on a GPU one kernel, as in mlx-lm.
///
/// On the CPU MLX would call a compiler at run time, and the kernel is no faster than the
/// operations by themselves.
#[derive(Debug, Clone)]
pub(super) struct Activation(Option<Rc<Compiled>>);

impl Activation {
    pub(super) fn new() -> Result<Self> {
        let compiled = || Compiled::new(|arrays| swiglu(&arrays[0], &arrays[1]), 2);
        let is_gpu = Device::of_operations()? == Device::Gpu;
        Ok(Self(is_gpu.then(compiled).transpose()?.map(Rc::new)))
    }

    fn apply(&self, gate: &Array, up: &Array) -> Result<Array> {
        match &self.0 {
            Some(compiled) => compiled.apply(&[gate, up]),
            None => swiglu(gate, up),
        }
    }
}

fn swiglu(gate: &Array, up: &Array) -> Result<Array> {
    gate.silu()?.multiply(up)
}

/// SwiGLU (arXiv:2002.05202).
#[derive(Debug)]
pub(super) struct FeedForward {
    gate: Linear,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl FeedForward {
    fn new(
        shape: &Shape,
        tensors: &impl Tensors,
        name: &str,
        ffn: usize,
        activation: &Activation,
    ) -> Result<Self, LoadError> {
        let hidden = shape.hidden;
        let by_outputs =
            |matrix: &str| tensors.linear(&format!("{name}.{matrix}"), Cut::Outputs, ffn, hidden);
        let down = format!("{name}.down_proj");
        Ok(Self {
            gate: by_outputs("gate_proj")?,
            up: by_outputs("up_proj")?,
            down: tensors.linear(&down, Cut::Inputs, hidden, ffn)?,
            activation: activation.clone(),
        })
    }

    fn weights(&self) -> Vec<&Array> {
        let matrices = [&self.gate, &self.up, &self.down];
        matrices.into_iter().flat_map(Linear::arrays).collect()
    }

    fn apply(&self, x: &Array, sum: impl Fn(Array) -> Result<Array>) -> Result<Array> {
        let (gate, up) = (self.gate.apply(x)?, self.up.apply(x)?);
        self.down
            .apply_summed(&self.activation.apply(&gate, &up)?, sum)
    }
}

/// Experts, of which each token takes a few (arXiv:1701.06538), as in Qwen3-MoE; in
/// Qwen3-Next every token also takes a shared one, as far as its gate lets it.
#[derive(Debug)]
pub(super) struct Mixture {
    router: Linear,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
    shared: Option<Shared>,
    activation: Activation,
    per_token: i32,
    is_normalised: bool,
}

#[derive(Debug)]
struct Shared {
    gate: Linear,
    expert: FeedForward,
}

/// From so many choices on they are sorted, as in mlx-lm.
const SORTED_FROM: usize = 64;

impl Mixture {
    fn new(
        shape: &Shape,
        experts: &Experts,
        tensors: &impl Tensors,
        name: &str,
        activation: &Activation,
    ) -> Result<Self, LoadError> {
        let stack = |matrix: &str| tensors.experts(name, matrix, experts.count);
        let whole = |matrix: &str, outputs| {
            tensors.linear(
                &format!("{name}.{matrix}"),
                Cut::Whole,
                outputs,
                shape.hidden,
            )
        };
        let shared = |ffn| -> Result<Shared, LoadError> {
            let expert = format!("{name}.shared_expert");
            Ok(Shared {
                gate: whole("shared_expert_gate", 1)?,
                expert: FeedForward::new(shape, tensors, &expert, ffn, activation)?,
            })
        };
        Ok(Self {
            router: whole("gate", experts.count)?,
            gate: stack("gate_proj")?,
            up: stack("up_proj")?,
            down: stack("down_proj")?,
            shared: experts.shared_ffn.map(shared).transpose()?,
            activation: activation.clone(),
            per_token: experts.per_token as i32,
            is_normalised: experts.normalise,
        })
    }

    fn weights(&self) -> Vec<&Array> {
        let stacks = [&self.gate, &self.up, &self.down];
        let shared = self.shared.iter().flat_map(|shared| {
            let mut weights = shared.expert.weights();
            weights.extend(shared.gate.arrays());
            weights
        });
        let stacks = stacks.into_iter().flat_map(Matrix::arrays);
        stacks.chain(self.router.arrays()).chain(shared).collect()
    }

    /// This rank's part of the result.
    fn apply(&self, x: &Array) -> Result<Array> {
        let weights = self.router.apply(x)?.softmax_axis(-1, true)?;
        let (choices, mut weights) = weights.greatest(self.per_token)?;
        if self.is_normalised {
            weights = weights.divide(&weights.sum_axis(-1, true)?)?;
        }
        let each = self.each(x, &choices)?;
        let weights = weights.reshape(&[1, x.dim(1), self.per_token, 1])?;
        let mixed = each.multiply(&weights)?.sum_axis(2, false)?;
        let Some(Shared { gate, expert }) = &self.shared else {
            return Ok(mixed);
        };
        let shared = gate.apply(x)?.sigmoid()?;
        mixed.add(&shared.multiply(&expert.apply(x, Ok)?)?)
    }

    /// What each chosen expert gives, (1, positions, experts of a token, hidden).
    fn each(&self, x: &Array, choices: &Choices) -> Result<Array> {
        let (positions, hidden) = (x.dim(1), x.dim(2));
        let each = if choices.len() < SORTED_FROM {
            self.run(&x.reshape(&[1, positions, 1, 1, hidden])?, choices)?
        } else {
            let grouped = choices.grouped()?;
            let rows = x.reshape(&[positions, 1, hidden])?;
            let rows = rows.take_axis(&grouped.rows, 0)?;
            let sorted = self.run(&rows, &grouped.choices)?;
            sorted.take_axis(&grouped.places, 0)?
        };
        each.reshape(&[1, positions, self.per_token, hidden])
    }

    fn run(&self, x: &Array, choices: &Choices) -> Result<Array> {
        let gate = self.gate.apply_chosen(x, choices)?;
        let up = self.up.apply_chosen(x, choices)?;
        self.down
            .apply_chosen(&self.activation.apply(&gate, &up)?, choices)
    }
}
