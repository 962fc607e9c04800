//! Prefill and greedy decode, the same on every rank.

use mlx_core::{Array, Dtype, Result, eval};
use models::Folder;
use rail_bench::{
    engine::Engine,
    model::ModelSpec,
    protocol::{Strategy, digest},
};

use crate::{
    collective::Collective,
    decoder::{Cache, Decoder, Shape},
    share::Share,
    tensors::{LoadError, OfFolder, Seeded, dtype_of},
};

/// Positions of a prefill step with TP, as in exo.
const TP_PREFILL_STEP: usize = 4096;
/// Positions of a prefill step with PP, as in exo: each step is one message.
const PP_PREFILL_STEP: usize = 2048;

/// The next token, and what it was chosen from.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The token with the greatest logit, the first of equals.
    pub token: u32,
    /// The distance from its logit to the second greatest, as a fraction of the greatest
    /// magnitude of any logit. NaN if any logit is NaN, however clear the choice among
    /// the others.
    pub margin: f32,
    /// Names the bits of the logits.
    pub digest: String,
    /// The logits, a token's at the index of its id.
    pub logits: Vec<f32>,
}

impl Choice {
    /// Chooses a token from logits.
    ///
    /// # Panics
    /// There are no logits.
    pub fn greedy(logits: Vec<f32>) -> Self {
        let (mut token, mut best, mut second) = (0, f32::NEG_INFINITY, f32::NEG_INFINITY);
        let mut magnitude = 0f32;
        let numbers = !logits.iter().any(|logit| logit.is_nan());
        for (index, &logit) in logits.iter().enumerate() {
            magnitude = magnitude.max(logit.abs());
            if logit > best {
                (token, best, second) = (index, logit, best);
            } else {
                second = second.max(logit);
            }
        }
        assert!(!logits.is_empty(), "a model knows at least one token");
        Self {
            token: token as u32,
            margin: match numbers {
                true => (best - second) / magnitude,
                false => f32::NAN,
            },
            digest: digest(&logits),
            logits,
        }
    }
}

/// A rank's share of a model and its group.
///
/// Every rank chooses every token itself, from the same activations, so tokens are never
/// sent.
#[derive(Debug)]
pub struct Session<C> {
    decoder: Decoder,
    strategy: Strategy,
    ranks: C,
    caches: Vec<Cache>,
    prefill_step: usize,
}

impl<C: Collective> Session<C> {
    /// Makes the weights of this rank's share of a preset.
    ///
    /// # Errors
    /// The errors that MLX reports.
    ///
    /// # Panics
    /// The model cannot be split this way; see [`ModelSpec::check_tensor_split`] and
    /// [`ModelSpec::check_pipeline_split`].
    pub fn new(
        strategy: Strategy,
        spec: &ModelSpec,
        seed: u64,
        ranks: C,
    ) -> Result<Self, LoadError> {
        let shape = Shape::of_spec(spec);
        let share = Share::of(strategy, spec.layers, ranks.rank(), ranks.size());
        let tensors = Seeded::new(spec, &share, seed, shape.dtype)?;
        let decoder = Decoder::new(shape, share.layers.clone(), &tensors)?;
        Ok(Self::with(strategy, decoder, ranks))
    }

    /// Reads this rank's share of the model in a folder, and none of the other ranks' bytes.
    ///
    /// # Errors
    /// This engine cannot run the model ([`Engine::check_folder`]), tensor parallelism cannot
    /// split it, the folder lacks a tensor or cannot be read, or MLX refuses a tensor.
    ///
    /// # Panics
    /// With PP a rank would have no layer; see [`Folder::check_pipeline`].
    pub fn open(strategy: Strategy, folder: &Folder, ranks: C) -> Result<Self, LoadError> {
        Engine::Rust.check_folder(folder)?;
        let config = folder.config()?;
        let place = (ranks.rank(), ranks.size());
        let share = Share::of(strategy, config.layers, place.0, place.1);
        let tensors = OfFolder::new(folder, strategy, place)?;
        let dtype = folder.activations().and_then(dtype_of);
        let shape = Shape::of_config(config, dtype.unwrap_or(Dtype::Float32));
        let decoder = Decoder::new(shape, share.layers, &tensors)?;
        Ok(Self::with(strategy, decoder, ranks))
    }

    fn with(strategy: Strategy, decoder: Decoder, ranks: C) -> Self {
        Self {
            caches: decoder.caches(),
            decoder,
            strategy,
            ranks,
            prefill_step: match strategy {
                Strategy::Pp => PP_PREFILL_STEP,
                Strategy::Tp | Strategy::Single => TP_PREFILL_STEP,
            },
        }
    }

    /// Processes at most `step` tokens of a prompt at a time from now on.
    ///
    /// # Panics
    /// The step is 0.
    pub fn set_prefill_step(&mut self, step: usize) {
        assert!(step > 0, "a step has at least one token");
        self.prefill_step = step;
    }

    /// The ranks of the job.
    pub fn ranks(&self) -> &C {
        &self.ranks
    }

    /// Bytes of the weights of this rank's share.
    pub fn weight_bytes(&self) -> usize {
        self.decoder.weights().map(Array::nbytes).sum()
    }

    /// Waits until every rank has called it.
    ///
    /// # Errors
    /// The errors that MLX reports.
    pub fn barrier(&self) -> Result<()> {
        eval(&[&self.ranks.all_sum(&Array::scalar(1f32)?)?])
    }

    /// Empties the cache.
    pub fn clear(&mut self) {
        self.caches = self.decoder.caches();
    }

    /// Processes tokens as a prompt, and chooses none after them.
    ///
    /// # Errors
    /// The errors that MLX reports; an unknown token.
    pub fn fill(&mut self, tokens: &[u32]) -> Result<()> {
        for tokens in tokens.chunks(self.prefill_step) {
            self.advance(tokens)?;
        }
        Ok(())
    }

    /// Processes a prompt after what is in the cache, and chooses the first token.
    ///
    /// # Errors
    /// As [`Session::fill`].
    ///
    /// # Panics
    /// The prompt is empty.
    pub fn prefill(&mut self, prompt: &[u32]) -> Result<Choice> {
        let mut last = None;
        for tokens in prompt.chunks(self.prefill_step) {
            last = Some(self.advance(tokens)?);
        }
        self.choose(&last.expect("a prompt has at least one token"))
    }

    /// Processes one token and chooses the next.
    ///
    /// # Errors
    /// As [`Session::fill`].
    pub fn decode(&mut self, token: u32) -> Result<Choice> {
        let x = self.advance(&[token])?;
        self.choose(&x)
    }

    /// Runs this rank's layers over the next tokens. When it returns the result is
    /// computed, and with PP it has been sent on: a message must be in flight before the
    /// next one begins, since no data would keep them in order.
    fn advance(&mut self, tokens: &[u32]) -> Result<Array> {
        let pipelined = self.strategy == Strategy::Pp;
        let (rank, last) = (self.ranks.rank(), self.ranks.size() - 1);
        let x = if pipelined && rank > 0 {
            let shape = self.decoder.activation_shape(tokens.len());
            self.ranks.recv(&shape, self.decoder.dtype(), rank - 1)?
        } else {
            self.decoder.embed(tokens)?
        };
        let (strategy, ranks) = (self.strategy, &self.ranks);
        let mut x = self
            .decoder
            .layers(x, &mut self.caches, |part| match strategy {
                Strategy::Tp => ranks.all_sum(&part),
                Strategy::Pp | Strategy::Single => Ok(part),
            })?;
        if pipelined {
            // The receiver relies on the type.
            x = x.astype(self.decoder.dtype())?;
            if rank < last {
                x = self.ranks.send(&x, rank + 1)?;
            }
        }
        let computed: Vec<_> = self
            .caches
            .iter()
            .flat_map(Cache::arrays)
            .chain([&x])
            .collect();
        eval(&computed)?;
        Ok(x)
    }

    /// Chooses a token from the last position of the last rank's activations. With PP
    /// every rank first receives them from that rank.
    fn choose(&self, x: &Array) -> Result<Choice> {
        let positions = x.dim(1);
        let mut row = x.slice_axis(1, positions - 1, positions)?;
        if self.strategy == Strategy::Pp {
            let ranks = self.ranks.size() as i32;
            row = self
                .ranks
                .all_gather(&row)?
                .slice_axis(0, ranks - 1, ranks)?;
        }
        Ok(Choice::greedy(self.decoder.logits(&row)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_relative_to_the_greatest_magnitude() {
        let choice = Choice::greedy(vec![0.5, -4.0, 2.0, 1.0]);
        assert_eq!((choice.token, choice.margin), (2, 0.25));
    }

    #[test]
    fn a_logit_that_is_not_a_number_shows_in_the_margin() {
        const NAN: f32 = f32::NAN;
        for logits in [[NAN; 4], [NAN, 1.0, 3.0, 2.0], [3.0, 1.0, 2.0, NAN]] {
            assert!(
                Choice::greedy(logits.to_vec()).margin.is_nan(),
                "{logits:?}"
            );
        }
    }

    #[test]
    fn of_equals_the_first_is_chosen() {
        let choice = Choice::greedy(vec![1.0, 3.0, 3.0]);
        assert_eq!((choice.token, choice.margin), (1, 0.0));
    }
}
