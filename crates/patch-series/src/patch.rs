//! One patch file: its fields, and what it claims to change.

use std::{fs, path::PathBuf, str::FromStr};

use pins::Series;
use store::sha256;

use crate::{
    Header,
    error::{Error, IoContext, Result},
    fields::REQUIRED,
    proof::{self, CheckProof, Proof},
};

/// Why a patch is in the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Lets jaccl compile and run; changes no behaviour.
    Portability,
    /// Changes what a collective does.
    Fix,
}

/// One patch file.
#[derive(Debug, Clone)]
pub struct Patch {
    /// The file's name without `.patch`.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// From `X-Class`.
    pub class: Class,
    /// The DEP-3 fields.
    pub header: Header,
}

impl FromStr for Class {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "portability" => Ok(Class::Portability),
            "fix" => Ok(Class::Fix),
            other => Err(format!("X-Class is {other:?}; it is portability or fix")),
        }
    }
}

impl Class {
    /// Whether a series has the patches of this class.
    pub(crate) fn is_in(self, series: Series) -> bool {
        series == Series::Patched || self == Class::Portability
    }
}

impl Patch {
    pub(crate) fn load(file: PathBuf) -> Result<Self> {
        let bytes = fs::read(&file).at("read", &file)?;
        let header = Header::parse(&String::from_utf8_lossy(&bytes));
        for (field, meaning) in REQUIRED {
            if header.get(field).is_empty() {
                let problem = format!("the DEP-3 field {field} is missing ({meaning})");
                return Err(Error::malformed(file, problem));
            }
        }
        let class = header
            .get("X-Class")
            .parse()
            .map_err(|problem: String| Error::malformed(&file, problem))?;
        Ok(Patch {
            name: file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            sha256: sha256(&bytes),
            file,
            class,
            header,
        })
    }

    /// The first line of the description.
    pub fn summary(&self) -> &str {
        let description = self.header.get("Description");
        description.lines().next().unwrap_or_default()
    }

    /// What `X-Verdicts` says a fix changes, one proof a line, each held to `check`.
    /// What a portability patch says there is for people, so it has none.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the line that is no proof, or for a fix that
    /// has none.
    pub fn proofs(&self, check: CheckProof<'_>) -> Result<Vec<Proof>> {
        if self.class == Class::Portability {
            return Ok(Vec::new());
        }
        let proofs = self
            .header
            .lines(proof::FIELD)
            .map(|(number, line)| {
                Proof::checked(line, check).map_err(|problem| {
                    Error::malformed(&self.file, format!("line {number}: {problem}"))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        if proofs.is_empty() {
            let problem = format!(
                "a fix needs {}, one line a proof: {}",
                proof::FIELD,
                proof::FORM
            );
            return Err(Error::malformed(&self.file, problem));
        }
        Ok(proofs)
    }
}
