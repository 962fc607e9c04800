//! The tensors of a folder, by the heads of its safetensors files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::Deserialize;

pub use safetensors::Dtype;
use safetensors::{SafeTensorError, tensor::Metadata};

use crate::error::{Error, IoContext, Result};

/// Lists the file of each tensor.
const INDEX: &str = "model.safetensors.index.json";

/// The greatest head that is read, as the crate `safetensors` has it.
const MAX_HEAD: u64 = 100_000_000;

/// A tensor of a folder. Its content stays on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Its bytes.
    pub bytes: usize,
    /// The file that has it.
    pub file: PathBuf,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
}

impl Tensor {
    /// Reads its content, row after row.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut file = File::open(&self.file).at("open", &self.file)?;
        let mut content = vec![0; self.bytes];
        file.seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.read_exact(&mut content))
            .at("read", &self.file)?;
        Ok(content)
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// All tensors of the files `model*.safetensors`, as mlx-lm loads them.
///
/// # Errors
/// [`Error::NoWeights`], [`Error::NoShard`], [`Error::ShortShard`], [`Error::Shard`],
/// [`Error::NoTensor`] for one that only the index names, [`Error::Io`].
pub(crate) fn of_folder(folder: &Path) -> Result<BTreeMap<String, Tensor>> {
    let index = read_index(folder)?;
    for name in index.iter().flat_map(|it| it.weight_map.values()) {
        let shard = folder.join(name);
        if !shard.is_file() {
            return Err(Error::NoShard { shard });
        }
    }
    let mut tensors = BTreeMap::new();
    for shard in shards(folder)? {
        tensors.extend(of_shard(&shard)?);
    }
    let promised = index.iter().flat_map(|it| it.weight_map.keys());
    if let Some(name) = promised.into_iter().find(|it| !tensors.contains_key(*it)) {
        return Err(Error::NoTensor {
            folder: folder.to_owned(),
            name: name.clone(),
        });
    }
    Ok(tensors)
}

fn read_index(folder: &Path) -> Result<Option<Index>> {
    let file = folder.join(INDEX);
    let text = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.at("read", &file)?,
    };
    let index = serde_json::from_slice(&text);
    index
        .map(Some)
        .map_err(|source| Error::Json { file, source })
}

fn shards(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut shards = Vec::new();
    for entry in fs::read_dir(folder).at("read", folder)? {
        let name = entry.at("read", folder)?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("model") && name.ends_with(".safetensors") {
            shards.push(folder.join(&*name));
        }
    }
    if shards.is_empty() {
        let folder = folder.to_owned();
        return Err(Error::NoWeights { folder });
    }
    shards.sort();
    Ok(shards)
}

/// Reads the head of a file: its length in 8 bytes, then JSON.
fn of_shard(shard: &Path) -> Result<Vec<(String, Tensor)>> {
    let mut file = match File::open(shard) {
        // A link of Hugging Face's cache to a file that was not downloaded.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let shard = shard.to_owned();
            return Err(Error::NoShard { shard });
        }
        file => file.at("open", shard)?,
    };
    let has = file.metadata().at("read", shard)?.len();
    let short = |promised| Error::ShortShard {
        shard: shard.to_owned(),
        has,
        promised,
    };
    let bad = |source| Error::Shard {
        file: shard.to_owned(),
        source,
    };
    let mut length = [0; 8];
    if has < length.len() as u64 {
        return Err(short(length.len() as u64));
    }
    file.read_exact(&mut length).at("read", shard)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEAD {
        return Err(bad(SafeTensorError::HeaderTooLarge));
    }
    let start = 8 + length;
    if has < start {
        return Err(short(start));
    }
    let mut head = vec![0; length as usize];
    file.read_exact(&mut head).at("read", shard)?;
    let head: Metadata = serde_json::from_slice(&head)
        .map_err(|it| bad(SafeTensorError::InvalidHeaderDeserialization(it)))?;
    let promised = start + head.data_len() as u64;
    if has < promised {
        return Err(short(promised));
    }
    let tensors = head.tensors().into_iter();
    Ok(tensors
        .map(|(name, info)| {
            let (first, end) = info.data_offsets;
            let tensor = Tensor {
                dtype: info.dtype,
                shape: info.shape.clone(),
                bytes: end - first,
                file: shard.to_owned(),
                offset: start + first as u64,
            };
            (name, tensor)
        })
        .collect())
}
