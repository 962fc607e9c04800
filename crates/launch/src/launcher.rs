//! What every process of a command is started with.

use std::sync::Arc;

use crate::{cancel::Cancel, guardian::Guardian};

/// The caller's wish to stop, and the guardian of all that is started.
///
/// The guardian is a small shell beside the launching process. It knows the process groups
/// that run, and reads a pipe that nobody but the launching process holds open. When that
/// process ends without having ended its children (SIGKILL, a panic that aborts, a second
/// Ctrl-C), the pipe closes, and the guardian sends SIGTERM and then SIGKILL to the groups.
/// It is started with the first process. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Launcher {
    cancel: Cancel,
    pub(crate) guardian: Arc<Guardian>,
}

impl Launcher {
    /// A launcher whose processes end when `cancel` is set.
    pub fn new(cancel: Cancel) -> Self {
        Launcher {
            cancel,
            guardian: Arc::default(),
        }
    }

    /// The caller's wish to stop.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}
