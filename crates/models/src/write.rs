//! Writes safetensors files.

use std::{borrow::Cow, fs, path::Path};

use safetensors::{Dtype, View};

use crate::error::{Error, IoContext, Result};

/// A tensor that is written.
pub(crate) struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Row after row, little-endian.
    pub bytes: Vec<u8>,
}

impl Tensor {
    pub fn words(shape: &[usize], words: &[u32]) -> Self {
        Tensor {
            dtype: Dtype::U32,
            shape: shape.into(),
            bytes: words.iter().flat_map(|it| it.to_le_bytes()).collect(),
        }
    }

    pub fn floats(shape: &[usize], floats: &[f32]) -> Self {
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

    fn data(&self) -> Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes tensors into one file, in an order that follows from their types and names.
pub(crate) fn write(tensors: Vec<(String, Tensor)>, file: &Path) -> Result<()> {
    // As mlx-lm marks its files.
    let metadata = Some([("format".to_owned(), "mlx".to_owned())].into());
    let content = safetensors::serialize(tensors, metadata).map_err(|source| Error::Shard {
        file: file.to_owned(),
        source,
    })?;
    // Not by `serialize_to_file`, whose files no other user of a store may read.
    fs::write(file, content).at("write", file)
}
