//! Indices into arrays. MLX checks the range of none, on any device; a [`Choices`] is in
//! range by how it was made.
#![allow(unsafe_code, clippy::missing_errors_doc)]

use crate::{
    Array, Error, Result,
    call::{op, optional},
};

/// Indices that are known to be in a range.
#[derive(Debug, Clone)]
pub struct Choices {
    indices: Array,
    below: i32,
    is_sorted: bool,
}

/// Choices in their own order, so that equal ones are next to each other: each matrix that
/// is chosen then meets all its rows at once.
#[derive(Debug, Clone)]
pub struct Grouped {
    /// The choices, sorted.
    pub choices: Choices,
    /// Of each sorted choice, the row that it was made for.
    pub rows: Choices,
    /// Of each choice in its former place, where it is among the sorted ones.
    pub places: Choices,
}

impl Choices {
    /// Indices of the host.
    ///
    /// # Errors
    /// One is not below `below`, or MLX is out of memory.
    pub fn new(indices: &[u32], below: i32) -> Result<Self> {
        let is_in_range = |index: u32| i64::from(index) < i64::from(below);
        if let Some(index) = indices.iter().find(|&&index| !is_in_range(index)) {
            return Err(Error::new(format!(
                "[choices] index {index} is out of range, which ends below {below}"
            )));
        }
        let indices = Array::from_slice(indices, &[indices.len() as i32])?;
        Ok(Self::known(indices, below))
    }

    fn known(indices: Array, below: i32) -> Self {
        Self {
            indices,
            below,
            is_sorted: false,
        }
    }

    /// Refuses an axis that not every index is in.
    fn check(&self, array: &Array, axis: usize) -> Result<()> {
        match array.shape().get(axis) {
            Some(&length) if length >= self.below => Ok(()),
            _ => Err(Error::new(format!(
                "[choices] indices below {} are out of range for axis {axis} of shape {:?}",
                self.below,
                array.shape()
            ))),
        }
    }

    /// Refuses a stack of matrices that not every index is in.
    pub(crate) fn check_stack(&self, stack: &Array) -> Result<()> {
        self.check(stack, 0)
    }

    /// The indices.
    pub fn indices(&self) -> &Array {
        &self.indices
    }

    /// Whether the indices ascend.
    pub(crate) fn is_sorted(&self) -> bool {
        self.is_sorted
    }

    /// The number of indices.
    pub fn len(&self) -> usize {
        self.indices.size()
    }

    /// Whether there is no index.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorts the choices. The last dimension has the choices of one row, and the dimensions
    /// before it count the rows.
    pub fn grouped(&self) -> Result<Grouped> {
        let of_row = self.indices.shape().last().copied().unwrap_or(1).max(1);
        let flat = self.indices.reshape(&[-1])?;
        let count = flat.dim(0);
        let order = op!(mlx_argsort_axis(flat.raw(), -1))?;
        let places = op!(mlx_argsort_axis(order.raw(), -1))?;
        let divisor = Array::scalar(of_row as u32)?;
        let rows = op!(mlx_floor_divide(order.raw(), divisor.raw()))?;
        // Each is in range because the orders are permutations of all choices.
        let sorted = op!(mlx_take_axis(flat.raw(), order.raw(), 0))?;
        Ok(Grouped {
            choices: Self {
                is_sorted: true,
                ..Self::known(sorted, self.below)
            },
            rows: Self::known(rows, count / of_row),
            places: Self::known(places, count),
        })
    }
}

impl Array {
    /// Where the greatest element of the last dimension is, the first of equals.
    pub fn place_of_greatest(&self) -> Result<Choices> {
        let indices = op!(mlx_argmax_axis(self.raw(), -1, false))?;
        let below = self.shape().last().copied().unwrap_or_default();
        Ok(Choices::known(indices, below))
    }

    /// The `k` greatest elements of the last dimension, in no particular order, and where
    /// they are. Without dimensions there are none.
    pub fn greatest(&self, k: i32) -> Result<(Choices, Array)> {
        let last = self.ndim() as i32 - 1;
        let below = self.shape().last().copied().unwrap_or_default();
        let sorted = op!(mlx_argpartition_axis(self.raw(), -k, -1))?;
        let indices = sorted.slice_axis(last.max(0) as usize, below - k, below)?;
        let values = op!(mlx_take_along_axis(self.raw(), indices.raw(), -1))?;
        Ok((Choices::known(indices, below), values))
    }

    /// What is chosen along `axis`. With axis 0 and a table of embeddings: the rows of the
    /// chosen tokens.
    pub fn take_axis(&self, choices: &Choices, axis: usize) -> Result<Array> {
        choices.check(self, axis)?;
        op!(mlx_take_axis(
            self.raw(),
            choices.indices.raw(),
            axis as i32
        ))
    }

    /// The product of the last two dimensions with a matrix (inputs, outputs) of the stack
    /// `matrices` for each choice. Of this array (..., rows, inputs) and choices of a shape
    /// that its first dimensions broadcast to.
    pub fn matmul_chosen(&self, matrices: &Array, choices: &Choices) -> Result<Array> {
        choices.check_stack(matrices)?;
        op!(mlx_gather_mm(
            self.raw(),
            matrices.raw(),
            optional(None),
            choices.indices.raw(),
            choices.is_sorted,
        ))
    }
}
