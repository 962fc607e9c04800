//! `X-Verdicts`: which selection of `cargo xtask verify` shows what a fix does.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// The field that holds the proofs of a fix.
pub(crate) const FIELD: &str = "X-Verdicts";

/// What a proof looks like.
pub(crate) const FORM: &str =
    "`BEFORE -> pass: FLAGS`, for example `hang -> pass: --op recv --backend ring --ranks 2`";

/// Verdicts of `cargo xtask verify` that a fix may turn into pass.
const DEFECTS: [&str; 5] = ["hang", "wrong", "overrun", "crash", "error"];

/// Flags of `cargo xtask verify` that select cases.
const SELECTORS: [&str; 10] = [
    "--op",
    "--backend",
    "--ranks",
    "--wires",
    "--bytes",
    "--dtype",
    "--frames",
    "--direction",
    "--in-place",
    "--seed",
];

/// A selection of cases that fail without a patch and pass with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The verdict without the patch: hang, wrong, overrun, crash or error.
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
        if !DEFECTS.contains(&before) {
            return Err(format!(
                "{before:?} is not what a fix mends; there are {}",
                DEFECTS.join(", ")
            ));
        }
        // As a shell would take them: `verify` prints a direction in quotes.
        let flags = shlex::split(flags).ok_or_else(malformed)?;
        if flags.first().is_none_or(|first| !first.starts_with("--")) {
            return Err(malformed());
        }
        let unknown =
            |flag: &&String| flag.starts_with("--") && !SELECTORS.contains(&flag.as_str());
        if let Some(unknown) = flags.iter().find(unknown) {
            return Err(format!(
                "{unknown:?} selects no cases; there are {}",
                SELECTORS.join(", ")
            ));
        }
        Ok(Proof {
            before: before.to_owned(),
            flags,
        })
    }
}

/// As it stands in the field.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> pass: {}", self.before, for_shell(&self.flags))
    }
}

/// The words as one line of a shell, in which `0->1` would be a redirection.
pub(super) fn for_shell<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let words = words.into_iter().map(String::as_str);
    let joined = shlex::Quoter::new().allow_nul(true).join(words);
    joined.unwrap_or_default()
}
