//! The series of a pin.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{ObjectId, Pin};

/// Which patches of a pin are applied. Each series is a beginning of the next one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Series {
    /// Upstream's behaviour: only what lets jaccl compile on this platform.
    Stock,
    /// That, and the fixes: what upstream would accept as such.
    #[default]
    Patched,
    /// Everything: the patches too that make jaccl faster.
    Tuned,
}

impl Series {
    /// All of them, the one with the fewest patches first.
    pub const ALL: [Series; 3] = [Series::Stock, Series::Patched, Series::Tuned];

    /// `stock`, `patched` or `tuned`.
    pub const fn name(self) -> &'static str {
        match self {
            Series::Stock => "stock",
            Series::Patched => "patched",
            Series::Tuned => "tuned",
        }
    }

    /// The tree that the pin records for it.
    pub fn recorded(self, pin: &Pin) -> ObjectId {
        pin.recorded.trees.of(self)
    }

    /// Which tree of this series the pin records: the N of a wheel's version. Stock has
    /// none but 0.
    pub fn revision(self, pin: &Pin) -> u32 {
        match self {
            Series::Stock => 0,
            Series::Patched => pin.recorded.revision,
            Series::Tuned => pin.recorded.tuned_revision,
        }
    }
}

/// The tree that each series gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trees {
    /// With only what the platform needs.
    pub stock: ObjectId,
    /// With the fixes.
    pub patched: ObjectId,
    /// With every patch.
    pub tuned: ObjectId,
}

impl Trees {
    /// The same tree for every series.
    pub const fn all(tree: ObjectId) -> Self {
        Trees {
            stock: tree,
            patched: tree,
            tuned: tree,
        }
    }

    /// The tree of one series.
    pub const fn of(&self, series: Series) -> ObjectId {
        match series {
            Series::Stock => self.stock,
            Series::Patched => self.patched,
            Series::Tuned => self.tuned,
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
        Self::ALL
            .into_iter()
            .find(|series| series.name() == name)
            .ok_or_else(|| {
                format!(
                    "unknown series {name:?}; there are {}",
                    Self::ALL.map(Series::name).join(", ")
                )
            })
    }
}
