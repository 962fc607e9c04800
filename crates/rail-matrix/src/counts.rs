//! The group that jaccl makes of a matrix, by the number of devices in its cells.

use crate::Backend;

/// The number of devices in each cell of a square matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    ranks: usize,
    counts: Vec<usize>,
}

impl Counts {
    pub fn of(devices: &[Vec<Vec<String>>]) -> Self {
        Self {
            ranks: devices.len(),
            counts: devices.iter().flatten().map(Vec::len).collect(),
        }
    }

    pub fn ranks(&self) -> usize {
        self.ranks
    }

    pub fn at(&self, i: usize, j: usize) -> usize {
        self.counts[i * self.ranks + j]
    }

    /// The ranks to the left and to the right on a ring; the same rank if there are two.
    pub fn neighbours(&self, rank: usize) -> [usize; 2] {
        [rank + self.ranks - 1, rank + 1].map(|peer| peer % self.ranks)
    }

    /// Like `Config::is_valid_ring` in `jaccl.cpp`, which also accepts a ring without
    /// devices.
    pub fn is_valid_ring(&self) -> bool {
        let equal = |rank| {
            let mut peers = self.neighbours(rank).into_iter();
            peers.all(|peer| self.at(rank, peer) == self.at(0, 1))
        };
        self.ranks >= 2 && (0..self.ranks).all(equal)
    }

    /// Like `Config::is_valid_mesh` in `jaccl.cpp`.
    pub fn is_valid_mesh(&self) -> bool {
        let full = |i| (0..self.ranks).all(|j| (i == j) == (self.at(i, j) == 0));
        self.ranks >= 2 && (0..self.ranks).all(full)
    }

    /// The backend that `init` in `jaccl.cpp` makes of it, with `MLX_JACCL_RING` set or
    /// unset. `None` if it forms no group.
    pub fn backend(&self, ring_variable: bool) -> Option<Backend> {
        match (self.is_valid_ring(), self.is_valid_mesh()) {
            (true, _) if ring_variable => Some(Backend::Ring),
            (_, true) => Some(Backend::Mesh),
            (true, false) => Some(Backend::Ring),
            (false, false) => None,
        }
    }
}
