//! What a long step tells the person waiting for it.

/// Receives the steps of a fetch, patch or build as they happen.
///
/// The library never prints: a command line draws bars, a build script stays
/// silent, a test collects.
pub trait Progress: Send + Sync {
    /// A step begins, for example `Building` `MLX 0.31.2 (patched)`.
    fn step(&self, verb: &str, what: &str);

    /// The current step did `done` of `total` units; `what` names the unit.
    fn advance(&self, done: u64, total: u64, what: &str) {
        let _ = (done, total, what);
    }

    /// The current step ended.
    fn finish(&self) {}

    /// Something worth knowing that is no step: why a build is not current,
    /// that another process holds a lock.
    fn note(&self, text: &str);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: &str, _: &str) {}
    fn note(&self, _: &str) {}
}
