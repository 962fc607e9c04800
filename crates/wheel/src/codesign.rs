//! The signature of a Mach-O library.
//!
//! macOS on Apple silicon loads no library without one. A linker signs *ad hoc*: the
//! signature names nobody, and holds a hash of each page, against which the kernel holds
//! every page that it loads (Apple, TN3126 "Inside Code Signing: Hashes"; the layout is that
//! of `cs_blobs.h` in xnu).

use object::{BigEndian, Endianness, macho, read::macho::CodeSignature};
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    macho::Dylib,
};

/// What a library is signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name that it was signed by.
    pub identifier: String,
    /// Whether it names nobody.
    pub ad_hoc: bool,
    /// Pages whose hash is another one.
    pub wrong_pages: Vec<u32>,
    /// Bytes before the signature that no hash covers.
    pub uncovered: u64,
}

impl Signature {
    /// Whether the kernel would load the library's pages.
    pub fn holds(&self) -> bool {
        self.wrong_pages.is_empty() && self.uncovered == 0
    }
}

/// The library's signature, if it has one.
///
/// # Errors
/// When it cannot be read.
pub fn signature(library: &Dylib) -> Result<Option<Signature>> {
    let Some(command) = library.signature_command()? else {
        return Ok(None);
    };
    let damaged = |problem| Error::library(&library.name, problem);
    let range = (
        command.dataoff.get(Endianness::Little) as usize,
        command.datasize.get(Endianness::Little) as usize,
    );
    let bytes = library.content().get(range.0..range.0 + range.1);
    let bytes = bytes.ok_or_else(|| damaged("its signature lies outside of it".to_owned()))?;
    let read = CodeSignature::parse(bytes).map_err(|error| damaged(error.to_string()))?;
    let mut blobs = read.blobs();
    while let Some(blob) = blobs.next().map_err(|error| damaged(error.to_string()))? {
        let directory = (blob.code_directory()).map_err(|error| damaged(error.to_string()))?;
        let Some(directory) = directory else {
            continue;
        };
        let header = directory.header();
        if header.hash_type != macho::CS_HASHTYPE_SHA256 {
            continue;
        }
        let limit = directory.code_limit();
        let covered = library.content().get(..limit as usize).unwrap_or_default();
        let pages = covered.chunks(1 << header.page_size);
        let mut wrong_pages = Vec::new();
        for (index, page) in (0..).zip(pages) {
            let expected = directory.code_hash(index).unwrap_or_default();
            if expected != Sha256::digest(page).as_slice() {
                wrong_pages.push(index);
            }
        }
        let identifier = directory.ident().unwrap_or_default();
        return Ok(Some(Signature {
            identifier: String::from_utf8_lossy(identifier).into_owned(),
            ad_hoc: header.flags.get(BigEndian).contains(macho::CS_ADHOC),
            wrong_pages,
            uncovered: (range.0 as u64).abs_diff(limit),
        }));
    }
    Err(damaged("its signature has no hashes of SHA-256".to_owned()))
}
