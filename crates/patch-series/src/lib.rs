//! The life of a patch: which patches, in which order, and what they make of a tree.
//!
//! `patches/<version>/series` lists patch files, one a line. Each starts with
//! DEP-3 fields (<https://dep-team.pages.debian.net/deps/dep3/>) and is applied
//! by git. `X-Class: portability` marks what jaccl needs to exist on a platform
//! at all; it is part of every series, and inert on macOS. `X-Class: performance` marks
//! what makes jaccl faster; it is part of the tuned series alone, and stands last, so that
//! the patched series is a beginning of it.
//!
//! A [`Workshop`] does everything that is done with them. It gets the pinned sources by
//! [`Fetch`], and puts the patched ones into the store. It knows neither where sources come
//! from nor what is built of them.

#![forbid(unsafe_code)]

mod add;
mod apply;
mod error;
mod fetch;
mod fields;
mod gain;
pub mod git;
mod header;
mod lifecycle;
mod lint;
mod order;
mod origin;
mod patch;
mod patch_tree;
mod proof;
mod publish;
mod repository;
mod snapshot;
mod stack;
mod state;
mod trial;
mod working_copy;
mod workshop;

pub use add::{Added, Fate, Moved, NewPin};
pub use apply::Sides;
pub use error::{Error, Kind, Result};
pub use fetch::{Fetch, FetchError, SourceTree};
pub use gain::{CheckGain, Gain, GainError};
pub use header::Header;
pub use lifecycle::{Editable, Refreshed};
pub use lint::Problem;
pub use patch::{Class, Patch};
pub use proof::{CheckProof, Checks, Proof};
pub use publish::Exported;
pub use state::State;
pub use trial::{Check, Trial, Tried};
pub use workshop::Workshop;
