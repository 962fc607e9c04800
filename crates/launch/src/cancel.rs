//! The caller's wish to stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Set once, by a signal handler for example; everything that holds a clone then stops.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

/// The caller asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Cancel {
    /// Asks everything that holds a clone to stop. Gives whether it had been asked before.
    pub fn cancel(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether the caller asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends a `?` chain when the caller asked to stop.
    ///
    /// # Errors
    /// [`Interrupted`] then.
    pub fn check(&self) -> Result<(), Interrupted> {
        match self.is_cancelled() {
            true => Err(Interrupted),
            false => Ok(()),
        }
    }
}
