//! Text to token ids and back.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The tokenizer of a folder, `tokenizer.json`.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    file: PathBuf,
    tokenizer: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads the folder's `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] when it is absent, [`Error::Tokenizer`] when it cannot be
    /// understood.
    pub fn open(folder: &Path) -> Result<Self> {
        let file = folder.join("tokenizer.json");
        if !file.is_file() {
            let folder = folder.to_owned();
            return Err(Error::NoTokenizer { folder });
        }
        match tokenizers::Tokenizer::from_file(&file) {
            Ok(tokenizer) => Ok(Tokenizer { file, tokenizer }),
            Err(source) => Err(Error::Tokenizer { file, source }),
        }
    }

    /// The ids of a text as it stands: no template of a chat is put around it. The
    /// tokenizer's own first token, if it has one, is put before it, as mlx-lm does.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoded = self.tokenizer.encode(text, true);
        Ok(self.or_error(encoded)?.get_ids().to_owned())
    }

    /// The text of ids, with the text of special tokens such as `<|im_end|>`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.or_error(self.tokenizer.decode(ids, false))
    }

    fn or_error<T>(&self, result: tokenizers::Result<T>) -> Result<T> {
        result.map_err(|source| Error::Tokenizer {
            file: self.file.clone(),
            source,
        })
    }
}
