//! The messages of a token and of a prompt.

use std::fmt;

use rail_bench::{engine::Engine, model::Model, protocol::Strategy};
use serde::{Serialize, Serializer};

/// All-reduces of a layer in TP: after attention, and after what follows it.
const SUMS_A_LAYER: usize = 2;

/// An operation of jaccl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// From a rank to the next.
    Send,
    /// The sum of all ranks' activations.
    AllSum,
    /// All ranks' activations.
    AllGather,
}

impl Call {
    /// The name of jaccl's function.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::AllSum => "all_sum",
            Self::AllGather => "all_gather",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One call of jaccl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Message {
    /// The operation.
    pub call: Call,
    /// The length of a rank's input.
    pub bytes: usize,
}

/// A model as far as its ranks exchange it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Decoder layers.
    pub layers: usize,
    /// Bytes of one token's activation.
    pub message_bytes: usize,
}

impl Shape {
    /// The shape of a model. `None` if its folder does not say it.
    pub fn of(model: &Model) -> Option<Self> {
        let layers = match model {
            Model::Preset(preset) => Some(preset.spec.layers),
            Model::Folder(folder) => folder.content.layers(),
        };
        Some(Self {
            layers: layers?,
            message_bytes: model.message_bytes()?,
        })
    }

    /// The `all_sum`s of a token of TP, one after another.
    pub fn sums(&self) -> (Message, usize) {
        (self.sum(1), SUMS_A_LAYER * self.layers)
    }

    /// The `all_sum`s of a prefill of TP in these steps, one after another. Of the last layer
    /// only what the next token comes from is computed: one row, in the last step.
    pub fn prefill_sums(&self, steps: &[usize]) -> Vec<(Message, usize)> {
        let before_last = SUMS_A_LAYER * self.layers.saturating_sub(1);
        let of_steps = steps.iter().map(|tokens| (self.sum(*tokens), before_last));
        of_steps.chain([(self.sum(1), SUMS_A_LAYER)]).collect()
    }

    fn sum(&self, tokens: usize) -> Message {
        Message {
            call: Call::AllSum,
            bytes: tokens * self.message_bytes,
        }
    }

    /// What PP sends over a boundary between two ranks in one step.
    pub fn send(&self, tokens: usize) -> Message {
        Message {
            call: Call::Send,
            bytes: tokens * self.message_bytes,
        }
    }

    /// What PP gathers for each token that is chosen.
    pub fn gather(&self) -> Message {
        Message {
            call: Call::AllGather,
            bytes: self.message_bytes,
        }
    }

    /// Every message of a cell, each once: of its decode and of a prefill in these steps.
    pub fn messages(&self, strategy: Strategy, steps: &[usize]) -> Vec<Message> {
        let lengths = steps.iter().copied().chain([1]);
        let mut messages: Vec<_> = match strategy {
            Strategy::Single => vec![],
            Strategy::Tp => lengths.map(|tokens| self.sum(tokens)).collect(),
            Strategy::Pp => lengths
                .map(|tokens| self.send(tokens))
                .chain([self.gather()])
                .collect(),
        };
        messages.sort();
        messages.dedup();
        messages
    }
}

/// The tokens of each step of a prefill, as an [`Engine`] takes them.
pub fn steps(
    engine: Engine,
    strategy: Strategy,
    prompt_tokens: usize,
    prefill_step: Option<usize>,
) -> Vec<usize> {
    // mlx-lm processes the last token of a prompt in a step of its own.
    let last = usize::from(engine == Engine::MlxLm);
    let own = engine.prefill_step(strategy);
    let most = prefill_step.unwrap_or(own).max(1);
    let first = prompt_tokens.saturating_sub(last);
    let mut steps = vec![most; first / most];
    steps.extend([first % most, prompt_tokens - first]);
    steps.retain(|tokens| *tokens > 0);
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};
    use rail_bench::model::Preset;

    use super::*;

    #[test]
    fn the_default_preset_exchanges_what_the_benchmark_counts() {
        let shape = Shape::of(&Preset::ALL[0].into()).expect("a preset says it");
        // Four layers of two sums; 8192 bytes a token.
        let sum = |bytes| Message {
            call: Call::AllSum,
            bytes,
        };
        assert_eq!(shape.sums(), (sum(8192), 8));
        let prefill = [(sum(1 << 20), 6), (sum(1 << 20), 6), (sum(8192), 2)];
        assert_eq!(shape.prefill_sums(&[128, 128]), prefill);
        let messages = shape.messages(Strategy::Pp, &[256]);
        let calls: Vec<_> = messages.iter().map(|it| (it.call, it.bytes)).collect();
        assert_eq!(
            calls,
            [
                (Call::Send, 8192),
                (Call::Send, 2 << 20),
                (Call::AllGather, 8192)
            ]
        );
    }

    #[test]
    fn engines_cut_a_prompt_as_they_do() {
        let rust = |strategy| steps(Engine::Rust, strategy, 5000, None);
        assert_eq!(rust(Strategy::Tp), [4096, 904]);
        assert_eq!(rust(Strategy::Pp), [2048, 2048, 904]);
        let mlx_lm = |prompt| steps(Engine::MlxLm, Strategy::Tp, prompt, None);
        assert_eq!(mlx_lm(2049), [2048, 1]);
        assert_eq!(mlx_lm(1), [1]);
        assert_eq!(steps(Engine::Rust, Strategy::Tp, 9, Some(4)), [4, 4, 1]);
    }

    proptest! {
        /// However a prompt is cut, its bytes are those of its tokens.
        #[test]
        fn steps_lose_no_token(
            prompt in 1_usize..20_000,
            step in proptest::option::of(1_usize..5000),
            layers in 1_usize..100,
        ) {
            let shape = Shape { layers, message_bytes: 4096 };
            for engine in Engine::ALL {
                for strategy in Strategy::SPREAD {
                    let steps = steps(engine, strategy, prompt, step);
                    prop_assert_eq!(steps.iter().sum::<usize>(), prompt);
                    let summed: usize = shape
                        .prefill_sums(&steps)
                        .iter()
                        .map(|(message, count)| message.bytes * count)
                        .sum();
                    prop_assert_eq!(summed, 2 * ((layers - 1) * prompt + 1) * 4096);
                    let sent: usize = steps.iter().map(|it| shape.send(*it).bytes).sum();
                    prop_assert_eq!(sent, prompt * 4096);
                }
            }
        }
    }
}
