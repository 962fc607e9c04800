//! The tokenizer of `smollm2`, of the metadata of its GGUF file.
//!
//! `tokenizer.ggml.pre` is `smollm`: byte-level BPE as GPT-2's, after digits were split
//! from all else and from each other (`llama_vocab` of llama.cpp).

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use crate::{
    error::{Error, IoContext, Result},
    gguf::{Gguf, GgufError},
};

/// The type that GGUF gives to tokens which no text becomes, as `<|im_end|>`.
const CONTROL: i64 = 3;

/// Writes `tokenizer.json` and `tokenizer_config.json`.
pub(super) fn write(model: &Gguf<'_>, folder: &Path) -> Result<()> {
    let contents = [
        ("tokenizer.json", tokenizer(model)),
        ("tokenizer_config.json", config(model)),
    ];
    for (name, content) in contents {
        let file = folder.join(name);
        let text = format!("{:#}\n", content.map_err(Error::Gguf)?);
        fs::write(&file, text).at("write", &file)?;
    }
    Ok(())
}

/// As the crate `tokenizers` reads it.
fn tokenizer(model: &Gguf<'_>) -> Result<Value, GgufError> {
    let pre = model.text("tokenizer.ggml.pre")?;
    if (model.text("tokenizer.ggml.model")?, pre) != ("gpt2", "smollm") {
        let name = "tokenizer of the kind smollm".into();
        return Err(GgufError::Missing { name });
    }
    let tokens = model.texts("tokenizer.ggml.tokens")?;
    let types = model.integers("tokenizer.ggml.token_type")?;
    let added = tokens.iter().zip(types).enumerate();
    let added: Vec<Value> = added
        .filter(|(_, (_, kind))| *kind == CONTROL)
        .map(|(id, (token, _))| {
            json!({
                "id": id,
                "content": token,
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": true,
            })
        })
        .collect();
    let vocabulary: Map<String, Value> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| ((*token).to_owned(), id.into()))
        .collect();
    let byte_level = json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": true,
    });
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                { "type": "Digits", "individual_digits": true },
                byte_level,
            ],
        },
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": token(model, "unknown")?,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": model.texts("tokenizer.ggml.merges")?,
        },
    }))
}

/// As transformers reads it.
fn config(model: &Gguf<'_>) -> Result<Value, GgufError> {
    Ok(json!({
        // It takes all from tokenizer.json; the class of Llama would expect SentencePiece.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.count("llama.context_length")?,
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
        "bos_token": token(model, "bos")?,
        "eos_token": token(model, "eos")?,
        "unk_token": token(model, "unknown")?,
        "pad_token": token(model, "padding")?,
        "chat_template": model.text("tokenizer.chat_template")?,
    }))
}

/// The text of a token that the metadata names by its number.
fn token<'a>(model: &'a Gguf<'_>, role: &str) -> Result<&'a str, GgufError> {
    let key = format!("tokenizer.ggml.{role}_token_id");
    let id = model.count(&key)?;
    let tokens = model.texts("tokenizer.ggml.tokens")?;
    let found = tokens.get(id).copied();
    found.ok_or(GgufError::Missing { name: key })
}
