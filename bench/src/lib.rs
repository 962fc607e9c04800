//! The benchmark: one process a rank over a rig, cell by cell, watched,
//! measured and checked.
//!
//! This library links no MLX. The ranks it starts do; see [`protocol`].

pub mod model;
pub mod protocol;
