//! What a cell computes, beside the model.

use std::{collections::BTreeSet, fmt};

use rail_matrix::Frames;
use serde::{Deserialize, Serialize};

/// The work of a run. Figures are comparable between cells of the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Workload {
    /// jaccl's largest message.
    pub frames: Frames,
    /// Length of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated in a run, the first included.
    pub generation_tokens: usize,
    /// Tokens that are in the cache before the prompt, whose processing is not measured.
    // This and the next ones are absent in reports that were written before they could be
    // set.
    #[serde(default)]
    pub depth: usize,
    /// The most tokens that are processed in one step of prefill; `None` for the engine's
    /// own.
    #[serde(default)]
    pub prefill_step: Option<usize>,
    /// Whether a GPU waits for a collective by polling memory (`MLX_METAL_FAST_SYNCH`).
    #[serde(default)]
    pub fast_synch: bool,
}

impl Workload {
    /// Small frames, a prompt of 256 tokens, 32 generated, nothing in the cache, and MLX's
    /// own way to wait.
    pub const DEFAULT: Self = Self {
        frames: Frames::Small,
        prompt_tokens: 256,
        generation_tokens: 32,
        depth: 0,
        prefill_step: None,
        fast_synch: false,
    };

    /// Its name as llama-bench writes it, such as `pp512+tg128 @ d4096`: prompt, generated
    /// tokens and depth.
    pub fn test(&self) -> String {
        let (prompt, generated) = (self.prompt_tokens, self.generation_tokens);
        format!("pp{prompt}+tg{generated}{}", at_depth(self.depth))
    }

    /// The name of its prefill as llama-bench writes it, such as `pp512 @ d4096`.
    pub fn prefill_test(&self) -> String {
        format!("pp{}{}", self.prompt_tokens, at_depth(self.depth))
    }

    /// The name of its decode as llama-bench writes it, such as `tg128 @ d4608`: the prompt
    /// is in the cache when decode begins.
    pub fn decode_test(&self) -> String {
        let depth = self.depth + self.prompt_tokens;
        format!("tg{}{}", self.generation_tokens, at_depth(depth))
    }
}

fn at_depth(depth: usize) -> String {
    match depth {
        0 => String::new(),
        depth => format!(" @ d{depth}"),
    }
}

impl Default for Workload {
    /// [`Workload::DEFAULT`].
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Workload {
    /// [`Workload::test`], and what else is not as in [`Workload::DEFAULT`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.test())?;
        if let Some(step) = self.prefill_step {
            write!(f, ", prefill step {step}")?;
        }
        if self.frames != Self::DEFAULT.frames {
            write!(f, ", {} frames", self.frames)?;
        }
        if self.fast_synch {
            f.write_str(", fast synch")?;
        }
        Ok(())
    }
}

/// The values of each part of a workload.
#[derive(Debug, Clone)]
pub struct Lists {
    /// Of [`Workload::frames`].
    pub frames: Vec<Frames>,
    /// Of [`Workload::prompt_tokens`].
    pub prompt_tokens: Vec<usize>,
    /// Of [`Workload::generation_tokens`].
    pub generation_tokens: Vec<usize>,
    /// Of [`Workload::depth`].
    pub depth: Vec<usize>,
    /// Of [`Workload::prefill_step`].
    pub prefill_step: Vec<Option<usize>>,
    /// Of [`Workload::fast_synch`].
    pub fast_synch: Vec<bool>,
}

impl Lists {
    /// Each value of each list with each value of the others, once, sorted.
    pub fn product(&self) -> Vec<Workload> {
        let mut all = BTreeSet::from([Workload::DEFAULT]);
        all = each(all, &self.frames, |it, frames| it.frames = frames);
        all = each(all, &self.prompt_tokens, |it, n| it.prompt_tokens = n);
        all = each(all, &self.generation_tokens, |it, n| {
            it.generation_tokens = n;
        });
        all = each(all, &self.depth, |it, depth| it.depth = depth);
        all = each(all, &self.prefill_step, |it, step| it.prefill_step = step);
        all = each(all, &self.fast_synch, |it, fast| it.fast_synch = fast);
        all.into_iter().collect()
    }
}

/// Every workload with every value.
fn each<T: Copy>(
    workloads: BTreeSet<Workload>,
    values: &[T],
    set: impl Fn(&mut Workload, T),
) -> BTreeSet<Workload> {
    let with = |mut workload: Workload, value: T| {
        set(&mut workload, value);
        workload
    };
    workloads
        .into_iter()
        .flat_map(|workload| values.iter().map(move |&value| (workload, value)))
        .map(|(workload, value)| with(workload, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_named_as_llama_bench_names_it() {
        let shallow = Workload {
            prompt_tokens: 512,
            generation_tokens: 128,
            ..Workload::DEFAULT
        };
        assert_eq!(shallow.to_string(), "pp512+tg128");
        assert_eq!(shallow.prefill_test(), "pp512");
        assert_eq!(shallow.decode_test(), "tg128 @ d512");
        let deep = Workload {
            depth: 4096,
            frames: Frames::Big,
            prefill_step: Some(2048),
            fast_synch: true,
            ..shallow
        };
        assert_eq!(deep.test(), "pp512+tg128 @ d4096");
        assert_eq!(deep.prefill_test(), "pp512 @ d4096");
        assert_eq!(deep.decode_test(), "tg128 @ d4608");
        assert_eq!(
            deep.to_string(),
            "pp512+tg128 @ d4096, prefill step 2048, big frames, fast synch"
        );
    }

    #[test]
    fn lists_are_multiplied_and_nothing_is_twice() {
        let lists = Lists {
            frames: vec![Frames::Small],
            prompt_tokens: vec![2048, 512, 512],
            generation_tokens: vec![128],
            depth: vec![0, 4096],
            prefill_step: vec![None],
            fast_synch: vec![false, true],
        };
        let tests: Vec<_> = lists.product().iter().map(Workload::to_string).collect();
        assert_eq!(
            tests,
            [
                "pp512+tg128",
                "pp512+tg128, fast synch",
                "pp512+tg128 @ d4096",
                "pp512+tg128 @ d4096, fast synch",
                "pp2048+tg128",
                "pp2048+tg128, fast synch",
                "pp2048+tg128 @ d4096",
                "pp2048+tg128 @ d4096, fast synch",
            ]
        );
    }
}
