//! One rank of the benchmark: a decoder on MLX, whole or split over ranks, that reports its
//! events in the protocol of [`rail_bench::protocol`]. The model is a preset of Qwen3's shape,
//! with weights from a seed, or a folder with a model of the families Llama, Qwen3, Qwen3-MoE
//! and Qwen3-Next, as mlx-lm reads it.
//!
//! The messages are those that exo's placements issue:
//!
//! | strategy | a layer       | a prefill chunk or token                           |
//! |----------|---------------|----------------------------------------------------|
//! | TP       | 2 all-reduces | none                                               |
//! | PP       | none          | a send to the next rank; an all-gather of one row  |
//!
//! The all-reduces have every position of a step. Those of the last layer have the last one
//! alone, since nothing else is needed of it, and in a step that is not the prompt's last there
//! are none.
//!
//! Of a token's computation, the first layer begins before the token before it is read (on a
//! GPU all layers do); see [`Session::follow`].
//!
//! # Why equal tokens are a fair requirement
//! This is about presets. Real weights give no such promise for TP. PP computes what a single
//! process does in the same order, so there its tokens are required too.
//!
//! The model computes in 32-bit floats, and every rank generates the same weights, so a
//! strategy can differ from a single process in one way only: the order of additions. TP
//! adds partial sums of `o_proj` and `down_proj` that one process adds in one go, and a
//! matrix product of another shape may be blocked differently. Such a difference is a few
//! units of 2^-24 of the summed values, and after a handful of layers it is near 1e-6 of
//! the logits. A token changes only if the two greatest logits are closer than that, and
//! every run reports how close they came: `min_margin`, relative to the greatest logit's
//! magnitude. Weights that separate logits well ([`weights`]) keep it orders of magnitude
//! above rounding, so a differing token means a wrong message, not noise.
//!
//! With quantised weights the same holds: shards lie on the boundaries of groups, so
//! every rank's weights are exactly those of the single process. bfloat16 rounds every
//! activation to 8 bits; there the requirement is not fair.

pub mod collective;
mod decoder;
mod generate;
mod job;
mod linear;
pub mod passes;
mod share;
mod tensors;
pub mod weights;

pub use generate::{Choice, Next, Session};
pub use job::run;
pub use share::Share;
pub use tensors::LoadError;
