//! Element types.
#![allow(unsafe_code)]

use mlx_sys::{mlx_array, mlx_dtype};

/// The type of an array's elements, as in `mlx/dtype.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Dtype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Float16,
    Float32,
    Float64,
    Bfloat16,
    Complex64,
}

impl Dtype {
    const ALL: [(Self, mlx_dtype); 14] = [
        (Self::Bool, mlx_sys::MLX_BOOL),
        (Self::Uint8, mlx_sys::MLX_UINT8),
        (Self::Uint16, mlx_sys::MLX_UINT16),
        (Self::Uint32, mlx_sys::MLX_UINT32),
        (Self::Uint64, mlx_sys::MLX_UINT64),
        (Self::Int8, mlx_sys::MLX_INT8),
        (Self::Int16, mlx_sys::MLX_INT16),
        (Self::Int32, mlx_sys::MLX_INT32),
        (Self::Int64, mlx_sys::MLX_INT64),
        (Self::Float16, mlx_sys::MLX_FLOAT16),
        (Self::Float32, mlx_sys::MLX_FLOAT32),
        (Self::Float64, mlx_sys::MLX_FLOAT64),
        (Self::Bfloat16, mlx_sys::MLX_BFLOAT16),
        (Self::Complex64, mlx_sys::MLX_COMPLEX64),
    ];

    pub(crate) fn raw(self) -> mlx_dtype {
        Self::ALL[self as usize].1
    }

    pub(crate) fn from_raw(raw: mlx_dtype) -> Self {
        Self::ALL
            .into_iter()
            .find(|(_, code)| *code == raw)
            .unwrap_or_else(|| panic!("mlx-c has an element type {raw} that is unknown here"))
            .0
    }

    /// Bytes per element.
    pub fn size(self) -> usize {
        // SAFETY: a pure function of a number that mlx-c defines.
        unsafe { mlx_sys::mlx_dtype_size(self.raw()) }
    }
}

/// A Rust type with the same bits as an array's element.
pub trait Element: Copy + 'static + sealed::Raw {
    /// The element type in MLX.
    const DTYPE: Dtype;
}

pub(crate) mod sealed {
    use mlx_sys::mlx_array;

    /// Access to the elements, in a private module so that no other crate can implement
    /// it for a type that MLX does not have.
    pub trait Raw: Sized {
        /// The first element of an array.
        ///
        /// # Safety
        /// `array` is a live handle of an evaluated array whose type is
        /// `Self::DTYPE`.
        unsafe fn data(array: mlx_array) -> *const Self;
    }
}

macro_rules! element {
    ($($rust:ty, $dtype:ident, $data:ident;)*) => {$(
        impl Element for $rust {
            const DTYPE: Dtype = Dtype::$dtype;
        }

        impl sealed::Raw for $rust {
            unsafe fn data(array: mlx_array) -> *const Self {
                // SAFETY: the caller guarantees what mlx-c requires.
                unsafe { mlx_sys::$data(array) }
            }
        }
    )*};
}

element! {
    u8, Uint8, mlx_array_data_uint8;
    u32, Uint32, mlx_array_data_uint32;
    i32, Int32, mlx_array_data_int32;
    i64, Int64, mlx_array_data_int64;
    f32, Float32, mlx_array_data_float32;
}
