//! What a pin is: an exact MLX by its git tree id, and the files below `patches/` that
//! say so.
//!
//! ```text
//! patches/<version>/
//!   pin.toml      the tag, the tree ids, the transports, what each series gives
//!   mlx.lst       every file of MLX, as `git ls-tree -r` prints it
//!   mlx-c.lst     every file of the mlx-c that belongs to it
//!   series        which patches, in which order
//!   *.patch
//!   wheels.sha256 the official wheels, as `sha256sum` prints it
//!   mlx-c/        the same for mlx-c: its series and its patches
//! ```
//!
//! This crate reads and writes these files, and hashes folders as git does. It starts no
//! process, knows no store and reaches no network.

#![forbid(unsafe_code)]

mod error;
pub mod journal;
mod official;
mod pin;
mod series;
pub mod tree;

pub use error::{Error, Kind, Result};
pub use official::{OfficialWheel, WHEELS_FILE};
pub use pin::{Crate, MLX_C, PIN_FILE, Part, Pin, Recorded, SourcePin, Upstream, version};
pub use series::{Series, Trees};
pub use tree::{Listing, ObjectId};

/// The pin that is meant when none is named: the newest release that carries
/// the ring recv defect, which is what exo's own pin descends from.
pub const DEFAULT_PIN: &str = "0.31.2";
