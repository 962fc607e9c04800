//! What can be wrong with a model.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::gguf::GgufError;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every message names the folder, the file or the model. The cause is the error's source,
/// and what to do next is [`Error::help`]; neither is repeated in the message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is no model.
    #[error("{} has no config.json", .folder.display())]
    NoConfig {
        /// The folder.
        folder: PathBuf,
    },

    /// A JSON file of the folder cannot be understood.
    #[error("cannot understand {}", .file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: serde_json::Error,
    },

    /// A JSON file of the folder has no value of a key, or a wrong one.
    #[error("{}: {problem}", .file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// The key, and what is wrong with it.
        problem: String,
    },

    /// The folder has no weights.
    #[error("{} has no file model*.safetensors", .folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },

    /// The index names a file that is absent.
    #[error("{} is named by the index, and is absent", .shard.display())]
    NoShard {
        /// The file.
        shard: PathBuf,
    },

    /// A file of weights ends too early.
    #[error(
        "{} is cut off: it has {has} bytes, and its head promises {promised}",
        .shard.display()
    )]
    ShortShard {
        /// The file.
        shard: PathBuf,
        /// Its length in bytes.
        has: u64,
        /// The length that follows from its head, in bytes.
        promised: u64,
    },

    /// A file of weights is no safetensors file.
    #[error("{} is no safetensors file", .file.display())]
    Shard {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: safetensors::SafeTensorError,
    },

    /// The weights lack a tensor.
    #[error("{}: there is no tensor {name}", .folder.display())]
    NoTensor {
        /// The folder.
        folder: PathBuf,
        /// The tensor that is absent.
        name: String,
    },

    /// A tensor has another shape than the config demands.
    #[error("tensor {name}: {problem}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        problem: String,
    },

    /// No engine can cut models of this family.
    #[error("nobody knows how to cut models of the type {model_type:?}")]
    UnknownFamily {
        /// `model_type` of the config.
        model_type: String,
        /// The types that are known to the caller's engine.
        known: Vec<String>,
    },

    /// Tensor parallelism would give the ranks unequal parts.
    #[error("tp cannot split the model's {count} {what} evenly over {ranks} ranks")]
    Split {
        /// What does not divide evenly.
        what: String,
        /// How many of it the model has.
        count: usize,
        /// Ranks to split them over.
        ranks: usize,
        /// The numbers of ranks, above one, over which all that is cut divides.
        fit: Vec<usize>,
    },

    /// Pipeline parallelism would leave a rank without a layer.
    #[error("pp needs a layer for each of {ranks} ranks, and the model has {layers}")]
    Pipeline {
        /// Layers of the model.
        layers: usize,
        /// Ranks to spread them over.
        ranks: usize,
    },

    /// The prompt and what is to be generated exceed the model's context.
    #[error("{tokens} tokens exceed the model's context of {context}")]
    TooLong {
        /// Tokens of the prompt and of what is to be generated.
        tokens: usize,
        /// What the model was made for (`max_position_embeddings`).
        context: usize,
    },

    /// The folder has no tokenizer.
    #[error("{} has no tokenizer.json", .folder.display())]
    NoTokenizer {
        /// The folder.
        folder: PathBuf,
    },

    /// The tokenizer cannot be read, or cannot do what was asked.
    #[error("the tokenizer {} does not work", .file.display())]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// Its own reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The model is in no cache of this machine.
    #[error("the model {name} is not on this machine")]
    Absent {
        /// Its name, `org/name`.
        name: String,
        /// The folders in which it was looked for.
        looked: Vec<PathBuf>,
    },

    /// A name is neither a folder nor of the form `org/name`.
    #[error("{name:?} is neither a folder with a model nor a model's name")]
    NoSuchModel {
        /// What the user gave.
        name: String,
    },

    /// A wheel does not have the file that `smollm2` is made of.
    #[error("{}: {problem}", .file.display())]
    Wheel {
        /// The wheel.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The file that `smollm2` is made of is not what it must be.
    #[error("the GGUF file of smollm2 cannot be turned into a folder")]
    Gguf(#[source] GgufError),

    /// A tensor of `smollm2` has another element than the GGUF file.
    #[error("row {row} of {name} is not what the GGUF file has")]
    Inexact {
        /// The module.
        name: String,
        /// The row.
        row: usize,
    },

    /// The file system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// The verb, for example "open".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether the caller gave something that will not do, rather than that the machine or
    /// this project failed.
    pub fn is_input(&self) -> bool {
        !matches!(
            self,
            Error::Wheel { .. } | Error::Gguf(_) | Error::Inexact { .. } | Error::Io { .. }
        )
    }

    /// The remedy for the user, if one is known.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Error::NoConfig { .. } => "name a folder that mlx-lm can load: config.json, \
                                       model*.safetensors, tokenizer.json"
                .into(),
            Error::NoWeights { .. } | Error::NoShard { .. } | Error::NoTensor { .. } => {
                "fetch the whole model again: `hf download ORG/NAME` resumes a download that \
                 was interrupted"
                    .into()
            }
            Error::ShortShard { shard, .. } | Error::Shard { file: shard, .. } => format!(
                "delete {} and fetch it again: `hf download ORG/NAME`",
                shard.display()
            ),
            Error::UnknownFamily { known, .. } => {
                format!("use pp alone, or a model of one of: {}", known.join(", "))
            }
            Error::Split { fit, .. } => match &fit[..] {
                [] => "use pp alone, or another model".into(),
                fit => format!(
                    "use pp alone, another model, or a rig with {} nodes",
                    any_of(fit)
                ),
            },
            Error::Pipeline { .. } => {
                "use tp alone, a rig with fewer nodes, or another model".into()
            }
            Error::TooLong { context, .. } => {
                format!("ask for at most {context} tokens in all, or use another model")
            }
            Error::NoTokenizer { .. } => {
                "fetch tokenizer.json of the same model, or give the prompt as a number of \
                 tokens"
                    .into()
            }
            Error::Absent { name, looked } => {
                let looked: Vec<_> = looked.iter().map(|it| it.display().to_string()).collect();
                let places = match looked.is_empty() {
                    true => String::new(),
                    false => format!(" (looked in {})", looked.join(", ")),
                };
                format!("fetch it with `hf download {name}`{places}")
            }
            Error::NoSuchModel { .. } => {
                "name a preset, smollm2, a folder, or a model as org/name".into()
            }
            Error::Json { .. }
            | Error::Config { .. }
            | Error::Tensor { .. }
            | Error::Tokenizer { .. }
            | Error::Wheel { .. }
            | Error::Gguf(_)
            | Error::Inexact { .. }
            | Error::Io { .. } => return None,
        })
    }
}

/// "2", "2 or 4", "2, 3 or 6".
fn any_of(counts: &[usize]) -> String {
    let words: Vec<_> = counts.iter().map(usize::to_string).collect();
    match &words[..] {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Attaches the verb and the path to an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Io {
            action,
            path: path.as_ref().to_path_buf(),
            source,
        })
    }
}
