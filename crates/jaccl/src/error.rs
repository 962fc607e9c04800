use std::path::PathBuf;

/// What can go wrong in loading or driving jaccl.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shared library cannot be opened.
    #[error("cannot open the jaccl build {}", path.display())]
    Open {
        /// Where it should be.
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
    /// jaccl refused, in its own words.
    #[error("{0}")]
    Jaccl(String),
    /// A string for jaccl holds a NUL.
    #[error("the {what} '{value}' contains a NUL character, which jaccl cannot be given")]
    Nul {
        /// `coordinator` or `device file`.
        what: &'static str,
        /// The string.
        value: String,
    },
    /// The output has another length than the operation gives.
    #[error("{operation} of {input} bytes gives {expected}, but the output has {output}")]
    Length {
        /// The operation.
        operation: &'static str,
        /// Bytes put in.
        input: usize,
        /// Bytes that come out.
        expected: usize,
        /// Bytes there is room for.
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
    /// The bytes do not begin where an element may.
    #[error("the {dtype} elements begin at an address that is not a multiple of {align}")]
    Misaligned {
        /// The element type.
        dtype: crate::Dtype,
        /// What its addresses are multiples of.
        align: usize,
    },
    /// An operation before [`Request::Join`](crate::Request::Join).
    #[error("a rank was asked for an operation before it was told to join a group")]
    NotJoined,
    /// Not another rank of the group.
    #[error("rank {rank} cannot exchange messages with rank {peer} in a group of {ranks}")]
    Peer {
        /// This rank.
        rank: usize,
        /// The one asked for.
        peer: usize,
        /// Ranks in the group.
        ranks: usize,
    },
}

impl Error {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotJaccl { .. } => Some("build it again".to_owned()),
            _ => None,
        }
    }

    /// The message with its cause, for a report that keeps the text alone.
    pub fn with_cause(&self) -> String {
        use std::error::Error as _;
        match self.source() {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}
