//! The output array of `ibv_poll_cq`.

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

    /// Fills entries from `next`, until it returns `None` or no entry is left.
    pub fn fill(&mut self, mut next: impl FnMut() -> Option<ibv::ibv_wc>) {
        for entry in &mut self.entries[self.filled..] {
            let Some(completion) = next() else {
                return;
            };
            entry.write(completion);
            self.filled += 1;
        }
    }
}
