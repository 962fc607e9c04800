//! What a cell of the benchmark should take, though nobody has run it.
//!
//! Three things are known: for each rank the time of a process without cables ([`Alone`]), the
//! time of each of jaccl's messages over the cell's cables (measured by the caller, in virtual
//! time if need be), and the fence: what a collective costs before and after jaccl has it. The
//! rest is arithmetic:
//!
//! ```text
//! Model ─▶ Work     what a rank reads and computes ─┐
//!       ─▶ Shape    layers, bytes of an activation ─▶ Message, so many of each ─▶ Cell::predict
//! LoneRank or bench.json ─▶ Alone ──────────────────┘                              │
//! bench.json ─▶ the measured cells beside the predicted ones ◀──────────── Report ◀─┘
//! ```
//!
//! A report of the benchmark shows the same beside its own cells: [`Prediction::beside`].
//!
//! # The model of a cell
//! - **TP.** Each rank has its share of the cut matrices and all of the others. A token is
//!   what the rank takes by itself, and two `all_sum`s a layer, each with a fence.
//!   Prefill is the same for each of its steps, with longer messages. The slowest rank
//!   decides, and each sum waits for the greatest deviation of any rank.
//! - **PP.** A token passes all ranks one after another: one `send` a boundary between two
//!   ranks, and one `all_gather`, after which all ranks choose the token at the same time. In
//!   prefill a rank computes a step while the next rank computes the one before.
//! - Computation is proportional to the bytes of the weights that are read: of a mixture of
//!   experts, those that a token takes. Where a process with the whole model was measured,
//!   what a layer costs however small its share is, such as the start of its kernels, is
//!   divided too: the best case of TP. A process with a rank's own share has this cost.
//! - Of a prompt the head is computed for the last token alone, and so is the last layer but
//!   for its keys and values. A rank of PP that sends on computes all that it has.
//! - Messages and computation do not overlap.
//!
//! Times are in seconds.

#![forbid(unsafe_code)]

mod cell;
pub mod measured;
mod messages;
pub mod published;
pub mod report;
mod work;

pub use cell::{Alone, Cell, Parts, Prediction};
pub use measured::Measured;
pub use messages::{Call, Message, Shape, steps};
pub use report::{Report, Row, Timed};
pub use work::Work;
