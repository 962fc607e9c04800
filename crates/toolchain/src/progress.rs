//! How long work reports on itself: as in `launch`.

pub use launch::{Progress, Silent};
