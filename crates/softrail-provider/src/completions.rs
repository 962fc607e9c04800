//! Where `ibv_poll_cq` puts its answers.

use std::mem::MaybeUninit;

use super::bindings as ibv;

/// The application's array of completions, and how much of it is filled.
#[derive(Debug)]
pub struct Completions<'a> {
    entries: &'a mut [MaybeUninit<ibv::ibv_wc>],
    filled: usize,
}

impl<'a> Completions<'a> {
    pub fn new(entries: &'a mut [MaybeUninit<ibv::ibv_wc>]) -> Self {
        Completions { entries, filled: 0 }
    }

    pub fn filled(&self) -> usize {
        self.filled
    }

    pub fn is_full(&self) -> bool {
        self.filled == self.entries.len()
    }

    /// Fills the next entry. There must be one.
    pub fn push(&mut self, completion: ibv::ibv_wc) {
        self.entries[self.filled].write(completion);
        self.filled += 1;
    }
}
