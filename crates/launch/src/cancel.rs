//! The caller's stop flag.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Set once, by a signal handler for example. Everything that holds a clone then stops.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

/// The caller asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Cancel {
    /// Asks everything that holds a clone to stop. Returns whether it had been asked
    /// before.
    pub fn cancel(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether the caller asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends a `?` chain if the caller asked to stop.
    ///
    /// # Errors
    /// [`Interrupted`] in that case.
    pub fn check(&self) -> Result<(), Interrupted> {
        match self.is_cancelled() {
            true => Err(Interrupted),
            false => Ok(()),
        }
    }
}
