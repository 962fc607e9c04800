//! The two series of a pin.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{ObjectId, Pin};

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

    /// The tree that the pin records for it.
    pub fn recorded(self, pin: &Pin) -> ObjectId {
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
