//! What every process of a command is started with.

use crate::cancel::Cancel;

/// Starts processes that end when the caller wishes to stop. Clones share the wish.
#[derive(Debug, Clone, Default)]
pub struct Launcher {
    cancel: Cancel,
}

impl Launcher {
    /// A launcher whose processes end when `cancel` is set.
    pub fn new(cancel: Cancel) -> Self {
        Launcher { cancel }
    }

    /// The caller's wish to stop.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}
