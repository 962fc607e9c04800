//! One patch file: its fields, and what it claims to change.

use std::{fs, path::PathBuf, str::FromStr};

use pins::Series;
use store::sha256;

use crate::{
    Header,
    error::{Error, IoContext, Result},
    fields::REQUIRED,
    gain::{self, CheckGain, Gain},
    proof::{self, CheckProof, Proof},
};

/// The field that says why a patch is in the series.
pub(crate) const CLASS: &str = "X-Class";

/// Why a patch is in the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Lets jaccl compile and run; changes no behaviour.
    Portability,
    /// Mends what a collective does.
    Fix,
    /// Makes a collective faster.
    Performance,
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
        let named = Self::ALL.into_iter().find(|class| class.name() == name);
        named.ok_or_else(|| {
            let known = Self::ALL.map(Class::name).join(", ");
            format!("{CLASS} is {name:?}; it is one of {known}")
        })
    }
}

impl Class {
    /// All of them, in the order in which a series has their patches.
    pub const ALL: [Class; 3] = [Class::Portability, Class::Fix, Class::Performance];

    /// The value of `X-Class`.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Portability => "portability",
            Class::Fix => "fix",
            Class::Performance => "performance",
        }
    }

    /// A patch of this class, in words.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Class::Portability => "portability patch",
            Class::Fix => "fix",
            Class::Performance => "performance patch",
        }
    }

    /// Whether a series has the patches of this class.
    pub(crate) fn is_in(self, series: Series) -> bool {
        let first = match self {
            Class::Portability => Series::Stock,
            Class::Fix => Series::Patched,
            Class::Performance => Series::Tuned,
        };
        first <= series
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
            .get(CLASS)
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
    /// What a portability patch says there is for people, and a performance patch proves
    /// itself by its [gains](Patch::gains), so neither has any.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the line that is no proof, or for a fix that
    /// has none.
    pub fn proofs(&self, check: CheckProof<'_>) -> Result<Vec<Proof>> {
        match self.class {
            Class::Portability | Class::Performance => Ok(Vec::new()),
            Class::Fix => self.lines((proof::FIELD, proof::FORM), |line| {
                Proof::checked(line, check)
            }),
        }
    }

    /// What `X-Gain` says a performance patch gains, one measurement a line, each held to
    /// `check`. Other patches have none.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the line that is no gain, or for a performance patch that
    /// has none.
    pub fn gains(&self, check: CheckGain<'_>) -> Result<Vec<Gain>> {
        match self.class {
            Class::Portability | Class::Fix => Ok(Vec::new()),
            Class::Performance => {
                self.lines((gain::FIELD, gain::FORM), |line| Gain::checked(line, check))
            }
        }
    }

    /// The lines of a field by which a patch of its class proves itself.
    fn lines<T>(
        &self,
        (field, form): (&str, &str),
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>> {
        let lines = self
            .header
            .lines(field)
            .map(|(number, line)| {
                read(line).map_err(|problem| {
                    Error::malformed(&self.file, format!("line {number}: {problem}"))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        if lines.is_empty() {
            let patch = self.class.noun();
            let problem = format!("a {patch} needs {field}, one line a proof: {form}");
            return Err(Error::malformed(&self.file, problem));
        }
        Ok(lines)
    }
}
