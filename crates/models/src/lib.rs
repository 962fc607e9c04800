//! Models as folders: what mlx-lm reads, how tensor parallelism cuts it, and where folders
//! come from. Nothing here links MLX or computes with a model.
//!
//! ```text
//! "org/name" ──resolve──▶ folder ──Folder::open──▶ Config, tensors ──shares──▶ slices, bytes
//! "smollm2"  ──smollm2──▶ folder ──Tokenizer::open──▶ text ⇄ token ids
//! ```
//!
//! - [`Folder`] reads `config.json` and the heads of all safetensors files. It finds a file
//!   that is absent or cut off before anybody loads gigabytes.
//! - [`family`] has the families that the engine in Rust knows, and the one table of how a
//!   family is cut: data that this crate reads, and that an engine in Python reads as well.
//! - [`smollm2`] makes a real model of a file from the package index.
//! - [`tiny`] writes small models with random weights, for the tests of engines.
//! - [`resolve()`] finds a model by the name that a user gives.

#![forbid(unsafe_code)]

mod config;
mod digest;
mod error;
pub mod family;
mod folder;
pub mod gguf;
mod resolve;
mod share;
pub mod smollm2;
mod tensors;
pub mod tiny;
mod tokenizer;
mod write;

pub use config::{Config, DeltaNet, Experts, Llama3Scaling, Quantisation, Quantised, RopeScaling};
pub use error::{Error, Result};
pub use family::Family;
pub use folder::Folder;
pub use resolve::{Caches, Found, resolve};
pub use share::{Part, Share};
pub use tensors::{Dtype, Tensor};
pub use tokenizer::Tokenizer;
