//! The logits beside those of mlx-lm.
//!
//! A rank reports no logits, and this is where MLX is linked, so the comparison is here.

mod common;

use std::{path::Path, process::Command, sync::LazyLock};

use models::{Family, Folder, tiny::Weights};
use pins::{DEFAULT_PIN, Series};
use rail_bench::{protocol::Strategy, seeded};
use rail_rank::{Session, collective::Alone};
use toolchain::{Toolchain, mlx_lm::MlxLm};

use common::tiny;

/// The logits after each of the ids, by mlx-lm.
const LOGITS: &str = r#"
import json, sys
from pathlib import Path
import mlx.core as mx
from mlx_lm.utils import load_model

model, _ = load_model(Path(sys.argv[1]))
logits = model(mx.array([json.loads(sys.argv[2])])).astype(mx.float32)
print(json.dumps(logits[0].tolist()))
"#;

/// The environment, made by `cargo xtask test`.
static ENVIRONMENT: LazyLock<MlxLm> = LazyLock::new(|| {
    let toolchain = Toolchain::open().unwrap();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    toolchain.mlx_lm(&pin, Series::Patched).unwrap()
});

fn by_mlx_lm(folder: &Path, ids: &[u32]) -> Vec<Vec<f32>> {
    let output = Command::new(&ENVIRONMENT.python)
        .args(["-I", "-B", "-c", LOGITS])
        .arg(folder)
        .arg(serde_json::to_string(ids).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Compares the logits of a prompt and of the tokens after it.
#[track_caller]
fn assert_alike(folder: &Folder) {
    let vocab = folder.config().unwrap().vocab;
    // Of 24 bits: MLX multiplies one row otherwise than many. What a gated delta net rounds
    // stays in its memory.
    let rounding = match folder.family() {
        Some(Family::Qwen3Next) => 5e-5,
        _ => 1e-5,
    };
    let mut session = Session::open(Strategy::Single, folder, Alone).unwrap();
    let mut ids = seeded::prompt(1, 40, vocab);
    // In steps that do not divide it.
    session.set_prefill_step(16);
    let mut nexts = vec![session.prefill(&ids).unwrap()];
    while nexts.len() < 8 {
        let token = nexts[nexts.len() - 1].id().unwrap();
        ids.push(token);
        nexts.push(session.decode(token).unwrap());
    }
    let theirs = by_mlx_lm(folder.path(), &ids);
    for (index, (ours, theirs)) in nexts.iter().zip(&theirs[39..]).enumerate() {
        let ours = ours.logits().unwrap();
        assert_eq!(ours.len(), theirs.len());
        let greatest = theirs.iter().fold(0f32, |it, logit| it.max(logit.abs()));
        let pairs = ours.iter().zip(theirs);
        let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        eprintln!(
            "token {index}: {:e} of the greatest logit",
            difference / greatest
        );
        assert!(
            difference < rounding * greatest,
            "token {index}: {difference} of {greatest}"
        );
    }
}

#[test]
fn small_folders_have_mlx_lms_logits() {
    for family in Family::ALL {
        for weights in [Weights::Plain, Weights::Quantised] {
            let (_root, folder) = tiny(family, weights);
            assert_alike(&folder);
        }
    }
}

#[test]
fn what_a_config_changes_is_changed_as_by_mlx_lm() {
    let (root, folder) = tiny(Family::Llama, Weights::Plain);
    assert_alike(&folder);
    let file = root.path().join("config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [
        ("rope_traditional", true.into()),
        ("rope_theta", 500.0.into()),
        ("tie_word_embeddings", true.into()),
        ("rms_norm_eps", 0.1.into()),
        (
            "rope_scaling",
            serde_json::json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
            }),
        ),
    ] {
        config[key] = value;
        std::fs::write(&file, config.to_string()).unwrap();
        assert_alike(&Folder::open(root.path()).unwrap());
    }
}
