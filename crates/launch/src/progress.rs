//! How long-running work reports its progress.

/// Receives the progress of a library. The library prints nothing itself. An
/// implementation need only handle steps and notes.
pub trait Progress: Send + Sync {
    /// A step begins, for example `("Building", "MLX 0.31.2 (patched)")`.
    fn step(&self, verb: &str, what: &str);

    /// The current step is at `done` of `total`, counted in `what`. A `total` of 0 means
    /// that the step has no known end.
    fn advance(&self, done: u64, total: u64, what: &str) {
        let _ = (done, total, what);
    }

    /// The current step has ended.
    fn finish(&self) {}

    /// A remark that stays on the screen.
    fn note(&self, text: &str);
}

/// Discards all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _verb: &str, _what: &str) {}
    fn note(&self, _text: &str) {}
}
