//! How long work reports on itself.

/// Hears what a library does. The library prints nothing itself.
pub trait Progress: Send + Sync {
    /// A step begins, for example `("Building", "MLX 0.31.2 (patched)")`.
    fn step(&self, verb: &str, what: &str);

    /// The current step is `done` of `total` along, counted in `what`. A `total` of 0 is
    /// that of a step without an end of its own.
    fn advance(&self, done: u64, total: u64, what: &str);

    /// The current step is done.
    fn finish(&self);

    /// A remark that stays on the screen.
    fn note(&self, text: &str);
}

/// Reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _verb: &str, _what: &str) {}
    fn advance(&self, _done: u64, _total: u64, _what: &str) {}
    fn finish(&self) {}
    fn note(&self, _text: &str) {}
}
