//! Prefill and greedy decode, the same on every rank.

use std::{
    cell::Cell,
    ops::Range,
    time::{Duration, Instant},
};

use mlx_core::{Array, Choices, Device, Dtype, Result, async_eval, clear_cache, eval, random::Key};
use models::Folder;
use rail_bench::{
    engine::Engine,
    model::ModelSpec,
    protocol::{Strategy, digest},
    seeded,
};

use crate::{
    collective::Collective,
    decoder::{Cache, Decoder, Rows, Shape},
    share::Share,
    tensors::{LoadError, OfFolder, Seeded, dtype_of},
};

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
}

impl Choice {
    /// Chooses a token from logits.
    ///
    /// # Panics
    /// There are no logits.
    pub fn greedy(logits: &[f32]) -> Self {
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
            digest: digest(logits),
        }
    }
}

/// The next token, whose computation has begun.
#[derive(Debug)]
pub struct Next {
    token: Choices,
    /// (1, 1, vocabulary), in 32 bits.
    logits: Array,
    layers: Option<Duration>,
}

impl Next {
    /// The token's id. Waits for it.
    ///
    /// # Errors
    /// The errors that MLX reports.
    pub fn id(&self) -> Result<u32> {
        self.token.indices().item()
    }

    /// With PP, what this rank's layers took for the token's last step, receiving and sending
    /// included.
    pub fn layers(&self) -> Option<Duration> {
        self.layers
    }

    /// Waits for the logits and looks at them, where they are.
    ///
    /// # Errors
    /// The errors that MLX reports.
    pub fn choice(&self) -> Result<Choice> {
        self.logits.read(Choice::greedy)
    }

    /// The logits, a token's at the index of its id. Waits for them.
    ///
    /// # Errors
    /// The errors that MLX reports.
    pub fn logits(&self) -> Result<Vec<f32>> {
        self.logits.to_vec()
    }
}

/// Splits sums in two at random and adds the halves again.
#[derive(Debug)]
struct Nudge {
    number: usize,
    /// The sums so far.
    sums: Cell<usize>,
}

impl Nudge {
    /// What is left of a sum when it has been cut into two parts, each rounded to the sum's
    /// type. The parts are about as large as those of two ranks: no smaller than the sum, nor
    /// than the mean of its row where much cancels out.
    fn apply(&self, sum: &Array) -> Result<Array> {
        let at = self.sums.replace(self.sums.get() + 1);
        let key = Key::new(seeded::hash(self.number as u64, &format!("sum.{at}")))?;
        let wide = sum.astype(Dtype::Float32)?;
        let half = wide.multiply(&Array::scalar(0.5f32)?)?;
        let size = half.abs()?;
        let width = Array::scalar(sum.dim(sum.ndim() - 1) as f32)?;
        let size = size.add(&size.sum_axis(-1, true)?.divide(&width)?)?;
        let cut = key
            .normal(sum.shape(), 1.0, Dtype::Float32)?
            .multiply(&size)?;
        let a = half.add(&cut)?.astype(sum.dtype())?;
        let b = half.subtract(&cut)?.astype(sum.dtype())?;
        a.add(&b)
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
    /// Layers whose computation for the next token begins before this token is known: none,
    /// some, or all.
    ahead: usize,
    nudge: Option<Nudge>,
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
        Ok(Self::with(strategy, decoder, ranks)?)
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
        Ok(Self::with(strategy, decoder, ranks)?)
    }

    fn with(strategy: Strategy, decoder: Decoder, ranks: C) -> Result<Self> {
        Ok(Self {
            ahead: ahead(strategy, ranks.size() > 1, decoder.depth())?,
            caches: decoder.caches(),
            decoder,
            strategy,
            ranks,
            prefill_step: Engine::Rust.prefill_step(strategy),
            nudge: None,
        })
    }

    /// Processes at most `step` tokens of a prompt at a time from now on.
    ///
    /// # Panics
    /// The step is 0.
    pub fn set_prefill_step(&mut self, step: usize) {
        assert!(step > 0, "a step has at least one token");
        self.prefill_step = step;
    }

    /// From now on splits the sums that TP splits once more, at random; 0 stops it. Every
    /// number has random numbers of its own, the same on every rank.
    ///
    /// This shows how far the logits move when TP adds in another order than one process:
    /// see [`rail_bench::checks::logits`].
    pub fn nudge_sums(&mut self, number: usize) {
        self.nudge = (number > 0).then(|| Nudge {
            number,
            sums: Cell::new(0),
        });
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
            self.advance(&self.known(tokens)?)?;
            // Nothing else is needed, and so nothing else is computed.
            let caches = self.caches.iter().flat_map(Cache::arrays);
            eval(&caches.collect::<Vec<_>>())?;
            clear_cache()?;
        }
        Ok(())
    }

    /// Processes a prompt after what is in the cache, and begins the first token.
    ///
    /// # Errors
    /// As [`Session::fill`].
    ///
    /// # Panics
    /// The prompt is empty.
    pub fn prefill(&mut self, prompt: &[u32]) -> Result<Next> {
        let steps = prompt.len().div_ceil(self.prefill_step);
        assert!(steps > 0, "a prompt has at least one token");
        let (before, last) = prompt.split_at((steps - 1) * self.prefill_step);
        self.fill(before)?;
        self.begin(&self.known(last)?)
    }

    /// Processes one token and begins the next.
    ///
    /// # Errors
    /// As [`Session::fill`].
    pub fn decode(&mut self, token: u32) -> Result<Next> {
        self.begin(&self.known(&[token])?)
    }

    /// Processes a token that need not be known yet, and begins the next. `meanwhile` is
    /// called when the computation has begun: it can wait for the token that is processed,
    /// and do what is to be done about it, while there is something to compute.
    ///
    /// # Errors
    /// The errors that MLX reports, and those of `meanwhile`.
    pub fn follow<E: From<mlx_core::Error>>(
        &mut self,
        before: &Next,
        meanwhile: impl FnOnce(&C) -> Result<(), E>,
    ) -> Result<Next, E> {
        let (ahead, depth) = (self.ahead, self.decoder.depth());
        if ahead == 0 {
            meanwhile(&self.ranks)?;
            return Ok(self.begin(&before.token)?);
        }
        let x = self.decoder.embed(&before.token)?;
        let x = self.layers(0..ahead, x)?;
        if ahead < depth {
            async_eval(&[&x])?;
            meanwhile(&self.ranks)?;
            let x = self.layers(ahead..depth, x)?;
            return Ok(self.choose(&x)?);
        }
        let next = self.choose(&x)?;
        meanwhile(&self.ranks)?;
        Ok(next)
    }

    fn known(&self, tokens: &[u32]) -> Result<Choices> {
        Choices::new(tokens, self.decoder.vocab())
    }

    fn begin(&mut self, tokens: &Choices) -> Result<Next> {
        let began = Instant::now();
        let x = self.advance(tokens)?;
        // PP's messages require that the layers have been evaluated.
        let layers = (self.strategy == Strategy::Pp).then(|| began.elapsed());
        Ok(Next {
            layers,
            ..self.choose(&x)?
        })
    }

    /// Whether what the layers give goes to another rank.
    fn sends(&self) -> bool {
        self.strategy == Strategy::Pp && self.ranks.rank() + 1 < self.ranks.size()
    }

    /// This rank's layers over the next tokens. With PP, when it returns the result is
    /// computed and has been sent on: a message must be in flight before the next one
    /// begins, since no data would keep them in order.
    fn advance(&mut self, tokens: &Choices) -> Result<Array> {
        let rank = self.ranks.rank();
        let x = if self.strategy == Strategy::Pp && rank > 0 {
            let shape = self.decoder.activation_shape(tokens.len());
            self.ranks.recv(&shape, self.decoder.dtype(), rank - 1)?
        } else {
            self.decoder.embed(tokens)?
        };
        let x = self.layers(0..self.decoder.depth(), x)?;
        if self.strategy != Strategy::Pp {
            return Ok(x);
        }
        // The receiver relies on the type.
        let mut x = x.astype(self.decoder.dtype())?;
        if self.sends() {
            x = self.ranks.send(&x, rank + 1)?;
        }
        let caches = self.caches.iter().flat_map(Cache::arrays);
        eval(&caches.chain([&x]).collect::<Vec<_>>())?;
        Ok(x)
    }

    fn layers(&mut self, indices: Range<usize>, x: Array) -> Result<Array> {
        let rows = if self.sends() { Rows::All } else { Rows::Last };
        let (strategy, ranks, nudge) = (self.strategy, &self.ranks, &self.nudge);
        let sum = |part| {
            let sum = match strategy {
                Strategy::Tp => ranks.all_sum(&part)?,
                Strategy::Pp | Strategy::Single => part,
            };
            match nudge {
                None => Ok(sum),
                Some(nudge) => nudge.apply(&sum),
            }
        };
        self.decoder.layers(indices, x, &mut self.caches, rows, sum)
    }

    /// Begins to choose a token from the last position of the last rank's activations. With
    /// PP every rank first receives them from that rank.
    fn choose(&self, x: &Array) -> Result<Next> {
        let mut row = Rows::Last.of(x)?;
        if self.strategy == Strategy::Pp {
            let ranks = self.ranks.size() as i32;
            row = self
                .ranks
                .all_gather(&row)?
                .slice_axis(0, ranks - 1, ranks)?;
        }
        let logits = self.decoder.logits(&row)?;
        let token = logits.place_of_greatest()?;
        async_eval(&[&logits, token.indices()])?;
        Ok(Next {
            token,
            logits,
            layers: None,
        })
    }
}

/// The layers, of this many, whose computation for the next token begins before this token
/// is known.
fn ahead(strategy: Strategy, is_joined: bool, depth: usize) -> Result<usize> {
    // On the CPU, MLX makes its caller wait until about fifty operations are left, so that
    // with all layers a token would be known when the next one is nearly computed.
    Ok(match Device::of_operations()? {
        // A message must be in flight before the next one begins.
        _ if strategy == Strategy::Pp => 0,
        // Ranks that share a processor compute, exchange and look at logits by turns: a rank
        // that polls for a message would take the time of its own other thread.
        Device::Cpu if is_joined => 0,
        Device::Cpu => 1.min(depth),
        Device::Gpu => depth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_relative_to_the_greatest_magnitude() {
        let choice = Choice::greedy(&[0.5, -4.0, 2.0, 1.0]);
        assert_eq!((choice.token, choice.margin), (2, 0.25));
    }

    #[test]
    fn a_logit_that_is_not_a_number_shows_in_the_margin() {
        const NAN: f32 = f32::NAN;
        for logits in [[NAN; 4], [NAN, 1.0, 3.0, 2.0], [3.0, 1.0, 2.0, NAN]] {
            assert!(Choice::greedy(&logits).margin.is_nan(), "{logits:?}");
        }
    }

    #[test]
    fn of_equals_the_first_is_chosen() {
        let choice = Choice::greedy(&[1.0, 3.0, 3.0]);
        assert_eq!((choice.token, choice.margin), (1, 0.0));
    }
}
