//! What is wrong with a folder is said before anything is loaded.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use models::{
    Error, Family, Folder, Tokenizer,
    tiny::{self, Weights},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A whole model.
fn model(family: Family) -> TempDir {
    let root = TempDir::new().unwrap();
    tiny::write(family, Weights::Quantised, 5, root.path()).unwrap();
    root
}

fn error(folder: &Path) -> Error {
    let error = Folder::open(folder).unwrap_err();
    assert!(error.is_input(), "{error}");
    error
}

fn edit(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let file = folder.join("config.json");
    let mut config = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    edit(&mut config);
    fs::write(file, config.to_string()).unwrap();
}

fn write(folder: &Path, name: &str, content: &Value) {
    fs::write(folder.join(name), content.to_string()).unwrap();
}

fn shard(folder: &Path) -> PathBuf {
    folder.join("model.safetensors")
}

#[test]
fn a_folder_is_read_as_mlx_lm_reads_it() {
    for family in Family::ALL {
        let root = model(family);
        let folder = Folder::open(root.path()).unwrap();
        let config = folder.config().unwrap();
        assert_eq!((folder.family(), config.family), (Some(family), family));
        assert_eq!((config.layers, config.hidden, config.heads), (4, 64, 4));
        assert_eq!(
            (config.kv_heads, config.head_dim, config.vocab),
            (2, 32, 256)
        );
        assert_eq!(folder.context(), Some(4096));
        assert_eq!(
            (folder.layers(), folder.message_bytes()),
            (Some(4), Some(256))
        );
        folder.check_pipeline(4).unwrap();
        let error = folder.check_pipeline(5).unwrap_err();
        assert!(matches!(
            error,
            Error::Pipeline {
                layers: 4,
                ranks: 5
            }
        ));
        // Of the embeddings by an entry of their own.
        assert_eq!(folder.quantised("model.embed_tokens").unwrap().bits, 8);
        assert_eq!(folder.quantised("lm_head").unwrap().bits, 4);
        assert_eq!(folder.quantised("model.norm"), None);
        let bytes: usize = folder.tensors().values().map(|it| it.bytes).sum();
        assert_eq!(folder.bytes(), bytes);
        let embeddings = &folder.tensors()["model.embed_tokens.weight"];
        assert_eq!(embeddings.shape, [256, 16]);
        assert_eq!(embeddings.read().unwrap().len(), 256 * 16 * 4);
        let has_experts = matches!(family, Family::Qwen3Moe | Family::Qwen3Next);
        assert_eq!(config.has_experts(0), has_experts);
        let nets: Vec<_> = (0..4).filter(|it| config.has_delta_net(*it)).collect();
        let expected: &[usize] = if family == Family::Qwen3Next {
            &[0, 1, 2]
        } else {
            &[]
        };
        assert_eq!(nets, expected);
    }
}

#[test]
fn generation_config_says_which_token_ends_a_text() {
    let root = model(Family::Llama);
    let end = || Folder::open(root.path()).unwrap().end_of_text().to_owned();
    assert_eq!(end(), [0]);
    write(
        root.path(),
        "generation_config.json",
        &json!({ "eos_token_id": [7, 8] }),
    );
    assert_eq!(end(), [7, 8]);
}

#[test]
fn a_folder_without_config_is_no_model() {
    let root = TempDir::new().unwrap();
    let error = error(root.path());
    assert!(matches!(error, Error::NoConfig { .. }), "{error}");
    assert!(error.help().unwrap().contains("config.json"));
}

#[test]
fn a_config_that_cannot_be_understood_is_named() {
    let root = model(Family::Qwen3Next);
    edit(root.path(), |it| it["linear_num_key_heads"] = json!(0));
    let said = error(root.path()).to_string();
    assert!(said.contains("linear_num_key_heads is 0"), "{said}");
    edit(root.path(), |it| it["linear_num_key_heads"] = json!(3));
    let said = error(root.path()).to_string();
    assert!(
        said.contains("no multiple of 3 linear_num_key_heads"),
        "{said}"
    );
    edit(root.path(), |it| {
        it.as_object_mut().unwrap().remove("num_experts");
    });
    let Error::Json { source, .. } = error(root.path()) else {
        panic!()
    };
    assert!(source.to_string().contains("num_experts"), "{source}");
    fs::write(root.path().join("config.json"), "{").unwrap();
    assert!(matches!(error(root.path()), Error::Json { .. }));
}

#[test]
fn a_shard_that_is_absent_is_named() {
    let root = model(Family::Llama);
    let map = json!({ "weight_map": {
        "model.norm.weight": "model.safetensors",
        "lm_head.weight": "model-00002-of-00002.safetensors",
    }});
    write(root.path(), "model.safetensors.index.json", &map);
    let Error::NoShard { shard: absent } = error(root.path()) else {
        panic!()
    };
    assert!(absent.ends_with("model-00002-of-00002.safetensors"));

    fs::remove_file(root.path().join("model.safetensors.index.json")).unwrap();
    // As Hugging Face's cache has it after a download that was interrupted.
    let link = root.path().join("model-2.safetensors");
    std::os::unix::fs::symlink("blobs/absent", &link).unwrap();
    assert!(matches!(error(root.path()), Error::NoShard { shard } if shard == link));

    fs::remove_file(link).unwrap();
    fs::remove_file(shard(root.path())).unwrap();
    assert!(matches!(error(root.path()), Error::NoWeights { .. }));
}

#[test]
fn a_shard_that_is_cut_off_is_found_wherever_it_ends() {
    let root = model(Family::Qwen3);
    let file = shard(root.path());
    let whole = fs::metadata(&file).unwrap().len();
    for length in [whole - 1, whole / 2, 100, 8, 3, 0] {
        let handle = File::options().write(true).open(&file).unwrap();
        handle.set_len(length).unwrap();
        let error = error(root.path());
        let Error::ShortShard { has, promised, .. } = &error else {
            panic!("{length}: {error}")
        };
        assert_eq!(*has, length);
        assert!(*promised > length && *promised <= whole);
        assert!(error.help().unwrap().starts_with("delete"), "{error:?}");
    }
}

#[test]
fn a_shard_that_is_something_else_is_refused() {
    let root = model(Family::Qwen3);
    let page = "<!DOCTYPE html><html>too many requests</html>";
    fs::write(shard(root.path()), page).unwrap();
    assert!(matches!(error(root.path()), Error::Shard { .. }));
    let mut head = 4_u64.to_le_bytes().to_vec();
    head.extend(b"{}}}");
    fs::write(shard(root.path()), head).unwrap();
    assert!(matches!(error(root.path()), Error::Shard { .. }));
}

#[test]
fn a_layer_or_a_tensor_that_is_absent_is_named() {
    let root = model(Family::Llama);
    edit(root.path(), |it| it["num_hidden_layers"] = json!(5));
    let said = error(root.path()).to_string();
    assert!(said.contains("model.layers.4.input_layernorm"), "{said}");

    let root = model(Family::Llama);
    let map = json!({ "weight_map": { "model.absent": "model.safetensors" } });
    write(root.path(), "model.safetensors.index.json", &map);
    let said = error(root.path()).to_string();
    assert!(said.contains("model.absent"), "{said}");
}

#[test]
fn a_quantisation_that_does_not_fit_the_weights_is_found() {
    let root = model(Family::Llama);
    edit(root.path(), |it| it["quantization"]["bits"] = json!(8));
    assert!(matches!(error(root.path()), Error::Tensor { .. }));
    edit(root.path(), |it| {
        it.as_object_mut().unwrap().remove("quantization");
    });
    let said = error(root.path()).to_string();
    assert!(said.contains("how the matrix is quantised"), "{said}");
}

#[test]
fn a_family_that_nobody_knows_is_read_and_not_cut() {
    let root = model(Family::Llama);
    edit(root.path(), |it| {
        let text = json!({ "max_position_embeddings": 99, "num_hidden_layers": 2 });
        *it = json!({ "model_type": "deepseek_v3", "text_config": text });
    });
    let folder = Folder::open(root.path()).unwrap();
    assert_eq!(
        (folder.model_type(), folder.family()),
        ("deepseek_v3", None)
    );
    assert_eq!((folder.context(), folder.layers()), (Some(99), Some(2)));
    let error = folder.shares(0, 2).unwrap_err();
    assert!(matches!(error, Error::UnknownFamily { .. }), "{error}");
    assert!(error.help().unwrap().contains("qwen3_next"), "{error:?}");
}

#[test]
fn a_prompt_longer_than_the_context_is_refused() {
    let root = model(Family::Llama);
    let folder = Folder::open(root.path()).unwrap();
    folder.check_length(4000, 96).unwrap();
    let error = folder.check_length(4000, 97).unwrap_err();
    assert!(matches!(
        error,
        Error::TooLong {
            tokens: 4097,
            context: 4096
        }
    ));
    assert!(error.help().unwrap().contains("4096"));
}

#[test]
fn a_tokenizer_that_is_absent_or_broken_is_named() {
    let root = model(Family::Llama);
    let error = Tokenizer::open(root.path()).unwrap_err();
    assert!(matches!(error, Error::NoTokenizer { .. }), "{error}");
    fs::write(root.path().join("tokenizer.json"), "{}").unwrap();
    let error = Tokenizer::open(root.path()).unwrap_err();
    assert!(matches!(error, Error::Tokenizer { .. }), "{error}");
}
