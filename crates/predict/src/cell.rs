//! The arithmetic of one cell.

use rail_bench::{
    protocol::Strategy,
    report::{Explained, Explanation},
};
use serde::Serialize;

use crate::{Message, Shape, Work, measured::Times};

/// What one process takes without cables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alone {
    /// The work that it does for a token: that of a rank, or of the whole model.
    pub work: Work,
    /// Until the first token of the prompt's length.
    pub ttft: f64,
    /// From a token to the next.
    pub token: f64,
    /// The standard deviation of the latter, 0 if it is not known.
    pub deviation: f64,
    /// The part of both that follows the layers, if it is known.
    pub choice: Option<f64>,
}

impl Alone {
    /// The part of both times that follows the layers. All ranks have it at the same time,
    /// with PP as with TP: each computes the output head.
    fn choice(&self) -> f64 {
        let of_head = self.token * self.work.whole / self.work.total();
        self.choice.unwrap_or(of_head).min(self.token)
    }
}

/// A cell to be predicted.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// The strategy.
    pub strategy: Strategy,
    /// The number of ranks.
    pub ranks: usize,
    /// The model's messages.
    pub shape: Shape,
    /// The model's work for a token.
    pub work: Work,
    /// The tokens of each step of prefill.
    pub steps: &'a [usize],
    /// The process that was measured for each rank. One is enough with TP.
    pub alone: &'a [Alone],
    /// What each message costs beside jaccl's time.
    pub fence: f64,
}

/// The parts of a time, in seconds. Their sum is the time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Parts {
    /// Computing.
    pub compute: f64,
    /// Fences.
    pub fence: f64,
    /// jaccl and the cables.
    pub cables: f64,
    /// Waiting for a slower rank, as far as it is known.
    pub wait: f64,
}

impl Parts {
    /// The whole time.
    pub fn total(&self) -> f64 {
        self.compute + self.fence + self.cables + self.wait
    }

    fn beside(&self, measured: f64) -> Explanation {
        Explanation {
            predicted_ms: 1e3 * self.total(),
            compute_ms: 1e3 * self.compute,
            fence_ms: 1e3 * self.fence,
            cables_ms: 1e3 * self.cables,
            part: self.total() / measured,
        }
    }
}

/// What a cell should take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// To the first token.
    pub ttft: Parts,
    /// From a token to the next.
    pub token: Parts,
}

impl Prediction {
    /// It beside what the cell took, as a report of the benchmark has it.
    pub fn beside(&self, measured: Times) -> Explained {
        Explained {
            ttft: self.ttft.beside(measured.ttft),
            token: self.token.beside(measured.token),
        }
    }
}

impl Cell<'_> {
    /// What it should take, given what a message takes.
    pub fn predict(&self, message: impl Fn(Message) -> f64) -> Prediction {
        Prediction {
            ttft: self.parts(&message, Self::ttft),
            token: Parts {
                wait: self.wait(),
                ..self.parts(&message, Self::token)
            },
        }
    }

    /// Splits a time by what it would be without fences and cables. In a pipeline a fence
    /// may pass while another rank computes; such a fence costs nothing.
    fn parts(
        &self,
        message: &dyn Fn(Message) -> f64,
        time: fn(&Self, &dyn Fn(Message) -> f64) -> f64,
    ) -> Parts {
        let compute = time(self, &|_| 0.0);
        let with_cables = time(self, message);
        Parts {
            compute,
            cables: with_cables - compute,
            fence: time(self, &|it| self.fence + message(it)) - with_cables,
            wait: 0.0,
        }
    }

    /// How long a rank of TP waits for the slowest one in a token. What ranks compute between
    /// two sums deviates from the mean independently of each other, and each sum waits for
    /// the greatest deviation.
    fn wait(&self) -> f64 {
        /// The mean of the greatest of so many normal deviates, from 1 on (Harter,
        /// "Expected values of normal order statistics", 1961).
        const GREATEST: [f64; 8] = [0.0, 0.564, 0.846, 1.029, 1.163, 1.267, 1.352, 1.424];
        if self.strategy != Strategy::Tp {
            return 0.0;
        }
        let sums = self.shape.sums().1 as f64;
        let greatest = GREATEST[self.ranks.clamp(1, GREATEST.len()) - 1];
        let ranks = self.alone.len().max(1) as f64;
        let squares: f64 = self.alone.iter().map(|it| it.deviation.powi(2)).sum();
        // The deviation of one of the parts whose sum is a token, so many times.
        sums.sqrt() * greatest * (squares / ranks).sqrt()
    }

    fn token(&self, message: &dyn Fn(Message) -> f64) -> f64 {
        let seconds =
            |work: Work| self.slowest(|alone| alone.token * work.total() / alone.work.total());
        let (shape, others) = (&self.shape, (self.ranks - 1) as f64);
        match self.strategy {
            Strategy::Single => seconds(self.work),
            Strategy::Tp => {
                let (sum, count) = shape.sums();
                seconds(self.own(0)) + count as f64 * message(sum)
            }
            Strategy::Pp => {
                let layers = self.alone.iter().enumerate().map(|(rank, alone)| {
                    let part = self.own(rank).cut / alone.work.cut;
                    (alone.token - alone.choice()) * part
                });
                let between = others * message(shape.send(1)) + message(shape.gather());
                layers.sum::<f64>() + self.slowest(Alone::choice) + between
            }
        }
    }

    /// What the slowest rank takes.
    fn slowest(&self, seconds: impl Fn(&Alone) -> f64) -> f64 {
        self.alone.iter().map(seconds).fold(0.0, f64::max)
    }

    /// The work of a rank.
    fn own(&self, rank: usize) -> Work {
        let place = (rank, self.ranks);
        self.work.of_rank(self.strategy, place, self.shape.layers)
    }

    fn ttft(&self, message: &dyn Fn(Message) -> f64) -> f64 {
        let prompt: usize = self.steps.iter().sum();
        let seconds = |work: Work| {
            let work = work.of_prompt(prompt).total();
            self.slowest(|alone| alone.ttft * work / alone.work.of_prompt(prompt).total())
        };
        match self.strategy {
            Strategy::Single => seconds(self.work),
            Strategy::Tp => {
                let sums = self.shape.prefill_sums(self.steps).into_iter();
                let between: f64 = sums.map(|(sum, count)| count as f64 * message(sum)).sum();
                seconds(self.own(0)) + between
            }
            Strategy::Pp => {
                // Of a step's tokens; the attention of later tokens to earlier ones is not
                // counted.
                let compute = |rank: usize, tokens| {
                    let alone = &self.alone[rank];
                    let layers = (alone.ttft - alone.choice()).max(0.0);
                    let [own, measured] =
                        [self.own(rank), alone.work].map(|it| it.of_prompt(prompt).cut);
                    layers * own / measured * part(tokens, prompt)
                };
                let choice = self.slowest(Alone::choice);
                self.pipeline(compute, message) + message(self.shape.gather()) + choice
            }
        }
    }

    /// When the last rank of a pipeline has computed the last step. A rank sends a step
    /// before it begins the next one.
    fn pipeline(
        &self,
        compute: impl Fn(usize, usize) -> f64,
        message: &dyn Fn(Message) -> f64,
    ) -> f64 {
        let mut free = vec![0.0_f64; self.ranks];
        for tokens in self.steps {
            let mut arrived = 0.0_f64;
            for (rank, free) in free.iter_mut().enumerate() {
                *free = free.max(arrived) + compute(rank, *tokens);
                if rank + 1 < self.ranks {
                    *free += message(self.shape.send(*tokens));
                }
                arrived = *free;
            }
        }
        free.last().copied().unwrap_or(0.0)
    }
}

pub(crate) fn part(some: usize, all: usize) -> f64 {
    some as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_compose, proptest};

    use super::*;

    const WORK: Work = Work {
        cut: 24.0,
        whole: 8.0,
        tail: 4.0,
    };

    /// With the whole model.
    const ALONE: Alone = Alone {
        work: WORK,
        ttft: 0.8,
        token: 0.032,
        deviation: 0.0,
        choice: None,
    };

    const SHAPE: Shape = Shape {
        layers: 4,
        message_bytes: 8192,
    };

    fn cell<'a>(strategy: Strategy, ranks: usize, steps: &'a [usize], fence: f64) -> Cell<'a> {
        Cell {
            strategy,
            ranks,
            shape: SHAPE,
            work: WORK,
            steps,
            alone: &[ALONE; 4][..ranks],
            fence,
        }
    }

    fn near(value: f64, expected: f64) {
        assert!(
            (value - expected).abs() < 1e-12,
            "{value} is not {expected}"
        );
    }

    #[test]
    fn a_token_of_tp_is_a_share_of_the_weights_and_two_sums_a_layer() {
        let token = cell(Strategy::Tp, 2, &[256], 0.001)
            .predict(|it| it.bytes as f64 / 8192e3)
            .token;
        // 12 + 8 of 32 parts are read; eight sums of 1 ms, eight fences of 1 ms.
        near(token.compute, 0.020);
        near(token.cables, 0.008);
        near(token.fence, 0.008);
    }

    /// Two ranks with eight parts each, drawn many times.
    #[test]
    fn a_rank_of_tp_waits_for_the_greatest_deviation_at_each_sum() {
        let alone = Alone {
            deviation: 0.001,
            ..ALONE
        };
        let cell = Cell {
            alone: &[alone; 2],
            ..cell(Strategy::Tp, 2, &[256], 0.0)
        };
        let predicted = cell.predict(|_| 0.0).token.wait;
        // Sums of twelve uniform numbers are nearly normal, with a variance of 1.
        let mut state = 1_u64;
        let mut normal = || {
            let mut uniform = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 11) as f64 / (1_u64 << 53) as f64
            };
            (0..12).map(|_| uniform()).sum::<f64>() - 6.0
        };
        let part = 0.001 / 8_f64.sqrt();
        let mut token = || -> f64 { (0..8).map(|_| part * normal().max(normal())).sum() };
        let mean = (0..10_000).map(|_| token()).sum::<f64>() / 10_000.0;
        assert!((mean / predicted - 1.0).abs() < 0.05, "{mean} {predicted}");
    }

    #[test]
    fn a_token_of_pp_passes_every_rank() {
        let token = cell(Strategy::Pp, 4, &[256], 0.0).predict(|_| 0.001).token;
        near(token.compute, 0.032);
        // Three boundaries and one gather.
        near(token.cables, 0.004);
    }

    #[test]
    fn a_share_that_was_measured_alone_is_not_divided_again() {
        let share = Alone {
            work: WORK.of_rank(Strategy::Tp, (0, 2), SHAPE.layers),
            ..ALONE
        };
        // The other node is slower.
        let slow = Alone {
            token: 0.040,
            ..share
        };
        let cell = Cell {
            alone: &[share, slow],
            ..cell(Strategy::Tp, 2, &[256], 0.0)
        };
        near(cell.predict(|_| 0.0).token.compute, 0.040);
        near(cell.predict(|_| 0.0).ttft.compute, 0.8);
    }

    #[test]
    fn ranks_of_a_pipeline_choose_a_token_at_the_same_time() {
        let rank = |rank, ttft, token| Alone {
            work: WORK.of_rank(Strategy::Pp, (rank, 2), SHAPE.layers),
            ttft,
            token,
            deviation: 0.003,
            choice: Some(0.002),
        };
        let cell = Cell {
            alone: &[rank(0, 0.5, 0.010), rank(1, 0.3, 0.020)],
            ..cell(Strategy::Pp, 2, &[256], 0.0)
        };
        let Prediction { ttft, token } = cell.predict(|_| 0.0);
        near(token.compute, 0.008 + 0.018 + 0.002);
        near(token.wait, 0.0);
        near(ttft.compute, 0.498 + 0.298 + 0.002);
    }

    #[test]
    fn ranks_of_a_pipeline_compute_different_steps_at_a_time() {
        let compute = |steps: &[usize]| {
            // Both ranks have as much to do.
            let work = Work { tail: 0.0, ..WORK };
            let alone = Alone {
                work,
                choice: Some(0.0),
                ..ALONE
            };
            let cell = Cell {
                work,
                alone: &[alone; 2],
                ..cell(Strategy::Pp, 2, steps, 0.0)
            };
            cell.predict(|_| 0.0).ttft.compute
        };
        let one = compute(&[256]);
        let many = compute(&[32; 8]);
        // Of eight steps each rank does half; the first rank is a step ahead.
        assert!((many / one - 9.0 / 16.0).abs() < 1e-9, "{one} {many}");
    }

    #[test]
    fn a_rank_that_sends_computes_its_last_layer_for_every_token() {
        // A quick last rank hides behind the first one, but for its last step.
        let ttft = cell(Strategy::Pp, 2, &[64; 4], 0.0).predict(|_| 0.0).ttft;
        // Of each token 12 parts by the first rank, 12 - 4 by the second one and 24 - 4 by the
        // process that was measured; of the last token the tail too. The head, which is a
        // quarter of a token's bytes, is computed once.
        let (first, second) = (12.0, 8.0 + 4.0 / 256.0);
        let alone = 20.0 + 4.0 / 256.0;
        let head = 0.032 / 4.0;
        let layers = 0.8 - head;
        near(ttft.compute, layers * (first + second / 4.0) / alone + head);
    }

    #[test]
    fn what_a_cell_took_is_explained_by_the_parts_of_its_prediction() {
        let parts = Parts {
            compute: 0.020,
            fence: 0.008,
            cables: 0.012,
            wait: 0.0,
        };
        let predicted = Prediction {
            ttft: parts,
            token: parts,
        };
        let Explained { ttft, token } = predicted.beside(Times {
            ttft: 0.080,
            token: 0.032,
        });
        // A half; and more than all of it, of a cell that was faster.
        near(ttft.part, 0.5);
        near(token.part, 1.25);
        let shown = [
            ttft.predicted_ms,
            ttft.compute_ms,
            ttft.fence_ms,
            ttft.cables_ms,
        ];
        for (ms, expected) in shown.into_iter().zip([40.0, 20.0, 8.0, 12.0]) {
            near(ms, expected);
        }
    }

    prop_compose! {
        fn any_cell()(
            tp: bool,
            ranks in 1_usize..=4,
            fence in 0.0..0.001_f64,
            steps in proptest::collection::vec(1_usize..512, 1..8),
        ) -> (Strategy, usize, f64, Vec<usize>) {
            (if tp { Strategy::Tp } else { Strategy::Pp }, ranks, fence, steps)
        }
    }

    proptest! {
        /// No cable and no fence makes a cell faster, none slower than all of it one after
        /// another, and its computation is between an even share and all of it.
        #[test]
        fn a_prediction_is_between_its_bounds(
            (strategy, ranks, fence, steps) in any_cell(),
            rate in 1e6..1e10_f64,
        ) {
            let cell = cell(strategy, ranks, &steps, fence);
            let message = |it: Message| it.bytes as f64 / rate;
            let Prediction { ttft, token } = cell.predict(message);
            let slower = cell.predict(|it| 2.0 * message(it));
            for (parts, slower, alone) in
                [(ttft, slower.ttft, ALONE.ttft), (token, slower.token, ALONE.token)]
            {
                prop_assert!(parts.fence >= -1e-12 && parts.cables > 0.0);
                prop_assert!(slower.total() > parts.total());
                prop_assert!(parts.compute <= alone * (1.0 + 1e-9) * ranks as f64);
                prop_assert!(parts.compute >= alone / ranks as f64 * (1.0 - 1e-9));
            }
        }

        /// More steps never make a pipeline's computation longer than one after another.
        #[test]
        fn a_pipeline_is_no_slower_than_its_ranks_in_turn(
            (_, ranks, _, steps) in any_cell(),
        ) {
            let cell = cell(Strategy::Pp, ranks, &steps, 0.0);
            let ttft = cell.predict(|_| 0.0).ttft.compute;
            prop_assert!(ttft <= ALONE.ttft * (1.0 + 1e-9));
        }
    }
}
