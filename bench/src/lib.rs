//! The benchmark: one process for each rank over a rig, cell by cell, watched, measured
//! and checked.
//!
//! ```text
//! Options ── Plan ── run ──┬─ cabling   cables for the cell, counted
//!                          ├─ hosts     the nodes, if they are other machines
//!                          ├─ launch    one process a rank, under a watchdog
//!                          ├─ checks    what must hold: tokens, logits, needles
//!                          ├─ verdict   a cell's, by its checks and its reference
//!                          ├─ lines     a line a launch, and a run that goes on from them
//!                          ├─ drift     the last repeats against the first
//!                          ├─ report    figures with their samples
//!                          └─ baseline  an earlier report beside it
//! ```
//!
//! [`Plan::new`] finds every error that can be found beforehand; [`run`](run()) executes
//! the plan. The library does not link MLX. The ranks it starts do: each is a program of an
//! [`engine`], and uses the [`protocol`].

pub mod alone;
pub mod baseline;
pub mod cabling;
pub mod checks;
mod drift;
pub mod dry_run;
pub mod engine;
pub mod hosts;
mod judge;
pub mod launch;
mod launched;
pub mod lines;
mod meter;
pub mod model;
pub mod plan;
pub mod progress;
pub mod protocol;
pub mod reference;
pub mod report;
mod run;
pub mod seeded;
pub mod sweep;
pub mod verdict;
pub mod workload;

pub use launched::Launched;
pub use plan::{AfterHang, Options, Plan, Settings, Text};
pub use report::{BuildInfo, Report};
pub use run::{Harness, Measured, RunError, run};
pub use workload::Workload;
