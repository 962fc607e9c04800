//! Patch series: which patches, in which order, and what they make of a tree.
//!
//! `patches/<version>/series` lists patch files, one a line. Each starts with
//! DEP-3 fields (<https://dep-team.pages.debian.net/deps/dep3/>) and is applied
//! by git. `X-Class: portability` marks what jaccl needs to exist on a platform
//! at all; it is part of both series, and inert on macOS.

mod apply;
mod fields;
mod git;
mod header;
mod lifecycle;
mod lint;
mod order;
mod origin;
mod patch;
mod proof;
mod publish;
mod repository;
mod snapshot;
mod stack;
mod state;
mod trial;
mod working_copy;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{pin::Pin, tree::ObjectId};
pub use header::Header;
pub use lifecycle::{Editable, Refreshed};
pub use lint::Problem;
pub use patch::{Class, Patch};
pub use proof::{CheckProof, Proof};
pub use publish::Exported;
pub use state::State;
pub use trial::{Check, Trial, Tried};

/// Which patches of a pin are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Series {
    /// Upstream's behaviour: only what lets jaccl compile on this platform.
    Stock,
    /// Everything.
    #[default]
    Patched,
}

impl Series {
    /// `stock` or `patched`.
    pub fn name(self) -> &'static str {
        match self {
            Series::Stock => "stock",
            Series::Patched => "patched",
        }
    }

    fn includes(self, class: Class) -> bool {
        self == Series::Patched || class == Class::Portability
    }

    fn recorded(self, pin: &Pin) -> ObjectId {
        match self {
            Series::Stock => pin.recorded.stock,
            Series::Patched => pin.recorded.patched,
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Series {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "stock" => Ok(Series::Stock),
            "patched" => Ok(Series::Patched),
            _ => Err(format!(
                "unknown series {name:?}; there are stock and patched"
            )),
        }
    }
}
