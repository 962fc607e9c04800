//! `X-Verdicts`: which selection of `cargo xtask verify` shows what a fix does.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::gain::CheckGain;

/// The field that holds the proofs of a fix.
pub(crate) const FIELD: &str = "X-Verdicts";

/// What a proof looks like.
pub(crate) const FORM: &str =
    "`BEFORE -> pass: FLAGS`, for example `hang -> pass: --op recv --backend ring --ranks 2`";

/// Says what is wrong with a proof, for the reader of its verdict and its flags: this
/// crate knows their form and nothing of what `cargo xtask verify` understands.
pub type CheckProof<'a> = &'a dyn Fn(&Proof) -> Result<(), String>;

/// Says what is wrong with the lines by which patches prove themselves.
#[derive(Clone, Copy)]
pub struct Checks<'a> {
    /// With one of a fix.
    pub proof: CheckProof<'a>,
    /// With one of a performance patch.
    pub gain: CheckGain<'a>,
}

impl Checks<'static> {
    /// Holds them to their form alone.
    pub const FORM: Self = Checks {
        proof: &|_| Ok(()),
        gain: &|_| Ok(()),
    };
}

/// A selection of cases that fail without a patch and pass with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The verdict without the patch.
    pub before: String,
    /// The flags of `cargo xtask verify` that select the cases.
    pub flags: Vec<String>,
}

impl FromStr for Proof {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let malformed = || format!("{line:?} is no proof; expected {FORM}");
        let (verdicts, flags) = line.split_once(": ").ok_or_else(malformed)?;
        let (before, after) = verdicts.split_once(" -> ").ok_or_else(malformed)?;
        if after != "pass" {
            return Err(malformed());
        }
        // As a shell would take them: `verify` prints a direction in quotes.
        let flags = shlex::split(flags).ok_or_else(malformed)?;
        if flags.first().is_none_or(|first| !first.starts_with("--")) {
            return Err(malformed());
        }
        Ok(Proof {
            before: before.to_owned(),
            flags,
        })
    }
}

impl Proof {
    /// Reads a line of the field, and has it checked.
    pub(crate) fn checked(line: &str, check: CheckProof<'_>) -> Result<Self, String> {
        let proof: Proof = line.parse()?;
        check(&proof)?;
        Ok(proof)
    }
}

/// As it stands in the field.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> pass: {}", self.before, for_shell(&self.flags))
    }
}

/// The words as one line of a shell, in which `0->1` would be a redirection.
pub(crate) fn for_shell<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let words = words.into_iter().map(String::as_str);
    let joined = shlex::Quoter::new().allow_nul(true).join(words);
    joined.unwrap_or_default()
}
