//! The shares of all ranks together are the tensor.

use std::{collections::BTreeMap, path::Path};

use models::{
    Dtype, Error, Family, Folder, Part, Share, Tensor,
    tiny::{self, Weights},
};
use proptest::{prelude::*, sample::select};
use tempfile::TempDir;

fn tiny(family: Family, weights: Weights, seed: u64) -> (TempDir, Folder) {
    let root = TempDir::new().unwrap();
    tiny::write(family, weights, seed, root.path()).unwrap();
    let folder = Folder::open(root.path()).unwrap();
    (root, folder)
}

/// The tensor that ranks would put together of their shares.
fn joined(tensor: &Tensor, shares: &[(Share, Vec<u8>)]) -> Vec<u8> {
    let one = tensor.dtype.bitsize() / 8;
    let mut all = vec![0xff; tensor.bytes];
    let mut written = vec![0; tensor.bytes];
    for (share, bytes) in shares {
        let Part::Slices { axis, ranges } = &share.part else {
            return bytes.clone();
        };
        let inner = one * tensor.shape[axis + 1..].iter().product::<usize>();
        let outer: usize = tensor.shape[..*axis].iter().product();
        let mut bytes = bytes.chunks_exact(inner);
        for outer in 0..outer {
            for at in ranges.iter().cloned().flatten() {
                let start = (outer * tensor.shape[*axis] + at) * inner;
                all[start..start + inner].copy_from_slice(bytes.next().unwrap());
                written[start..start + inner]
                    .iter_mut()
                    .for_each(|it| *it += 1);
            }
        }
        assert!(bytes.next().is_none(), "{}", share.name);
    }
    assert!(written.iter().all(|it| *it == 1), "once each");
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_shares_of_all_ranks_are_the_tensor(
        family in select(&Family::ALL[..]),
        weights in select(&[Weights::Plain, Weights::Quantised][..]),
        ranks in 1_usize..=2,
        seed: u64,
    ) {
        let (_root, folder) = tiny(family, weights, seed);
        let mut shares: BTreeMap<String, Vec<(Share, Vec<u8>)>> = BTreeMap::new();
        for rank in 0..ranks {
            for share in folder.shares(rank, ranks).unwrap() {
                let tensor = &folder.tensors()[&share.name];
                let bytes = share.copy(tensor, &tensor.read().unwrap());
                prop_assert_eq!(bytes.len(), share.bytes);
                prop_assert_eq!(&share.read(tensor).unwrap(), &bytes);
                let elements: usize = share.shape.iter().product();
                prop_assert_eq!(elements * tensor.dtype.bitsize() / 8, share.bytes);
                shares.entry(share.name.clone()).or_default().push((share, bytes));
            }
        }
        for (name, tensor) in folder.tensors() {
            let shares = &shares[name];
            prop_assert_eq!(shares.len(), ranks);
            // Norms and vocabularies are not cut; all that a layer multiplies with is.
            let is_cut = matches!(shares[0].0.part, Part::Slices { .. });
            let is_linear = [".self_attn.", ".linear_attn.", "_proj"].iter().any(|it| name.contains(it));
            let is_whole = ["norm", "gate.", "shared_expert_gate"].iter().any(|it| name.contains(it));
            prop_assert_eq!(is_cut, is_linear && !is_whole, "{}", name);
            prop_assert_eq!(joined(tensor, shares), tensor.read().unwrap(), "{}", name);
        }
    }
}

/// A head's rows of Qwen3-Next's convolution lie in three places.
#[test]
fn a_rank_has_its_heads_of_queries_keys_and_values_of_the_convolution() {
    let (_root, folder) = tiny(Family::Qwen3Next, Weights::Plain, 1);
    let shares = folder.shares(1, 2).unwrap();
    let name = "model.layers.0.linear_attn.conv1d.weight";
    let share = shares.iter().find(|it| it.name == name).unwrap();
    assert_eq!(share.shape, [128, 4, 1]);
    let ranges = vec![32..64, 96..128, 192..256];
    assert_eq!(share.part, Part::Slices { axis: 0, ranges });
}

#[test]
fn what_mlx_lm_does_not_load_is_nobodys() {
    let root = TempDir::new().unwrap();
    with_config(
        root.path(),
        Family::Llama,
        &[("tie_word_embeddings", "true")],
    );
    let folder = Folder::open(root.path()).unwrap();
    assert!(folder.tensors().contains_key("lm_head.weight"));
    let shares = folder.shares(0, 1).unwrap();
    assert!(!shares.iter().any(|it| it.name.starts_with("lm_head")));
}

/// A model whose config is edited.
fn with_config(root: &Path, family: Family, changes: &[(&str, &str)]) {
    tiny::write(family, Weights::Quantised, 3, root).unwrap();
    let file = root.join("config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, value) in changes {
        config[*key] = serde_json::from_str(value).unwrap();
    }
    std::fs::write(file, config.to_string()).unwrap();
}

#[test]
fn a_split_that_does_not_divide_is_refused_with_those_that_do() {
    let (_root, folder) = tiny(Family::Qwen3Next, Weights::Quantised, 1);
    assert_eq!(folder.splits().unwrap(), [2]);
    let error = folder.shares(0, 4).unwrap_err();
    let Error::Split {
        what,
        count,
        ranks,
        fit,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (&**what, *count, *ranks),
        ("key heads of the delta net", 2, 4)
    );
    assert_eq!(fit, &[2]);
    assert!(error.help().unwrap().contains("2 nodes"), "{error:?}");
    assert!(error.is_input());
}

/// Heads divide, but a share of the columns would end within a group.
#[test]
fn columns_are_cut_in_whole_groups() {
    let root = TempDir::new().unwrap();
    let changes = [
        ("num_attention_heads", "8"),
        ("num_key_value_heads", "8"),
        ("head_dim", "16"),
    ];
    with_config(root.path(), Family::Llama, &changes);
    let folder = Folder::open(root.path()).unwrap();
    // 128 columns of down_proj and o_proj are 4 groups of 32.
    assert_eq!(folder.splits().unwrap(), [2, 4]);
    let error = folder.check_split(8).unwrap_err().to_string();
    assert!(error.contains("groups of 32 columns"), "{error}");
}

#[test]
fn a_tensor_that_the_family_does_not_have_is_named() {
    let root = TempDir::new().unwrap();
    with_config(root.path(), Family::Qwen3, &[("model_type", "\"llama\"")]);
    let error = Folder::open(root.path()).unwrap().shares(0, 2).unwrap_err();
    assert!(error.to_string().contains("_norm"), "{error}");
    assert!(matches!(error, Error::Tensor { .. }));
}

#[test]
fn a_share_of_a_matrix_has_the_bytes_of_its_rows_or_columns() {
    let tensor = Tensor {
        dtype: Dtype::U8,
        shape: vec![2, 4],
        bytes: 8,
        file: "unused".into(),
        offset: 0,
    };
    let copy = |axis, range: std::ops::Range<usize>, shape: [usize; 2]| {
        let share = Share {
            name: "a".into(),
            dtype: tensor.dtype,
            shape: shape.into(),
            bytes: shape.iter().product(),
            part: Part::Slices {
                axis,
                ranges: vec![range],
            },
        };
        share.copy(&tensor, &[0, 1, 2, 3, 4, 5, 6, 7])
    };
    assert_eq!(copy(0, 1..2, [1, 4]), [4, 5, 6, 7]);
    assert_eq!(copy(1, 2..4, [2, 2]), [2, 3, 6, 7]);
}
