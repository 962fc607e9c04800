//! Each rank's bytes of each tensor: what the crate `models` cuts by its table is what the
//! engine mlx-lm leaves a rank, by mlx-lm's own `shard()` of Llama and Qwen3, and by the same
//! table of Qwen3-MoE and Qwen3-Next.

use std::{fs, path::Path, process::Command};

use models::{
    Family, Folder,
    tiny::{self, Weights},
};
use pins::{DEFAULT_PIN, Series};
use rail_bench::engine::EngineProgram;
use tempfile::TempDir;
use toolchain::Toolchain;

const RANKS: usize = 2;

/// Writes what each rank has of a folder's model. No rank computes, so that none needs a peer.
const SHARES: &str = r#"
import sys
from pathlib import Path

engine, folder, out, ranks = sys.argv[1:]
sys.path.insert(0, engine)
import mlx.core as mx
import mlx_lm_rank
from mlx.utils import tree_flatten


class Group:
    def __init__(self, rank):
        self.place = rank

    def rank(self):
        return self.place

    def size(self):
        return int(ranks)


for rank in range(int(ranks)):
    model, _ = mlx_lm_rank.load_folder(folder)
    mlx_lm_rank.shard(model, Group(rank))
    share = Path(out) / str(rank) / "model.safetensors"
    mx.save_safetensors(str(share), dict(tree_flatten(model.parameters())))
"#;

#[test]
fn every_share_has_the_bytes_that_mlx_lm_gives_it() {
    let toolchain = Toolchain::open().unwrap();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    let environment = toolchain.mlx_lm(&pin, Series::Patched).unwrap();
    let engine = TempDir::new().unwrap();
    let python = environment.python;
    EngineProgram::mlx_lm(python.clone(), environment.build, engine.path()).unwrap();
    for family in Family::ALL {
        for weights in [Weights::Plain, Weights::Quantised] {
            let root = TempDir::new().unwrap();
            let model = root.path().join("model");
            tiny::write(family, weights, 5, &model).unwrap();
            // A share is a folder too, with the config of the whole.
            for rank in 0..RANKS {
                let share = root.path().join(rank.to_string());
                fs::create_dir(&share).unwrap();
                fs::copy(model.join("config.json"), share.join("config.json")).unwrap();
            }
            let made = Command::new(&python)
                .args(["-I", "-B", "-c", SHARES])
                .args([engine.path(), &model, root.path()])
                .arg(RANKS.to_string())
                .status()
                .unwrap();
            assert!(made.success(), "{family:?} {weights:?}");
            for rank in 0..RANKS {
                assert_same(&model, rank, &root.path().join(rank.to_string()));
            }
        }
    }
}

fn assert_same(model: &Path, rank: usize, theirs: &Path) {
    let (model, theirs) = (Folder::open(model).unwrap(), Folder::open(theirs).unwrap());
    let shares = model.shares(rank, RANKS).unwrap();
    let names: Vec<_> = shares.iter().map(|it| &it.name).collect();
    assert_eq!(names, theirs.tensors().keys().collect::<Vec<_>>());
    for share in &shares {
        let their = &theirs.tensors()[&share.name];
        let name = format!("{} of rank {rank}", share.name);
        assert_eq!(
            (share.dtype, &share.shape),
            (their.dtype, &their.shape),
            "{name}"
        );
        let ours = share.read(&model.tensors()[&share.name]).unwrap();
        assert!(ours == their.read().unwrap(), "the bytes of {name} differ");
    }
}
