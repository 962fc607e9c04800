//! The memory of MLX's arrays.
#![allow(unsafe_code)]

use crate::{Result, call::status};

/// The most bytes that the arrays of this process took at one time.
///
/// # Errors
/// What MLX reports.
pub fn peak_memory() -> Result<usize> {
    let mut bytes = 0;
    status(|| {
        // SAFETY: a live number to write to.
        unsafe { mlx_sys::mlx_get_peak_memory(&mut bytes) }
    })?;
    Ok(bytes)
}

/// Gives back what arrays that are gone took, which MLX keeps for others where it has a GPU.
///
/// # Errors
/// What MLX reports.
pub fn clear_cache() -> Result<()> {
    // SAFETY: no arguments.
    status(|| unsafe { mlx_sys::mlx_clear_cache() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Array, Dtype, eval};

    #[test]
    fn the_peak_holds_an_array_that_is_gone() -> Result<()> {
        let array = Array::zeros(&[1 << 20], Dtype::Float32)?;
        eval(&[&array.add(&array)?])?;
        drop(array);
        assert!(peak_memory()? >= 4 << 20);
        Ok(())
    }
}
