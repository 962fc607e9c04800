//! What a rank computes, counted in bytes of weights that it reads.

use models::{Folder, Part};
use rail_bench::{
    model::{Model, ModelSpec},
    protocol::Strategy,
};

use crate::cell::part;

/// The modules of a layer that make what its cache keeps of every token.
const KEPT: [&str; 3] = [".k_proj.", ".v_proj.", ".linear_attn.in_proj"];

/// Bytes of weights that are read for a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Of matrices that TP cuts, and PP deals out with their layers.
    pub cut: f64,
    /// Of all others, which each rank reads whole: norms, routers, the output head.
    pub whole: f64,
    /// The part of `cut` that is in the last layer and makes neither keys nor values. Of a
    /// prompt it is computed for the last token alone.
    pub tail: f64,
}

impl Work {
    /// The work of a model for a token. Of a folder of an unknown family everything is cut.
    pub fn of(model: &Model) -> Self {
        match model {
            Model::Preset(preset) => Self::of_spec(&preset.spec),
            Model::Folder(folder) => Self::of_folder(&folder.content),
        }
    }

    /// The work of a preset's shape.
    pub fn of_spec(spec: &ModelSpec) -> Self {
        let width = spec.dtype.bytes() as f64;
        // A group of quantised elements has a scale and a bias.
        let linear = spec.quant.map_or(width, |quant| {
            quant.bits as f64 / 8.0 + 2.0 * width / quant.group_size as f64
        });
        let keys_and_values = 2 * spec.kv_heads * spec.head_dim;
        let others = 2 * spec.heads * spec.head_dim + 3 * spec.ffn;
        let matrices = spec.hidden * (keys_and_values + others);
        let norms = 2 * (spec.hidden + spec.head_dim);
        let head = spec.hidden * (spec.vocab + 1);
        Self {
            cut: (spec.layers * matrices) as f64 * linear,
            whole: (spec.layers * norms + head) as f64 * width,
            tail: (spec.hidden * others) as f64 * linear,
        }
    }

    /// The work of a model in a folder, by the table of how its family is cut.
    pub fn of_folder(folder: &Folder) -> Self {
        let config = folder.config().ok();
        let is_tied = config.is_some_and(|it| it.tied);
        let experts = config.and_then(|it| it.experts.as_ref());
        let taken = experts.map_or(1.0, |it| it.per_token as f64 / it.count.max(1) as f64);
        let mut work = Self {
            cut: 0.0,
            whole: 0.0,
            tail: 0.0,
        };
        let last_layer = folder.layers().unwrap_or(0).saturating_sub(1);
        let last_layer = format!("model.layers.{last_layer}.");
        let is_kept = |name: &str| KEPT.iter().any(|module| name.contains(module));
        let splits = folder.splits().unwrap_or_default();
        let shares = splits
            .first()
            .and_then(|ranks| folder.shares(0, *ranks).ok());
        let is_whole = |name: &str| {
            let mut shares = shares.iter().flatten();
            shares.any(|share| share.name == name && share.part == Part::Whole)
        };
        for (name, tensor) in folder.tensors() {
            // Of a table of embeddings a token reads one row, unless it is the head too.
            if name.starts_with("model.embed_tokens.") && !is_tied {
                continue;
            }
            let is_expert = name.contains(".switch_mlp.") || name.contains(".experts.");
            let bytes = tensor.bytes as f64 * if is_expert { taken } else { 1.0 };
            match is_whole(name) {
                true => work.whole += bytes,
                false => work.cut += bytes,
            }
            if name.starts_with(&last_layer) && !is_whole(name) && !is_kept(name) {
                work.tail += bytes;
            }
        }
        work
    }

    /// All of it.
    pub fn total(&self) -> f64 {
        self.cut + self.whole
    }

    /// The work of one rank of so many, of a model with this many layers.
    #[must_use]
    pub fn of_rank(self, strategy: Strategy, (rank, ranks): (usize, usize), layers: usize) -> Self {
        match strategy {
            Strategy::Single => self,
            Strategy::Tp => self.cut_over(ranks),
            Strategy::Pp => {
                // The first ranks get one more if they do not divide evenly.
                let own = layers / ranks + usize::from(rank < layers % ranks);
                self.of_layers(part(own, layers), rank + 1 == ranks)
            }
        }
    }

    fn cut_over(self, ranks: usize) -> Self {
        let ranks = ranks as f64;
        Self {
            cut: self.cut / ranks,
            tail: self.tail / ranks,
            ..self
        }
    }

    /// The work of a rank that has this part of the layers. One that has not the last of them
    /// sends every token on, so it computes all that it has for every token.
    fn of_layers(self, part: f64, has_last: bool) -> Self {
        Self {
            cut: self.cut * part,
            tail: if has_last { self.tail } else { 0.0 },
            ..self
        }
    }

    /// The work for each token of a prompt: of the matrices that are whole, the head is by
    /// far the largest, and it is for the last token alone, as is the tail.
    #[must_use]
    pub fn of_prompt(self, tokens: usize) -> Self {
        let tokens = tokens.max(1) as f64;
        let tail = self.tail / tokens;
        Self {
            cut: self.cut - self.tail + tail,
            whole: self.whole / tokens,
            tail,
        }
    }
}

#[cfg(test)]
mod tests {
    use models::{
        Family,
        tiny::{self, Weights},
    };
    use proptest::prelude::{prop_assert, proptest};
    use rail_bench::model::{Dtype, Preset, Quant};

    use super::*;

    /// The reports of the benchmark have 42017792 bytes of weights for it, of which the
    /// table of embeddings is 1024 rows of 8192 bytes.
    #[test]
    fn the_work_of_a_preset_is_its_weights_without_the_table() {
        let work = Work::of(&Preset::ALL[0].into());
        assert_eq!(work.total(), (42_017_792 - 1024 * 8192) as f64);
        // And 29434880 for a rank of two in TP.
        assert_eq!(work.cut_over(2).total(), (29_434_880 - 1024 * 8192) as f64);
    }

    #[test]
    fn the_work_of_a_folder_is_what_its_family_cuts() {
        let root = tempfile::tempdir().expect("a folder");
        let open = |family, name: &str| {
            let path = root.path().join(name);
            tiny::write(family, Weights::Quantised, 1, &path).expect("a model");
            Folder::open(path).expect("a model")
        };
        let llama = open(Family::Llama, "llama");
        let work = Work::of_folder(&llama);
        let table: usize = (llama.tensors().iter())
            .filter(|(name, _)| name.starts_with("model.embed_tokens."))
            .map(|(_, tensor)| tensor.bytes)
            .sum();
        let tied = llama.config().expect("known").tied;
        let read = llama.bytes() - if tied { 0 } else { table };
        assert_eq!(work.total(), read as f64);
        assert!(work.cut > 0.0 && work.whole > 0.0);
        let last = format!("model.layers.{}.", llama.layers().expect("known") - 1);
        let tail: usize = (llama.tensors().iter())
            .filter_map(|(name, tensor)| Some((name.strip_prefix(&last)?, tensor)))
            .filter(|(name, _)| {
                ["self_attn.q", "self_attn.o", "mlp."]
                    .iter()
                    .any(|it| name.starts_with(it))
            })
            .map(|(_, tensor)| tensor.bytes)
            .sum();
        assert_eq!(work.tail, tail as f64);
        // A token takes a few of the experts.
        let experts = open(Family::Qwen3Moe, "experts");
        assert!(Work::of_folder(&experts).total() < experts.bytes() as f64 / 1.2);
    }

    proptest! {
        /// The ranks together do all of what is cut, and each all of what is not. In a pipeline
        /// the last rank has the tail.
        #[test]
        fn ranks_share_what_is_cut(
            ranks in 1_usize..5,
            layers in 1_usize..9,
            heads in 1_usize..5,
            ffn in 1_usize..9,
            quantised: bool,
        ) {
            let spec = ModelSpec {
                layers: layers + ranks,
                heads: heads * ranks,
                kv_heads: heads * ranks,
                ffn: 64 * ffn * ranks,
                dtype: if quantised { Dtype::Bf16 } else { Dtype::F32 },
                quant: quantised.then_some(Quant { group_size: 64, bits: 4 }),
                ..Preset::ALL[0].spec
            };
            let whole = Work::of_spec(&spec);
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b;
            let one_layer = whole.cut / spec.layers as f64;
            prop_assert!(0.0 < whole.tail && whole.tail < one_layer);
            for strategy in [Strategy::Tp, Strategy::Pp] {
                let of = |rank| whole.of_rank(strategy, (rank, ranks), spec.layers);
                let sum = |part: fn(&Work) -> f64| (0..ranks).map(|it| part(&of(it))).sum::<f64>();
                prop_assert!(close(sum(|it| it.cut), whole.cut));
                prop_assert!(close(sum(|it| it.tail), whole.tail));
                prop_assert!((0..ranks).all(|it| close(of(it).whole, whole.whole)));
                let last = of(ranks - 1).tail;
                prop_assert!(strategy == Strategy::Tp || close(last, whole.tail));
            }
        }
    }
}
