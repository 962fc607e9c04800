//! jaccl's two modes: how ranks are joined, and how long its frames are.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One of jaccl's two ways of joining ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A mesh: every rank is joined with every other.
    Mesh,
    /// A ring: every rank is joined with its two neighbours.
    Ring,
}

impl Backend {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Mesh, Self::Ring];

    /// `mesh` or `ring`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Ring => "ring",
        }
    }
}

/// One of jaccl's two frame modes (`JACCL_BIG_FRAMES`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Frames {
    /// 4 KiB.
    #[default]
    Small,
    /// The largest power of two from 4 to 512 KiB that the message fills, as on macOS
    /// 26.3 and later.
    Big,
}

impl Frames {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Small, Self::Big];

    /// `small` or `big`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Big => "big",
        }
    }
}

/// The error for a word that is not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}; the values are {known}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: String,
}

macro_rules! named {
    ($($type:ty, $what:literal;)*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                let named = Self::ALL.into_iter().find(|value| value.name() == name);
                named.ok_or_else(|| UnknownName {
                    what: $what,
                    name: name.to_owned(),
                    known: Self::ALL.map(Self::name).join(", "),
                })
            }
        }
    )*};
}

named! {
    Backend, "backend";
    Frames, "frame mode";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_serialised_as_it_is_shown() {
        for backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(backend));
            assert_eq!(serde_json::json!(backend), backend.to_string());
        }
        for frames in Frames::ALL {
            assert_eq!(frames.name().parse(), Ok(frames));
            assert_eq!(serde_json::json!(frames), frames.to_string());
        }
    }

    #[test]
    fn an_unknown_name_gets_the_known_ones() {
        let error = "torus".parse::<Backend>().expect_err("no such backend");
        assert_eq!(
            error.to_string(),
            "unknown backend \"torus\"; the values are mesh, ring"
        );
        let error = "huge".parse::<Frames>().expect_err("no such mode");
        assert!(error.to_string().ends_with("small, big"), "{error}");
    }
}
