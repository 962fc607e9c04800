//! The families of models, and the one table of how tensor parallelism cuts them.
//!
//! The table is data, `cuts.json` in this crate's folder. This crate reads it, and
//! [`TABLE`] is the same text for an engine in another language, so both cut alike. It says
//! what mlx-lm's `shard()` does with Llama and Qwen3, and what exo's `auto_parallel.py` does
//! with Qwen3-MoE and Qwen3-Next, which mlx-lm 0.31.3 does not cut:
//!
//! | cut | a rank has | of a bias |
//! |---|---|---|
//! | `rows` | consecutive outputs of a matrix, of each expert of a stack of them; consecutive elements of a vector | the same elements |
//! | `columns` | consecutive inputs; of a quantised matrix whole groups. The ranks add up what their parts give | all: it is added after the sum |
//! | `channels` | consecutive channels, the first axis, of each of the `segments` that lie one after another along it | |
//! | `whole` | everything | everything |
//! | `unused` | nothing: mlx-lm does not load it | |
//!
//! - `module` names a module with `weight`, `scales`, `biases` and `bias`, or a tensor.
//!   `*` stands for a number, `**` at the end for anything.
//! - `of` is the key of the config whose number must divide by the ranks, so that nobody
//!   gets half of a head.
//! - `segments` are lengths, each the product of keys of the config.
//! - `sums` are the modules after which the ranks add up, before a bias.
//! - `divided` are the attributes of mlx-lm's modules that count what was cut. Each is to be
//!   divided by the number of ranks.
//! - `cut_by_mlx_lm` are the types of models that mlx-lm 0.31.3 cuts itself.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The table as JSON.
pub const TABLE: &str = include_str!("../cuts.json");

static PARSED: LazyLock<Table> =
    LazyLock::new(|| serde_json::from_str(TABLE).expect("cuts.json is what its types say"));

/// A family that the engine in Rust knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Llama and what is built like it.
    Llama,
    /// Qwen3: norms on queries and keys.
    Qwen3,
    /// Qwen3 with experts.
    Qwen3Moe,
    /// Qwen3-Next: three of four layers are gated delta nets; experts, one of them shared.
    Qwen3Next,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Qwen3, Self::Qwen3Moe, Self::Qwen3Next];

    /// The family of a config's `model_type`.
    pub fn of(model_type: &str) -> Option<Self> {
        let table = PARSED.families.iter();
        let mut found = table.filter(|it| it.model_types.iter().any(|it| it == model_type));
        found.next().map(|it| it.family)
    }

    /// How it is cut.
    pub fn cuts(self) -> &'static Cuts {
        let found = PARSED.families.iter().find(|it| it.family == self);
        found.expect("every family is in cuts.json")
    }
}

/// Checks that an engine can cut a model of this type: the one in Rust the families of the
/// table, the one over mlx-lm also what mlx-lm cuts itself.
///
/// # Errors
/// [`Error::UnknownFamily`] with the types that would do.
pub fn check_known(model_type: &str, by_mlx_lm: bool) -> Result<()> {
    let known = known(by_mlx_lm);
    match known.iter().any(|it| it == model_type) {
        true => Ok(()),
        false => {
            let model_type = model_type.to_owned();
            Err(Error::UnknownFamily { model_type, known })
        }
    }
}

/// The types of models that an engine can cut, sorted.
pub(crate) fn known(by_mlx_lm: bool) -> Vec<String> {
    let table = PARSED.families.iter().flat_map(|it| &it.model_types);
    let others = PARSED.cut_by_mlx_lm.iter().filter(|_| by_mlx_lm);
    let mut known: Vec<String> = table.chain(others).cloned().collect();
    known.sort();
    known.dedup();
    known
}

/// The whole table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "schema")]
    _schema: Schema,
    families: Vec<Cuts>,
    cut_by_mlx_lm: Vec<String>,
}

#[derive(Debug, Deserialize)]
enum Schema {
    #[serde(rename = "mlx-rails/cuts/1")]
    One,
}

/// How one family is cut.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cuts {
    /// The family.
    pub family: Family,
    /// What `model_type` of its configs is.
    pub model_types: Vec<String>,
    /// Every module and parameter that its models may have.
    pub modules: Vec<Module>,
    /// The modules after which the ranks add up.
    pub sums: Vec<String>,
    /// The attributes of mlx-lm's modules that are divided by the ranks.
    pub divided: Vec<String>,
}

impl Cuts {
    /// What the table says of a tensor, by its name.
    pub fn find(&self, tensor: &str) -> Option<&Module> {
        let module = module_of(tensor);
        let mut modules = self.modules.iter();
        modules.find(|it| matches(&it.module, module) || matches(&it.module, tensor))
    }
}

/// What the table says of a module.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its name, with `*` for numbers.
    pub module: String,
    /// How it is cut.
    pub cut: Cut,
    /// What must divide by the ranks.
    #[serde(default)]
    pub of: Option<Count>,
    /// Lengths of the segments of [`Cut::Channels`], each a product.
    #[serde(default)]
    pub segments: Vec<Vec<Count>>,
}

/// How a module is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// Every rank has all of it.
    Whole,
    /// By outputs.
    Rows,
    /// By inputs.
    Columns,
    /// By the first axis, in segments.
    Channels,
    /// No rank loads it.
    Unused,
}

/// A number of the config, by its key there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// Query heads.
    NumAttentionHeads,
    /// Key and value heads.
    NumKeyValueHeads,
    /// Units of the feed-forward block.
    IntermediateSize,
    /// Units of an expert.
    MoeIntermediateSize,
    /// Units of the expert that every token takes.
    SharedExpertIntermediateSize,
    /// Query and key heads of a gated delta net.
    LinearNumKeyHeads,
    /// Value heads of a gated delta net.
    LinearNumValueHeads,
    /// Width of a query or key head of a gated delta net.
    LinearKeyHeadDim,
    /// Width of a value head of a gated delta net.
    LinearValueHeadDim,
}

impl Count {
    /// In words, as part of a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NumAttentionHeads => "query heads",
            Self::NumKeyValueHeads => "key and value heads",
            Self::IntermediateSize => "feed-forward units",
            Self::MoeIntermediateSize => "units of an expert",
            Self::SharedExpertIntermediateSize => "units of the shared expert",
            Self::LinearNumKeyHeads => "key heads of the delta net",
            Self::LinearNumValueHeads => "value heads of the delta net",
            Self::LinearKeyHeadDim => "elements of a key head of the delta net",
            Self::LinearValueHeadDim => "elements of a value head of the delta net",
        }
    }
}

/// The module of a tensor: its name without `weight`, `scales`, `biases` or `bias`.
pub(crate) fn module_of(tensor: &str) -> &str {
    match tensor.rsplit_once('.') {
        Some((module, "weight" | "scales" | "biases" | "bias")) => module,
        _ => tensor,
    }
}

/// Whether a name is of a pattern.
fn matches(pattern: &str, name: &str) -> bool {
    if let Some(front) = pattern.strip_suffix("**") {
        return name.starts_with(front);
    }
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let mut parts = name.split('.');
    pattern.split('.').all(|wanted| match parts.next() {
        Some(part) => part == wanted || (wanted == "*" && is_number(part)),
        None => false,
    }) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_one_entry_and_types_of_its_own() {
        let families: Vec<_> = PARSED.families.iter().map(|it| it.family).collect();
        assert_eq!(families, Family::ALL);
        for cuts in &PARSED.families {
            for model_type in &cuts.model_types {
                assert_eq!(Family::of(model_type), Some(cuts.family), "{model_type}");
            }
            let names: std::collections::HashSet<_> =
                cuts.modules.iter().map(|it| &it.module).collect();
            assert_eq!(names.len(), cuts.modules.len(), "{:?}", cuts.family);
        }
        assert_eq!(Family::of("no_such_model"), None);
    }

    #[test]
    fn what_is_cut_says_of_what() {
        for module in PARSED.families.iter().flat_map(|it| &it.modules) {
            let is_cut = !matches!(module.cut, Cut::Whole | Cut::Unused);
            assert_eq!(module.of.is_some(), is_cut, "{module:?}");
            let has_segments = module.cut == Cut::Channels;
            assert_eq!(!module.segments.is_empty(), has_segments, "{module:?}");
        }
    }

    #[test]
    fn a_pattern_matches_numbers_for_stars_and_nothing_more() {
        let layer = "model.layers.*.mlp.experts.*.up_proj";
        assert!(matches(layer, "model.layers.0.mlp.experts.127.up_proj"));
        assert!(!matches(layer, "model.layers.0.mlp.experts.x.up_proj"));
        assert!(!matches(
            layer,
            "model.layers.0.mlp.experts.1.up_proj.weight"
        ));
        assert!(!matches(layer, "model.layers.0.mlp.experts.1"));
        assert!(matches("mtp.**", "mtp.layers.0.mlp.gate.weight"));
    }

    #[test]
    fn a_family_that_nobody_cuts_is_refused_with_those_that_are_known() {
        check_known("qwen3_next", false).unwrap();
        check_known("deepseek_v3", true).unwrap();
        let error = check_known("deepseek_v3", false).unwrap_err();
        assert!(error.to_string().contains("deepseek_v3"), "{error}");
        assert!(error.help().unwrap().contains("llama"), "{error:?}");
        assert!(!error.help().unwrap().contains("deepseek"), "{error:?}");
        check_known("bert", true).unwrap_err();
    }
}
