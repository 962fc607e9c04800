//! Weights generated from a seed.
//!
//! A tensor depends only on the seed, its name and its shape, so every rank generates the
//! same tensors in any order, and slices the part that it needs. Names are those of Qwen3
//! checkpoints.
//!
//! # Weights that make the tokens vary
//! With a head tied to the embeddings, the likeliest successor of a token is the token
//! itself, and a random model repeats one token without end. Here:
//! - The head is a matrix of its own, so the successor of a token is an unrelated one,
//!   and the logits are nearly independent draws: the greatest of thousands is well above
//!   the second.
//! - Embeddings have unit variance, and all residual branches together add about as much,
//!   so the result depends on each token and on the tokens before it.
//! - The norm of the queries is wide (`QUERY_GAIN`), which makes attention select some
//!   positions rather than average them all; an average would hardly change from token to
//!   token, and the tokens would soon repeat in a cycle.

use mlx_core::{Array, Dtype, Result, random::Key};
use rail_bench::seeded::hash;

/// Scale of the normalised queries: the deviation of the attention scores.
const QUERY_GAIN: f32 = 4.0;

/// Makes the tensors of a model.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    seed: u64,
    layers: usize,
    dtype: Dtype,
}

impl Weights {
    /// The weights of a model with this many layers. Matrices and vectors are drawn in 32
    /// bits and then converted to `dtype`.
    pub fn new(seed: u64, layers: usize, dtype: Dtype) -> Self {
        Self {
            seed,
            layers,
            dtype,
        }
    }

    /// The matrix `{name}.weight` of shape (outputs, inputs).
    ///
    /// # Errors
    /// The errors that MLX reports.
    pub fn matrix(&self, name: &str, outputs: usize, inputs: usize) -> Result<Array> {
        self.draw(
            name,
            &[outputs as i32, inputs as i32],
            self.deviation(name, inputs),
        )
    }

    /// The weight of an RMS norm, `{name}.weight`.
    ///
    /// # Errors
    /// The errors that MLX reports.
    pub fn norm(&self, name: &str, width: usize) -> Result<Array> {
        let gain = if name.ends_with("q_norm") {
            QUERY_GAIN
        } else {
            1.0
        };
        let jitter = self.draw(name, &[width as i32], 0.1 * gain)?;
        jitter.add(&Array::scalar(gain)?.astype(self.dtype)?)
    }

    /// The factor that keeps the variance of activations: 1 for rows that are looked up,
    /// the inverse of the inputs for those that are summed over, and less for the two
    /// matrices that end a residual branch, of which each layer has two.
    fn deviation(&self, name: &str, inputs: usize) -> f32 {
        let even = (inputs as f32).sqrt().recip();
        if name.ends_with("embed_tokens") {
            1.0
        } else if name.ends_with("o_proj") || name.ends_with("down_proj") {
            even / (self.layers as f32).sqrt()
        } else {
            even
        }
    }

    fn draw(&self, name: &str, shape: &[i32], deviation: f32) -> Result<Array> {
        Key::new(hash(self.seed, name))?
            .normal(shape, deviation, Dtype::Float32)?
            .astype(self.dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_depends_on_seed_and_name() -> Result<()> {
        let draw = |seed, name| {
            Weights::new(seed, 2, Dtype::Float32)
                .matrix(name, 8, 16)?
                .to_vec::<f32>()
        };
        let first = draw(1, "model.layers.0.self_attn.q_proj")?;
        assert_eq!(first, draw(1, "model.layers.0.self_attn.q_proj")?);
        assert_ne!(first, draw(2, "model.layers.0.self_attn.q_proj")?);
        assert_ne!(first, draw(1, "model.layers.1.self_attn.q_proj")?);
        Ok(())
    }
}
