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

    /// Fills entries with what `next` gives, until that is nothing or none are left.
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
