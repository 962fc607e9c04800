//! Operations of `mlx/ops.h`. Shapes broadcast and types promote as there. An operation
//! fails only if MLX refuses its operands.
#![allow(unsafe_code, clippy::missing_errors_doc)]

use crate::{
    Array, Dtype, Result,
    call::{ArrayVector, op, optional},
};

/// Indices that are known to be in a range, because MLX checks none.
#[derive(Debug, Clone)]
pub struct Choices {
    indices: Array,
    below: i32,
}

impl Choices {
    /// Refuses a stack of matrices that not every index is in.
    pub(crate) fn check(&self, stack: &Array) -> Result<()> {
        match stack.shape().first() {
            Some(&length) if length >= self.below => Ok(()),
            _ => Err(crate::Error::new(format!(
                "[choices] indices below {} are out of range for a stack of shape {:?}",
                self.below,
                stack.shape()
            ))),
        }
    }

    pub(crate) fn indices(&self) -> &Array {
        &self.indices
    }
}

impl Array {
    /// Zeros of a shape and type.
    pub fn zeros(shape: &[i32], dtype: Dtype) -> Result<Array> {
        op!(mlx_zeros(shape.as_ptr(), shape.len(), dtype.raw()))
    }

    /// `start`, `start + 1`, ... up to but not including `stop`.
    pub fn arange(start: i32, stop: i32, dtype: Dtype) -> Result<Array> {
        op!(mlx_arange(
            f64::from(start),
            f64::from(stop),
            1.0,
            dtype.raw()
        ))
    }

    /// Element-wise sum.
    pub fn add(&self, other: &Array) -> Result<Array> {
        op!(mlx_add(self.raw(), other.raw()))
    }

    /// Element-wise difference.
    pub fn subtract(&self, other: &Array) -> Result<Array> {
        op!(mlx_subtract(self.raw(), other.raw()))
    }

    /// Element-wise product.
    pub fn multiply(&self, other: &Array) -> Result<Array> {
        op!(mlx_multiply(self.raw(), other.raw()))
    }

    /// Element-wise quotient.
    pub fn divide(&self, other: &Array) -> Result<Array> {
        op!(mlx_divide(self.raw(), other.raw()))
    }

    /// Element-wise absolute value.
    pub fn abs(&self) -> Result<Array> {
        op!(mlx_abs(self.raw()))
    }

    /// Element-wise logistic function.
    pub fn sigmoid(&self) -> Result<Array> {
        op!(mlx_sigmoid(self.raw()))
    }

    /// Element-wise `x * sigmoid(x)`, the activation of SwiGLU
    /// (arXiv:2002.05202).
    pub fn silu(&self) -> Result<Array> {
        self.multiply(&self.sigmoid()?)
    }

    /// Matrix product of the last two dimensions.
    pub fn matmul(&self, other: &Array) -> Result<Array> {
        op!(mlx_matmul(self.raw(), other.raw()))
    }

    /// Sum over `axis`.
    pub fn sum_axis(&self, axis: i32, keep_dims: bool) -> Result<Array> {
        op!(mlx_sum_axis(self.raw(), axis, keep_dims))
    }

    /// Mean of all elements.
    pub fn mean(&self) -> Result<Array> {
        op!(mlx_mean(self.raw(), false))
    }

    /// Greatest of all elements.
    pub fn max(&self) -> Result<Array> {
        op!(mlx_max(self.raw(), false))
    }

    /// Index of the greatest element along `axis`, the first of equals, as
    /// [`Dtype::Uint32`].
    pub fn argmax_axis(&self, axis: i32) -> Result<Array> {
        op!(mlx_argmax_axis(self.raw(), axis, false))
    }

    /// The `k` greatest elements along `axis`, in no particular order.
    pub fn topk_axis(&self, k: i32, axis: i32) -> Result<Array> {
        op!(mlx_topk_axis(self.raw(), k, axis))
    }

    /// The `k` greatest elements of the last dimension, in no particular order, and where
    /// they are. Without dimensions there are none.
    pub fn greatest(&self, k: i32) -> Result<(Choices, Array)> {
        let last = self.ndim() as i32 - 1;
        let below = self.shape().last().copied().unwrap_or_default();
        let sorted = op!(mlx_argpartition_axis(self.raw(), -k, -1))?;
        let indices = sorted.slice_axis(last.max(0) as usize, below - k, below)?;
        let values = op!(mlx_take_along_axis(self.raw(), indices.raw(), -1))?;
        Ok((Choices { indices, below }, values))
    }

    /// The product of the last two dimensions with a matrix (inputs, outputs) of the stack
    /// `matrices` for each choice. Of this array (..., rows, inputs) and choices of a shape
    /// that its first dimensions broadcast to.
    pub fn matmul_chosen(&self, matrices: &Array, choices: &Choices) -> Result<Array> {
        choices.check(matrices)?;
        op!(mlx_gather_mm(
            self.raw(),
            matrices.raw(),
            optional(None),
            choices.indices.raw(),
            false,
        ))
    }

    /// Softmax along `axis`; `precise` accumulates in 32 bits whatever the type.
    pub fn softmax_axis(&self, axis: i32, precise: bool) -> Result<Array> {
        op!(mlx_softmax_axis(self.raw(), axis, precise))
    }

    /// The same elements in another shape; one length may be -1.
    pub fn reshape(&self, shape: &[i32]) -> Result<Array> {
        op!(mlx_reshape(self.raw(), shape.as_ptr(), shape.len()))
    }

    /// Dimension `k` of the result is dimension `axes[k]` of this array.
    pub fn transpose(&self, axes: &[i32]) -> Result<Array> {
        op!(mlx_transpose_axes(self.raw(), axes.as_ptr(), axes.len()))
    }

    /// Elements from `start` up to but not including `stop`, each with one entry for each
    /// dimension; negative entries count from the end.
    pub fn slice(&self, start: &[i32], stop: &[i32]) -> Result<Array> {
        let strides = vec![1; start.len()];
        op!(mlx_slice(
            self.raw(),
            start.as_ptr(),
            start.len(),
            stop.as_ptr(),
            stop.len(),
            strides.as_ptr(),
            strides.len(),
        ))
    }

    /// Elements `start..stop` of one dimension, and all of the others.
    ///
    /// # Panics
    /// There is no dimension `axis`.
    pub fn slice_axis(&self, axis: usize, start: i32, stop: i32) -> Result<Array> {
        let mut starts = vec![0; self.ndim()];
        let mut stops = self.shape().to_vec();
        starts[axis] = start;
        stops[axis] = stop;
        self.slice(&starts, &stops)
    }

    /// Entries `indices` of dimension `axis`. With axis 0 and a table of embeddings: the
    /// rows of those tokens. MLX does not check the range of indices on any device, so
    /// this wrapper takes them from the host and checks them.
    pub fn take_axis(&self, indices: &[u32], axis: usize) -> Result<Array> {
        let length = self.shape().get(axis).copied().unwrap_or(0) as u32;
        if let Some(index) = indices.iter().find(|&&index| index >= length) {
            return Err(crate::Error::new(format!(
                "[take_axis] index {index} is out of range for axis {axis} of shape {:?}",
                self.shape()
            )));
        }
        let indices = Array::from_slice(indices, &[indices.len() as i32])?;
        op!(mlx_take_axis(self.raw(), indices.raw(), axis as i32))
    }

    /// The same values as another type.
    pub fn astype(&self, dtype: Dtype) -> Result<Array> {
        op!(mlx_astype(self.raw(), dtype.raw()))
    }

    /// The same elements, dense and in row-major order.
    pub fn contiguous(&self) -> Result<Array> {
        op!(mlx_contiguous(self.raw(), false))
    }
}

/// `arrays` joined along `axis`.
pub fn concatenate(arrays: &[&Array], axis: i32) -> Result<Array> {
    let arrays = ArrayVector::new(arrays)?;
    op!(mlx_concatenate_axis(arrays.raw(), axis))
}
