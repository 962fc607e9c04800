//! Figures that others published, to hold the model of a cell against.
//!
//! Nobody here measured them. The sources state neither every setting nor the spread, so a
//! prediction that misses one may be wrong, or right about another setting.

use rail_bench::{engine::Engine, protocol::Strategy};

use crate::{Alone, Call, Cell, Message, Shape, Work, steps};

/// The fence of MLX on Metal by default, in seconds (ml-explore/mlx 4438).
pub const FENCE: f64 = 180e-6;

/// The same with `MLX_METAL_FAST_SYNCH=1`, which exo sets.
pub const FAST_FENCE: f64 = 4e-6;

/// Decoding on several nodes, beside one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decode {
    /// The model.
    pub model: &'static str,
    /// Decoder layers.
    pub layers: usize,
    /// Width of the activations, in bf16.
    pub hidden: usize,
    /// Parameters that a token reads, in billions.
    pub active: f64,
    /// Of these, those that each rank reads whole: the output head.
    pub head: f64,
    /// Tokens a second over ranks: the first of them is what the others are predicted from.
    pub rates: &'static [(usize, f64)],
}

/// exo 1.0 with RDMA, in TP on M3 Ultras, every two joined by a cable.
pub const EXO_M3_ULTRA: [Decode; 3] = [
    Decode {
        model: "Qwen3-235B-A22B, 8 bits",
        layers: 94,
        hidden: 4096,
        active: 22.0,
        head: 0.62,
        rates: &[(1, 19.5), (2, 26.2), (4, 31.9)],
    },
    Decode {
        model: "DeepSeek V3.1",
        layers: 61,
        hidden: 7168,
        active: 37.0,
        head: 0.93,
        rates: &[(1, 21.1), (2, 27.8), (4, 32.5)],
    },
    Decode {
        model: "Kimi K2, 4 bits",
        layers: 61,
        hidden: 7168,
        active: 32.0,
        head: 1.17,
        rates: &[(2, 21.6), (4, 28.3)],
    },
];

/// MLX's `all_sum` between two M4 Pro over one cable: bytes, and seconds.
pub const ALL_SUM_M4_PRO: [(usize, f64); 4] = [
    (4 << 10, 25.5e-6),
    (256 << 10, (256 << 10) as f64 / 1.82e9),
    (4 << 20, (4 << 20) as f64 / 6.71e9),
    (64 << 20, (64 << 20) as f64 / 7.94e9),
];

/// The claim of exo's pull request 2160: Qwen3-Coder-Next in 4 bits, TP, two nodes.
pub const CLAIM: Claim = Claim {
    layers: 48,
    hidden: 2048,
    one_cable: 19.4,
    three_cables: 42.0,
};

/// Tokens a second over one cable with a mesh, and over three with a ring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claim {
    /// Decoder layers.
    pub layers: usize,
    /// Width of the activations, in bf16.
    pub hidden: usize,
    /// Over one cable, backend mesh.
    pub one_cable: f64,
    /// Over three cables, backend ring.
    pub three_cables: f64,
}

impl Claim {
    /// The model's messages.
    pub const fn shape(&self) -> Shape {
        Shape {
            layers: self.layers,
            message_bytes: 2 * self.hidden,
        }
    }

    /// What is left of a token when its messages take this long, in seconds: computation,
    /// and fences of this length.
    pub fn left(&self, rate: f64, message: f64, fence: f64) -> f64 {
        let (_, count) = self.shape().sums();
        1.0 / rate - count as f64 * (message + fence)
    }

    /// How much longer each message takes in the slower run, if nothing else differs.
    pub fn a_message(&self) -> f64 {
        let (_, count) = self.shape().sums();
        (1.0 / self.one_cable - 1.0 / self.three_cables) / count as f64
    }
}

impl Decode {
    /// The model's messages.
    pub const fn shape(&self) -> Shape {
        Shape {
            layers: self.layers,
            message_bytes: 2 * self.hidden,
        }
    }

    /// What each rank sums, twice a layer.
    pub fn sum(&self) -> Message {
        self.shape().sums().0
    }

    /// The predictions: ranks, published rate, predicted rate.
    pub fn predictions(
        &self,
        fence: f64,
        message: impl Fn(usize, Message) -> f64,
    ) -> Vec<(usize, f64, f64)> {
        let work = Work {
            cut: self.active - self.head,
            whole: self.head,
            // No prompt is predicted.
            tail: 0.0,
        };
        let steps = steps(Engine::MlxLm, Strategy::Tp, 1, None);
        let cell = |ranks, alone| Cell {
            strategy: if ranks == 1 {
                Strategy::Single
            } else {
                Strategy::Tp
            },
            ranks,
            shape: self.shape(),
            work,
            steps: &steps,
            alone,
            fence,
        };
        let (first, rate) = self.rates[0];
        // The first is one process, or is taken apart into what one rank computes.
        let between = |it: Message| message(first, it);
        let unknown = [Alone {
            work: work.of_rank(Strategy::Tp, (0, first), self.layers),
            ttft: 0.0,
            token: 0.0,
            deviation: 0.0,
            choice: None,
        }];
        let communication = cell(first, &unknown).predict(between).token.total();
        let alone = unknown.map(|it| Alone {
            token: (1.0 / rate - communication).max(0.0),
            ..it
        });
        let others = self.rates[1..].iter();
        others
            .map(|(ranks, rate)| {
                let token = cell(*ranks, &alone).predict(|it| message(*ranks, it)).token;
                (*ranks, *rate, 1.0 / token.total())
            })
            .collect()
    }

    /// The last rate by the two before it, if a token over n ranks takes a + b / n: the part
    /// that is not divided is then known without knowing what it is. `None` if there are no
    /// three rates.
    pub fn by_two(&self) -> Option<f64> {
        let [(first, slow), (second, fast), (last, _)] = *self.rates else {
            return None;
        };
        let [first, second, last] = [first, second, last].map(|ranks| 1.0 / ranks as f64);
        let b = (1.0 / slow - 1.0 / fast) / (first - second);
        Some(1.0 / (1.0 / fast - b * (second - last)))
    }

    /// The length of a fence, in seconds, at which the prediction would be right, if it is
    /// the only thing that is not known. `None` if it would be negative.
    pub fn fence_of(&self, at: usize, message: impl Fn(usize, Message) -> f64) -> Option<f64> {
        let rate = |fence| self.predictions(fence, &message)[at];
        let (_, published, fastest) = rate(0.0);
        let (_, _, slower) = rate(1e-6);
        let a_microsecond = 1.0 / slower - 1.0 / fastest;
        let left = 1.0 / published - 1.0 / fastest;
        (left > 0.0).then(|| 1e-6 * left / a_microsecond)
    }
}

/// Every message whose time [`EXO_M3_ULTRA`] and [`CLAIM`] need, with the number of ranks.
pub fn sums() -> Vec<(usize, Message)> {
    let ranks = [2, 4];
    let of = |it: &Decode| ranks.map(|ranks| (ranks, it.sum()));
    let mut sums: Vec<_> = EXO_M3_ULTRA.iter().flat_map(of).collect();
    sums.extend(ALL_SUM_M4_PRO.map(|(bytes, _)| {
        let call = Call::AllSum;
        (2, Message { call, bytes })
    }));
    sums.sort();
    sums.dedup();
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_messages_ranks_divide_all_but_the_head() {
        let qwen = EXO_M3_ULTRA[0];
        let [(2, 26.2, two), (4, 31.9, four)] = qwen.predictions(0.0, |_, _| 0.0)[..] else {
            panic!("two and four ranks");
        };
        assert!((two / 19.5 - 22.0 / (10.69 + 0.62)).abs() < 1e-9, "{two}");
        assert!(four > two && four < 4.0 * 19.5);
    }

    #[test]
    fn a_fence_that_explains_a_rate_gives_that_rate() {
        let message = |_: usize, _: Message| 20e-6;
        for model in EXO_M3_ULTRA {
            let fence = model
                .fence_of(0, message)
                .expect("it is slower than predicted");
            let (_, published, predicted) = model.predictions(fence, message)[0];
            assert!(
                (predicted / published - 1.0).abs() < 1e-6,
                "{}",
                model.model
            );
        }
    }

    #[test]
    fn two_rates_give_the_third_of_a_time_with_a_part_that_is_not_divided() {
        // 2 + 8 / n.
        let rates: &[(usize, f64)] = &[(1, 0.1), (2, 1.0 / 6.0), (4, 0.0)];
        let by = |rates| {
            Decode {
                rates,
                ..EXO_M3_ULTRA[0]
            }
            .by_two()
        };
        assert!((by(rates).expect("three rates") - 0.25).abs() < 1e-12);
        assert_eq!(by(&rates[..2]), None);
    }

    #[test]
    fn the_claim_is_of_96_messages_a_token() {
        let (sum, count) = CLAIM.shape().sums();
        assert_eq!((sum.bytes, count), (4096, 96));
        // 51.5 ms and 23.8 ms a token.
        assert!(
            (CLAIM.a_message() - 289e-6).abs() < 1e-6,
            "{}",
            CLAIM.a_message()
        );
        assert!((CLAIM.left(42.0, 0.0, 0.0) - 1.0 / 42.0).abs() < 1e-12);
    }
}
