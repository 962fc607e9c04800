//! The context with which a command starts all of its processes.

use crate::cancel::Cancel;

/// Starts processes that end when the caller asks to stop. Clones share the stop flag.
#[derive(Debug, Clone, Default)]
pub struct Launcher {
    cancel: Cancel,
}

impl Launcher {
    /// A launcher whose processes end when `cancel` is set.
    pub fn new(cancel: Cancel) -> Self {
        Launcher { cancel }
    }

    /// The caller's stop flag.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}
