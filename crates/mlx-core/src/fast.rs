//! The fused operations of `mlx/fast.h`.
#![allow(unsafe_code, clippy::missing_errors_doc)]

use mlx_sys::mlx_optional_float;

use crate::{
    Array, Result,
    call::{op, optional},
};

/// Root mean square normalisation of the last dimension (arXiv:1910.07467):
/// `x / sqrt(mean(x^2) + eps) * weight`.
pub fn rms_norm(x: &Array, weight: Option<&Array>, eps: f32) -> Result<Array> {
    op!(mlx_fast_rms_norm(x.raw(), optional(weight), eps))
}

/// Rotary positional encoding (arXiv:2104.09864) of `x`, whose last two
/// dimensions are position and feature. The first row has position `offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// The number of features that are rotated.
    pub dims: i32,
    /// Whether a pair consists of neighbours; otherwise its features are half the number
    /// of features apart, as in Qwen and Llama.
    pub traditional: bool,
    /// Feature pair `k` is rotated by `base^(-2k/dims)` radians a position.
    pub base: f32,
}

impl Rope {
    /// `x` with every row rotated by its position.
    pub fn apply(&self, x: &Array, offset: i32) -> Result<Array> {
        let base = mlx_optional_float {
            value: self.base,
            has_value: true,
        };
        op!(mlx_fast_rope(
            x.raw(),
            self.dims,
            self.traditional,
            base,
            1.0,
            offset,
            optional(None),
        ))
    }

    /// `x` with every row rotated by its position, in place of `base` by `1 / periods[k]`
    /// radians a position for feature pair `k`.
    pub fn apply_by_periods(&self, x: &Array, offset: i32, periods: &Array) -> Result<Array> {
        let no_base = mlx_optional_float {
            value: 0.0,
            has_value: false,
        };
        op!(mlx_fast_rope(
            x.raw(),
            self.dims,
            self.traditional,
            no_base,
            1.0,
            offset,
            periods.raw(),
        ))
    }
}

/// The keys that a query attends to.
#[derive(Debug, Clone, Copy)]
pub enum Mask<'a> {
    /// All of them.
    None,
    /// The keys of its own and earlier positions; the last query has the position of the
    /// last key.
    Causal,
    /// Added to the scores, or, if boolean, selects the keys where it is true.
    Array(&'a Array),
}

/// `softmax(scale * queries * keys^T + mask) * values` (arXiv:1706.03762). All
/// have the shape (batch, heads, positions, features); the number of query
/// heads is a multiple of that of the key and value heads (arXiv:2305.13245).
pub fn scaled_dot_product_attention(
    queries: &Array,
    keys: &Array,
    values: &Array,
    scale: f32,
    mask: Mask<'_>,
) -> Result<Array> {
    let (mode, mask) = match mask {
        Mask::None => (c"", None),
        Mask::Causal => (c"causal", None),
        Mask::Array(mask) => (c"array", Some(mask)),
    };
    op!(rails_scaled_dot_product_attention(
        queries.raw(),
        keys.raw(),
        values.raw(),
        scale,
        mode.as_ptr(),
        optional(mask),
        optional(None),
    ))
}
