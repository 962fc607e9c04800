use std::path::PathBuf;

/// The errors of loading or driving jaccl.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shared library cannot be opened.
    #[error("cannot open the jaccl build {}", path.display())]
    Open {
        /// The path that was tried.
        path: PathBuf,
        /// The loader's reason.
        #[source]
        source: libloading::Error,
    },
    /// The shared library is not jaccl with this crate's C interface.
    #[error("{} is not a jaccl build with the shim of this version", path.display())]
    NotJaccl {
        /// The library.
        path: PathBuf,
        /// The function that is missing.
        #[source]
        source: libloading::Error,
    },
    /// jaccl refused, with its message.
    #[error("{0}")]
    Jaccl(String),
    /// A string for jaccl contains a NUL.
    #[error("the {what} '{value}' contains a NUL character, which jaccl cannot be given")]
    Nul {
        /// `coordinator` or `device file`.
        what: &'static str,
        /// The string.
        value: String,
    },
    /// The output does not have the length that the operation produces.
    #[error("{operation} of {input} bytes gives {expected}, but the output has {output}")]
    Length {
        /// The operation.
        operation: &'static str,
        /// Bytes of input.
        input: usize,
        /// Bytes that the operation produces.
        expected: usize,
        /// Bytes of output space.
        output: usize,
    },
    /// The bytes are not whole elements.
    #[error("{bytes} bytes are not a whole number of {dtype} elements of {size} bytes each")]
    Ragged {
        /// Bytes given.
        bytes: usize,
        /// The element type.
        dtype: crate::Dtype,
        /// Its size.
        size: usize,
    },
    /// The address of the bytes is not aligned for the element type.
    #[error("the {dtype} elements begin at an address that is not a multiple of {align}")]
    Misaligned {
        /// The element type.
        dtype: crate::Dtype,
        /// The required alignment.
        align: usize,
    },
    /// An operation was requested before [`Request::Join`](crate::Request::Join).
    #[error("a rank was asked for an operation before it was told to join a group")]
    NotJoined,
    /// The rank is not another rank of the group.
    #[error("rank {rank} cannot exchange messages with rank {peer} in a group of {ranks}")]
    Peer {
        /// This rank.
        rank: usize,
        /// The rank requested.
        peer: usize,
        /// Ranks in the group.
        ranks: usize,
    },
}

impl Error {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotJaccl { .. } => Some("build it again".to_owned()),
            _ => None,
        }
    }

    /// The message with its causes, for a report that keeps the text only.
    pub fn with_cause(&self) -> String {
        use std::error::Error as _;
        match self.source() {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}
