//! The device matrix, and jaccl's rules for it.

use serde::{Serialize, Serializer};

use crate::{Backend, MAX_RAILS, counts::Counts};

/// The devices on each rank towards each other rank, aligned by rail: index `k`
/// of cell `(i, j)` and of cell `(j, i)` are the two ends of one cable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    devices: Vec<Vec<Vec<String>>>,
    cables: Vec<Vec<Vec<String>>>,
}

impl Matrix {
    /// A matrix without devices.
    pub(crate) fn empty(ranks: usize) -> Self {
        Self {
            devices: vec![vec![vec![]; ranks]; ranks],
            cables: vec![vec![vec![]; ranks]; ranks],
        }
    }

    /// Adds a rail between two ranks: the device on the first, on the second, and the
    /// cable that joins them.
    pub(crate) fn push(&mut self, [i, j]: [usize; 2], [on_i, on_j]: [&str; 2], cable: String) {
        self.devices[i][j].push(on_i.to_owned());
        self.devices[j][i].push(on_j.to_owned());
        self.cables[i][j].push(cable.clone());
        self.cables[j][i].push(cable);
    }

    /// The number of ranks: rows, and columns.
    pub fn ranks(&self) -> usize {
        self.devices.len()
    }

    /// Every [`cell`](Self::cell), row by row.
    pub fn devices(&self) -> &[Vec<Vec<String>>] {
        &self.devices
    }

    /// The cables of every cell, row by row, as [`rails`](Self::rails) gives them.
    pub fn cables(&self) -> &[Vec<Vec<String>>] {
        &self.cables
    }

    /// The devices on rank `i` towards rank `j`, by rail. Empty on the diagonal and where
    /// there is no cable.
    ///
    /// # Panics
    /// If `i` or `j` is not a rank.
    pub fn cell(&self, i: usize, j: usize) -> &[String] {
        &self.devices[i][j]
    }

    /// The cables between ranks `i` and `j`, by rail. The same in both orders.
    ///
    /// # Panics
    /// If `i` or `j` is not a rank.
    pub fn rails(&self, i: usize, j: usize) -> &[String] {
        &self.cables[i][j]
    }

    /// Whether jaccl's ring can run: every rank has as many devices towards its left
    /// neighbour as towards its right, and all ranks have the same number.
    ///
    /// Like `Config::is_valid_ring` in `jaccl.cpp`, except that jaccl accepts a matrix of
    /// empty cells as a ring and this requires at least one device.
    pub fn is_valid_ring(&self) -> bool {
        let counts = Counts::of(&self.devices);
        counts.is_valid_ring() && (1..=MAX_RAILS).contains(&counts.at(0, 1))
    }

    /// Whether jaccl's mesh can run: every rank has a device towards every other, as
    /// `Config::is_valid_mesh` in `jaccl.cpp` requires. Up to MLX 0.32.1 the mesh uses
    /// only the first device of a cell.
    pub fn is_valid_mesh(&self) -> bool {
        Counts::of(&self.devices).is_valid_mesh()
    }

    /// The backend that jaccl makes of the matrix with `MLX_JACCL_RING` set or unset, as
    /// in `init` in `jaccl.cpp`: a ring if one is requested and valid, else a mesh if
    /// that is valid, else a ring if that is valid. `None` if it forms no group.
    pub fn backend(&self, ring_variable: bool) -> Option<Backend> {
        Counts::of(&self.devices).backend(ring_variable)
    }

    /// The JSON that jaccl reads from the file named by `MLX_IBV_DEVICES`.
    pub fn to_jaccl_json(&self) -> String {
        serde_json::to_string(self).expect("a matrix is arrays of strings")
    }
}

impl Serialize for Matrix {
    /// Arrays of arrays of device names, `[]` for an empty cell.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.devices.serialize(serializer)
    }
}
