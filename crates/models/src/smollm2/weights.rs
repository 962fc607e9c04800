//! The tensors of `smollm2`.

use std::path::Path;

use super::Shape;
use crate::{
    Folder,
    error::{Error, Result},
    gguf::{
        Gguf, GgufError, GgufTensor,
        blocks::{self, Affine, ELEMENTS, floats},
    },
    write::{self, Tensor},
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

/// The matrices of the model, by both names.
fn matrices(layers: usize) -> Vec<(String, String, Heads)> {
    let embeddings = (
        "token_embd".into(),
        "model.embed_tokens".into(),
        Heads::None,
    );
    let of_layer = |layer| {
        MATRICES.map(|(from, to, heads)| (from_layer(layer, from), to_layer(layer, to), heads))
    };
    std::iter::once(embeddings)
        .chain((0..layers).flat_map(of_layer))
        .collect()
}

/// The norms of the model, by both names.
fn norms(layers: usize) -> Vec<(String, String)> {
    let last = ("output_norm".into(), "model.norm".into());
    let of_layer = |layer| NORMS.map(|(from, to)| (from_layer(layer, from), to_layer(layer, to)));
    std::iter::once(last)
        .chain((0..layers).flat_map(of_layer))
        .collect()
}

/// GGUF's name of a module of a layer.
fn from_layer(layer: usize, module: &str) -> String {
    format!("blk.{layer}.{module}")
}

/// mlx-lm's name of a module of a layer.
fn to_layer(layer: usize, module: &str) -> String {
    format!("model.layers.{layer}.{module}")
}

fn of_gguf<'a>(model: &Gguf<'a>, module: &str) -> Result<GgufTensor<'a>, GgufError> {
    model.tensor(&format!("{module}.weight"))
}

/// Writes all tensors into one file.
pub(super) fn write(model: &Gguf<'_>, shape: &Shape, file: &Path) -> Result<()> {
    write::write(tensors(model, shape).map_err(Error::Gguf)?, file)
}

fn tensors(model: &Gguf<'_>, shape: &Shape) -> Result<Vec<(String, Tensor)>, GgufError> {
    let (matrices, norms) = (matrices(shape.layers), norms(shape.layers));
    let known = matrices.len() + norms.len();
    if model.names().count() != known {
        let name = format!("set of {known} tensors");
        return Err(GgufError::Missing { name });
    }
    let mut tensors = Vec::new();
    for (from, to, heads) in matrices {
        let matrix = heads.pad(Affine::of(&of_gguf(model, &from)?)?, shape);
        let columns = [matrix.groups * matrix.bits, matrix.groups];
        let [weight, scales] = columns.map(|columns| [matrix.rows, columns]);
        let parts = [
            ("weight", Tensor::words(&weight, &matrix.words)),
            ("scales", Tensor::floats(&scales, &matrix.scales)),
            ("biases", Tensor::floats(&scales, &matrix.biases)),
        ];
        tensors.extend(parts.map(|(part, tensor)| (format!("{to}.{part}"), tensor)));
    }
    for (from, to) in norms {
        let norm = of_gguf(model, &from)?;
        let tensor = Tensor::floats(&[norm.columns], &floats(norm.bytes));
        tensors.push((format!("{to}.weight"), tensor));
    }
    Ok(tensors)
}

/// Checks every element that was written, read back and dequantised as MLX does, against
/// the one that ggml dequantises. Padding must be zero.
pub(super) fn verify(model: &Gguf<'_>, folder: &Folder, shape: &Shape) -> Result<()> {
    for (from, to, _) in matrices(shape.layers) {
        let matrix = of_gguf(model, &from).map_err(Error::Gguf)?;
        let written = written(folder, &to)?;
        for row in 0..written.rows {
            let (found, mut expected) = match row < matrix.rows {
                true => (written.row(row), blocks::row(&matrix, row)),
                false => (written.row(row), Vec::new()),
            };
            expected.resize(found.len(), 0.0);
            if found != expected {
                return Err(Error::Inexact { name: to, row });
            }
        }
    }
    for (from, to) in norms(shape.layers) {
        let norm = of_gguf(model, &from).map_err(Error::Gguf)?;
        if read(folder, &to, "weight")?.1 != norm.bytes {
            return Err(Error::Inexact { name: to, row: 0 });
        }
    }
    Ok(())
}

/// A matrix that was written.
fn written(folder: &Folder, module: &str) -> Result<Affine> {
    let (shape, words) = read(folder, module, "weight")?;
    let (of_scales, scales) = read(folder, module, "scales")?;
    let (_, biases) = read(folder, module, "biases")?;
    let last = |shape: &[usize]| shape.last().copied().unwrap_or_default();
    let groups = last(&of_scales);
    let words = words.chunks_exact(4);
    Ok(Affine {
        bits: last(&shape).checked_div(groups).unwrap_or_default(),
        rows: shape.first().copied().unwrap_or_default(),
        groups,
        words: words
            .map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]))
            .collect(),
        scales: floats(&scales),
        biases: floats(&biases),
    })
}

/// The shape and the bytes of a tensor that was written.
fn read(folder: &Folder, module: &str, part: &str) -> Result<(Vec<usize>, Vec<u8>)> {
    let name = format!("{module}.{part}");
    match folder.tensors().get(&name) {
        Some(tensor) => Ok((tensor.shape.clone(), tensor.read()?)),
        None => Err(Error::NoTensor {
            folder: folder.path().to_owned(),
            name,
        }),
    }
}
