//! Operations of `mlx/ops.h`. Shapes broadcast and types promote as there. An operation
//! fails only if MLX refuses its operands.
#![allow(unsafe_code, clippy::missing_errors_doc)]

use crate::{
    Array, Dtype, Result,
    call::{ArrayVector, op},
};

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

    /// Element-wise `-x`.
    pub fn negative(&self) -> Result<Array> {
        op!(mlx_negative(self.raw()))
    }

    /// Element-wise exponential function.
    pub fn exp(&self) -> Result<Array> {
        op!(mlx_exp(self.raw()))
    }

    /// Element-wise `ln(1 + exp(x))`, as `mlx.nn.softplus`.
    pub fn softplus(&self) -> Result<Array> {
        let zero = Array::zeros(&[], self.dtype())?;
        op!(mlx_logaddexp(self.raw(), zero.raw()))
    }

    /// Element-wise product with a number of the same type.
    pub fn scaled(&self, factor: f32) -> Result<Array> {
        self.multiply(&Array::scalar(factor)?.astype(self.dtype())?)
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

    /// The `k` greatest elements along `axis`, in no particular order.
    pub fn topk_axis(&self, k: i32, axis: i32) -> Result<Array> {
        op!(mlx_topk_axis(self.raw(), k, axis))
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

    /// This array with `update` in the place of the elements from `start` up to but not
    /// including `stop`, each with one entry for each dimension. If nothing else refers to
    /// this array's content when the result is computed, it is changed in place.
    pub fn slice_update(&self, update: &Array, start: &[i32], stop: &[i32]) -> Result<Array> {
        let strides = vec![1; start.len()];
        op!(mlx_slice_update(
            self.raw(),
            update.raw(),
            start.as_ptr(),
            start.len(),
            stop.as_ptr(),
            stop.len(),
            strides.as_ptr(),
            strides.len(),
        ))
    }

    /// Each entry of `axis` this many times, one after the other.
    pub fn repeat_axis(&self, times: i32, axis: i32) -> Result<Array> {
        op!(mlx_repeat_axis(self.raw(), times, axis))
    }

    /// Convolution of each channel for itself, without padding: (batch, positions, channels)
    /// with a kernel (channels, length, 1).
    pub fn conv1d_by_channel(&self, kernel: &Array) -> Result<Array> {
        let channels = self.shape().last().copied().unwrap_or_default();
        let (stride, padding, dilation) = (1, 0, 1);
        op!(mlx_conv1d(
            self.raw(),
            kernel.raw(),
            stride,
            padding,
            dilation,
            channels,
        ))
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

/// `arrays` of the same shape, one after the other along a new dimension `axis`.
pub fn stack(arrays: &[&Array], axis: i32) -> Result<Array> {
    let arrays = ArrayVector::new(arrays)?;
    op!(mlx_stack_axis(arrays.raw(), axis))
}
