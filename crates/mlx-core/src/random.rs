//! Random numbers that depend on a key alone (`mlx/random.h`), so that every rank draws
//! the same numbers.
#![allow(unsafe_code, clippy::missing_errors_doc)]

use crate::{
    Array, Dtype, Result,
    call::{array, op},
};

/// Determines the result of a draw. Two draws with the same key give the same result.
#[derive(Debug, Clone)]
pub struct Key(Array);

impl Key {
    /// The key for a seed.
    pub fn new(seed: u64) -> Result<Self> {
        array(|out| {
            // SAFETY: a live handle to write to, and a number.
            unsafe { mlx_sys::mlx_random_key(out, seed) }
        })
        .map(Self)
    }

    /// Normally distributed numbers with mean 0 and the given deviation.
    pub fn normal(&self, shape: &[i32], deviation: f32, dtype: Dtype) -> Result<Array> {
        op!(mlx_random_normal(
            shape.as_ptr(),
            shape.len(),
            dtype.raw(),
            0.0,
            deviation,
            self.0.raw(),
        ))
    }
}
