//! Measures jaccl's collectives over emulated cables, in the words of nccl-tests: size,
//! count, type, time, algbw, busbw, #wrong.
//!
//! A [`Cell`](cells::Cell) is one operation at one point: backend, ranks, cables, frame
//! mode, bytes, dtype. Its ranks are processes that drive a real jaccl without MLX, which
//! [`rail_verify::group`] starts and watches. Several builds are measured in turns, so
//! that whatever slows this machine down slows all of them alike, and a [`Row`] of each
//! says how its time compares with the first build's:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (patched, tuned): (rail_verify::run::Variant, rail_verify::run::Variant) = todo!();
//! # let programs: rail_verify::group::Programs = todo!();
//! use collectives::{Cells, Meter, Options};
//!
//! let cells = Cells::parse("--op all_sum --backend ring --cables 3 --bytes 8KiB")?;
//! let meter = Meter {
//!     programs: &programs,
//!     launcher: &launch::Launcher::default(),
//!     progress: &launch::Silent,
//!     meter: None,
//!     rig: None,
//! };
//! let measured = meter.measure(&[patched, tuned], &cells, &Options::default())?;
//! for row in &measured.rows {
//!     println!("{}: {:?}", row.series, row.ratio);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What a time is
//! Of a collective: from call to call of it, back to back, the mean of all ranks, as
//! nccl-tests has it. Of a message: half a round trip, so that the receiver has it. Ranks
//! prepare their buffers before and compare every byte of the first and the last call of
//! a turn afterwards.
//!
//! # Bandwidths
//! [`bandwidth`] has the formulas of nccl-tests.

#![forbid(unsafe_code)]

pub mod bandwidth;
pub mod cells;
pub mod foreign;
mod gain;
mod measure;
pub mod op;
pub mod options;
pub mod report;
mod row;

pub use cells::Cells;
pub use gain::compared;
pub use measure::{MeasureError, Measured, Meter};
pub use op::Op;
pub use options::Options;
pub use row::{Ratio, Row, Times};
