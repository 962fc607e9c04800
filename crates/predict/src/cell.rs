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
    /// The work that it does for a token. It may be a share of the model.
    pub work: Work,
    /// Until the first token of the prompt's length.
    pub ttft: f64,
    /// From a token to the next.
    pub token: f64,
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
    /// The slowest node's process.
    pub alone: Alone,
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
}

impl Parts {
    /// The whole time.
    pub fn total(&self) -> f64 {
        self.compute + self.fence + self.cables
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
            token: self.parts(&message, Self::token),
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
        }
    }

    fn token(&self, message: &dyn Fn(Message) -> f64) -> f64 {
        let seconds = |work: Work| self.alone.token * work.total() / self.alone.work.total();
        let (shape, others) = (&self.shape, (self.ranks - 1) as f64);
        match self.strategy {
            Strategy::Single => seconds(self.work),
            Strategy::Tp => {
                let (sum, count) = shape.sums();
                seconds(self.work.cut_over(self.ranks)) + count as f64 * message(sum)
            }
            Strategy::Pp => {
                let between = others * message(shape.send(1)) + message(shape.gather());
                seconds(self.work) + between
            }
        }
    }

    fn ttft(&self, message: &dyn Fn(Message) -> f64) -> f64 {
        let prompt: usize = self.steps.iter().sum();
        let alone = self.alone.work.of_prompt(prompt).total();
        // Of a step's tokens; the attention of later tokens to earlier ones is not counted.
        let seconds = |work: Work, tokens| {
            self.alone.ttft * work.of_prompt(prompt).total() / alone * part(tokens, prompt)
        };
        match self.strategy {
            Strategy::Single => seconds(self.work, prompt),
            Strategy::Tp => {
                let sums = self.shape.prefill_sums(self.steps).into_iter();
                let between: f64 = sums.map(|(sum, count)| count as f64 * message(sum)).sum();
                seconds(self.work.cut_over(self.ranks), prompt) + between
            }
            Strategy::Pp => {
                let own = |rank| {
                    let has_last = rank + 1 == self.ranks;
                    self.work.of_layers(self.layers_of(rank), has_last)
                };
                let compute = |rank, tokens| seconds(own(rank), tokens);
                self.pipeline(compute, message) + message(self.shape.gather())
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

    /// The part of the layers that a rank of a pipeline has: the first ranks get one more
    /// if they do not divide evenly.
    fn layers_of(&self, rank: usize) -> f64 {
        let layers = self.shape.layers;
        let own = layers / self.ranks + usize::from(rank < layers % self.ranks);
        part(own, layers)
    }
}

fn part(some: usize, all: usize) -> f64 {
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
            alone: Alone {
                work: WORK,
                ttft: 0.8,
                token: 0.032,
            },
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

    #[test]
    fn a_token_of_pp_passes_every_rank() {
        let token = cell(Strategy::Pp, 4, &[256], 0.0).predict(|_| 0.001).token;
        near(token.compute, 0.032);
        // Three boundaries and one gather.
        near(token.cables, 0.004);
    }

    #[test]
    fn a_share_that_was_measured_alone_is_not_divided_again() {
        let mut share = cell(Strategy::Tp, 2, &[256], 0.0);
        share.alone.work = WORK.cut_over(2);
        near(share.predict(|_| 0.0).token.compute, 0.032);
        near(share.predict(|_| 0.0).ttft.compute, 0.8);
    }

    #[test]
    fn ranks_of_a_pipeline_compute_different_steps_at_a_time() {
        let compute = |steps: &[usize]| {
            let mut cell = cell(Strategy::Pp, 2, steps, 0.0);
            // Both ranks have as much to do.
            (cell.work.tail, cell.alone.work.tail) = (0.0, 0.0);
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
        // process that was measured; of the last token the tail and the head too.
        let (first, second) = (12.0 + 8.0 / 256.0, 8.0 + 12.0 / 256.0);
        let alone = 20.0 + 12.0 / 256.0;
        near(ttft.compute, 0.8 * (first + second / 4.0) / alone);
    }

    #[test]
    fn what_a_cell_took_is_explained_by_the_parts_of_its_prediction() {
        let parts = Parts {
            compute: 0.020,
            fence: 0.008,
            cables: 0.012,
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
                [(ttft, slower.ttft, cell.alone.ttft), (token, slower.token, cell.alone.token)]
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
            let prompt: usize = steps.iter().sum();
            let whole = cell.work.of_prompt(prompt);
            // Each rank reads the head.
            let most = (whole.cut + ranks as f64 * whole.whole) / whole.total();
            let ttft = cell.predict(|_| 0.0).ttft.compute;
            prop_assert!(ttft <= cell.alone.ttft * most * (1.0 + 1e-9));
        }
    }
}
