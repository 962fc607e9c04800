//! The tensors of `smollm2`.

use std::{fs, path::Path};

use safetensors::{Dtype, View};

use super::Shape;
use crate::{
    error::{Error, IoContext, Result},
    gguf::{
        Gguf, GgufError,
        blocks::{Affine, ELEMENTS, floats},
    },
};

/// The matrices of a layer: GGUF's name, mlx-lm's name, and which heads lie along its rows
/// or columns.
const MATRICES: [(&str, &str, Heads); 7] = [
    ("attn_q", "self_attn.q_proj", Heads::Queries),
    ("attn_k", "self_attn.k_proj", Heads::KeysAndValues),
    ("attn_v", "self_attn.v_proj", Heads::KeysAndValues),
    ("attn_output", "self_attn.o_proj", Heads::Outputs),
    ("ffn_gate", "mlp.gate_proj", Heads::None),
    ("ffn_up", "mlp.up_proj", Heads::None),
    ("ffn_down", "mlp.down_proj", Heads::None),
];

/// The norms of a layer, by both names.
const NORMS: [(&str, &str); 2] = [
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
];

/// What a matrix has for each head, and what is therefore padded.
#[derive(Clone, Copy)]
enum Heads {
    /// Rows for each query head.
    Queries,
    /// Rows for each key and value head.
    KeysAndValues,
    /// Columns for each query head.
    Outputs,
    /// Nothing.
    None,
}

impl Heads {
    fn pad(self, matrix: Affine, shape: &Shape) -> Affine {
        match self {
            Heads::Queries => matrix.padded_to_rows(shape.heads * shape.head_dim),
            Heads::KeysAndValues => matrix.padded_to_rows(shape.kv_heads * shape.head_dim),
            Heads::Outputs => {
                let columns = shape.heads * shape.head_dim;
                matrix.padded_to_groups(columns / ELEMENTS)
            }
            Heads::None => matrix,
        }
    }
}

/// Writes all tensors into one file.
pub(super) fn write(model: &Gguf<'_>, shape: &Shape, file: &Path) -> Result<()> {
    let tensors = tensors(model, shape).map_err(Error::Gguf)?;
    let metadata = Some([("format".to_owned(), "mlx".to_owned())].into());
    let content = safetensors::serialize(tensors, metadata).map_err(|source| Error::Shard {
        file: file.to_owned(),
        source,
    })?;
    // Not by `serialize_to_file`, whose files no other user of the store may read.
    fs::write(file, content).at("write", file)
}

fn tensors(model: &Gguf<'_>, shape: &Shape) -> Result<Vec<(String, Tensor)>, GgufError> {
    let mut tensors = Vec::new();
    let mut matrix = |from: &str, to: &str, heads: Heads| {
        let matrix = Affine::of(&model.tensor(&format!("{from}.weight"))?)?;
        let Affine {
            bits,
            rows,
            groups,
            words,
            scales,
            biases,
        } = heads.pad(matrix, shape);
        let parts = [
            ("weight", Tensor::words([rows, groups * bits], &words)),
            ("scales", Tensor::floats(&[rows, groups], &scales)),
            ("biases", Tensor::floats(&[rows, groups], &biases)),
        ];
        tensors.extend(parts.map(|(part, tensor)| (format!("{to}.{part}"), tensor)));
        Ok(())
    };
    matrix("token_embd", "model.embed_tokens", Heads::None)?;
    for layer in 0..shape.layers {
        for (from, to, heads) in MATRICES {
            let (from, to) = (
                format!("blk.{layer}.{from}"),
                format!("model.layers.{layer}.{to}"),
            );
            matrix(&from, &to, heads)?;
        }
    }
    let mut norm = |from: &str, to: &str| {
        let norm = model.tensor(&format!("{from}.weight"))?;
        let tensor = Tensor::floats(&[norm.columns], &floats(norm.bytes));
        tensors.push((format!("{to}.weight"), tensor));
        Ok(())
    };
    for layer in 0..shape.layers {
        for (from, to) in NORMS {
            norm(
                &format!("blk.{layer}.{from}"),
                &format!("model.layers.{layer}.{to}"),
            )?;
        }
    }
    norm("output_norm", "model.norm")?;
    Ok(tensors)
}

/// A tensor that is written.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn words(shape: [usize; 2], words: &[u32]) -> Self {
        Tensor {
            dtype: Dtype::U32,
            shape: shape.into(),
            bytes: words.iter().flat_map(|it| it.to_le_bytes()).collect(),
        }
    }

    fn floats(shape: &[usize], floats: &[f32]) -> Self {
        Tensor {
            dtype: Dtype::F32,
            shape: shape.into(),
            bytes: floats.iter().flat_map(|it| it.to_le_bytes()).collect(),
        }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
