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

pub use header::Header;
pub use lifecycle::{Editable, Refreshed};
pub use lint::Problem;
pub use patch::{Class, Patch};
pub use proof::{CheckProof, Proof};
pub use publish::Exported;
pub use state::State;
pub use trial::{Check, Trial, Tried};
