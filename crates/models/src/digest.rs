//! Names the content of a folder, wherever it is.

use std::{
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::{
    Folder, Tensor,
    error::{IoContext, Result},
};

/// The bytes of a tensor that are looked at, in each of three places.
const SAMPLE: usize = 4096;

impl Folder {
    /// Names the folder's config and weights: 16 hexadecimal digits of the SHA-256 of the
    /// config, and of each tensor's name, type, shape, first bytes, middle ones and last
    /// ones. A large model is not read whole, so a difference between these bytes does not
    /// show.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        let config = self.path().join("config.json");
        add(&fs::read(&config).at("read", &config)?);
        let mut open: Option<(&Path, File)> = None;
        for (name, tensor) in self.tensors() {
            add(name.as_bytes());
            add(format!("{:?} {:?}", tensor.dtype, tensor.shape).as_bytes());
            // Tensors that follow each other are mostly of one file.
            let (_, file) = match open.take() {
                Some(it) if it.0 == tensor.file => open.insert(it),
                _ => open.insert((
                    &tensor.file,
                    File::open(&tensor.file).at("open", &tensor.file)?,
                )),
            };
            for range in samples(tensor) {
                let mut sample = vec![0; range.len()];
                file.read_exact_at(&mut sample, tensor.offset + range.start as u64)
                    .at("read", &tensor.file)?;
                add(&sample);
            }
        }
        let bytes = hash.finalize();
        Ok(bytes[..8].iter().map(|it| format!("{it:02x}")).collect())
    }
}

/// The bytes of a tensor that are looked at: all of a small one.
fn samples(tensor: &Tensor) -> Vec<Range<usize>> {
    let bytes = tensor.bytes;
    if bytes <= 3 * SAMPLE {
        let whole = 0..bytes;
        return vec![whole];
    }
    let starts = [0, (bytes - SAMPLE) / 2, bytes - SAMPLE];
    starts.map(|start| start..start + SAMPLE).into()
}
