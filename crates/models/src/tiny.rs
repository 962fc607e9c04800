//! Small models with random weights, one of each family, for the tests of engines.
//!
//! A folder has all that its family can have: of Qwen3-Next the gated delta net, attention,
//! experts and the shared one. It divides over two ranks. The weights follow from the seed,
//! and need no MLX: quantised matrices are random words with fitting scales and biases.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    Family,
    error::{IoContext, Result},
    write::{self, Tensor},
};

const HIDDEN: usize = 64;
const LAYERS: usize = 4;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 32;
const FFN: usize = 128;
const VOCAB: usize = 256;
const EXPERTS: usize = 4;
const EXPERT_FFN: usize = 64;
const KEY_HEADS: usize = 2;
const VALUE_HEADS: usize = 4;
const NET_DIM: usize = 32;
const KERNEL: usize = 4;
/// Of so many layers, the last has attention.
const INTERVAL: usize = 4;
/// Elements that share a scale.
const GROUP: usize = 32;

/// Whether and how the matrices are quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weights {
    /// 32-bit floats.
    Plain,
    /// 4 bits in groups of 32; the embeddings and what chooses the experts have 8 bits, by
    /// entries of their own.
    Quantised,
}

/// Writes a model of a family: `config.json` and `model.safetensors`, and no tokenizer.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub fn write(family: Family, weights: Weights, seed: u64, folder: &Path) -> Result<()> {
    let mut model = Model {
        weights,
        random: Random(seed),
        tensors: Vec::new(),
        own_bits: Vec::new(),
    };
    model.add_all(family);
    fs::create_dir_all(folder).at("create", folder)?;
    let file = folder.join("config.json");
    let config = model.config(family);
    fs::write(&file, format!("{config:#}\n")).at("write", &file)?;
    write::write(model.tensors, &folder.join("model.safetensors"))
}

struct Model {
    weights: Weights,
    random: Random,
    tensors: Vec<(String, Tensor)>,
    /// Modules with 8 bits.
    own_bits: Vec<String>,
}

impl Model {
    fn add_all(&mut self, family: Family) {
        self.matrix("model.embed_tokens", &[VOCAB, HIDDEN], 8);
        self.matrix("lm_head", &[VOCAB, HIDDEN], 4);
        self.norm("model.norm", HIDDEN);
        for layer in 0..LAYERS {
            let layer_name = format!("model.layers.{layer}");
            self.norm(&format!("{layer_name}.input_layernorm"), HIDDEN);
            self.norm(&format!("{layer_name}.post_attention_layernorm"), HIDDEN);
            let is_net = family == Family::Qwen3Next && !(layer + 1).is_multiple_of(INTERVAL);
            match is_net {
                true => self.add_net(&format!("{layer_name}.linear_attn")),
                false => self.add_attention(family, &format!("{layer_name}.self_attn")),
            }
            let block = format!("{layer_name}.mlp");
            match family {
                Family::Llama | Family::Qwen3 => self.add_ffn(&block, &[], FFN),
                Family::Qwen3Moe | Family::Qwen3Next => self.add_experts(family, &block),
            }
        }
    }

    fn add_attention(&mut self, family: Family, name: &str) {
        // Qwen3-Next has a gate for each output of a head, beside its queries.
        let queries = HEADS * HEAD_DIM * if family == Family::Qwen3Next { 2 } else { 1 };
        self.matrix(&format!("{name}.q_proj"), &[queries, HIDDEN], 4);
        for matrix in ["k_proj", "v_proj"] {
            self.matrix(
                &format!("{name}.{matrix}"),
                &[KV_HEADS * HEAD_DIM, HIDDEN],
                4,
            );
        }
        self.matrix(&format!("{name}.o_proj"), &[HIDDEN, HEADS * HEAD_DIM], 4);
        if family != Family::Llama {
            self.norm(&format!("{name}.q_norm"), HEAD_DIM);
            self.norm(&format!("{name}.k_norm"), HEAD_DIM);
        }
    }

    fn add_net(&mut self, name: &str) {
        let (keys, values) = (KEY_HEADS * NET_DIM, VALUE_HEADS * NET_DIM);
        let rows = 2 * keys + 2 * values;
        self.matrix(&format!("{name}.in_proj_qkvz"), &[rows, HIDDEN], 4);
        self.matrix(&format!("{name}.in_proj_ba"), &[2 * VALUE_HEADS, HIDDEN], 4);
        self.matrix(&format!("{name}.out_proj"), &[HIDDEN, values], 4);
        self.norm(&format!("{name}.norm"), NET_DIM);
        let channels = [2 * keys + values, KERNEL, 1];
        self.floats(name, "conv1d.weight", &channels, 0.0, 0.5);
        self.floats(name, "A_log", &[VALUE_HEADS], 0.0, 1.0);
        self.floats(name, "dt_bias", &[VALUE_HEADS], 1.0, 0.5);
    }

    fn add_experts(&mut self, family: Family, name: &str) {
        self.matrix(&format!("{name}.gate"), &[EXPERTS, HIDDEN], 8);
        self.add_ffn(&format!("{name}.switch_mlp"), &[EXPERTS], EXPERT_FFN);
        if family == Family::Qwen3Next {
            self.matrix(&format!("{name}.shared_expert_gate"), &[1, HIDDEN], 8);
            self.add_ffn(&format!("{name}.shared_expert"), &[], EXPERT_FFN);
        }
    }

    fn add_ffn(&mut self, name: &str, experts: &[usize], ffn: usize) {
        for matrix in ["gate_proj", "up_proj"] {
            let shape = [experts, &[ffn, HIDDEN]].concat();
            self.matrix(&format!("{name}.{matrix}"), &shape, 4);
        }
        let shape = [experts, &[HIDDEN, ffn]].concat();
        self.matrix(&format!("{name}.down_proj"), &shape, 4);
    }

    /// A matrix whose products keep about the variance of their inputs.
    fn matrix(&mut self, name: &str, shape: &[usize], bits: usize) {
        let columns = shape[shape.len() - 1];
        let amplitude = (3.0 / columns as f32).sqrt();
        if self.weights == Weights::Plain {
            return self.floats(name, "weight", shape, 0.0, amplitude);
        }
        if bits != 4 {
            self.own_bits.push(name.to_owned());
        }
        let last = |last: usize| [&shape[..shape.len() - 1], &[last]].concat();
        let words = last(columns * bits / 32);
        let content: Vec<u32> = (0..words.iter().product())
            .map(|_| self.random.next() as u32)
            .collect();
        self.push(name, "weight", Tensor::words(&words, &content));
        // Of each group another amplitude, near the one that is wanted.
        let groups = last(columns / GROUP);
        let of_group: Vec<f32> = (0..groups.iter().product())
            .map(|_| amplitude * (1.0 + 0.25 * self.random.unit()))
            .collect();
        let levels = ((1 << bits) - 1) as f32;
        let scales: Vec<f32> = of_group.iter().map(|it| 2.0 * it / levels).collect();
        self.push(name, "scales", Tensor::floats(&groups, &scales));
        let biases: Vec<f32> = of_group.iter().map(|it| -it).collect();
        self.push(name, "biases", Tensor::floats(&groups, &biases));
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.floats(name, "weight", &[width], 1.0, 0.2);
    }

    /// Floats between `middle - amplitude` and `middle + amplitude`.
    fn floats(&mut self, name: &str, part: &str, shape: &[usize], middle: f32, amplitude: f32) {
        let floats: Vec<f32> = (0..shape.iter().product())
            .map(|_| middle + amplitude * self.random.unit())
            .collect();
        self.push(name, part, Tensor::floats(shape, &floats));
    }

    fn push(&mut self, name: &str, part: &str, tensor: Tensor) {
        self.tensors.push((format!("{name}.{part}"), tensor));
    }

    fn config(&self, family: Family) -> Value {
        let mut config = json!({
            "model_type": family,
            "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS,
            "intermediate_size": FFN,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS,
            "head_dim": HEAD_DIM,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "vocab_size": VOCAB,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": false,
            "eos_token_id": 0,
        });
        let mut set = |more: Value| {
            let (Value::Object(all), Value::Object(more)) = (&mut config, more) else {
                return;
            };
            all.extend(more);
        };
        if matches!(family, Family::Qwen3Moe | Family::Qwen3Next) {
            set(json!({
                "num_experts": EXPERTS,
                "num_experts_per_tok": 2,
                "moe_intermediate_size": EXPERT_FFN,
                "norm_topk_prob": true,
                "decoder_sparse_step": 1,
                "mlp_only_layers": [],
            }));
        }
        if family == Family::Qwen3Next {
            set(json!({
                "shared_expert_intermediate_size": EXPERT_FFN,
                "linear_num_key_heads": KEY_HEADS,
                "linear_num_value_heads": VALUE_HEADS,
                "linear_key_head_dim": NET_DIM,
                "linear_value_head_dim": NET_DIM,
                "linear_conv_kernel_dim": KERNEL,
                "full_attention_interval": INTERVAL,
                "partial_rotary_factor": 0.25,
            }));
        }
        if self.weights == Weights::Quantised {
            let mut quantisation = json!({ "group_size": GROUP, "bits": 4, "mode": "affine" });
            for module in &self.own_bits {
                quantisation[module] = json!({ "group_size": GROUP, "bits": 8 });
            }
            set(json!({ "quantization": quantisation }));
        }
        config
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between -1 and 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
