//! Affine quantisation, `mlx.core.quantize` with mode "affine".
#![allow(unsafe_code, clippy::missing_errors_doc)]

use std::ffi::CStr;

use mlx_sys::{mlx_optional_dtype, mlx_optional_int};

use crate::{
    Array, Choices, Error, Result,
    call::{ArrayVector, op, optional, status},
    device::Stream,
};

const AFFINE: &CStr = c"affine";

/// How a matrix is quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    group_size: i32,
    bits: i32,
}

impl Scheme {
    const GROUP_SIZES: [i32; 3] = [32, 64, 128];
    const BITS: [i32; 5] = [2, 3, 4, 6, 8];

    /// `group_size` neighbours of a row share a scale and a bias; each element
    /// has `bits` bits of its own.
    ///
    /// # Errors
    /// The group size is not 32, 64 or 128, or the bits are not 2, 3, 4, 6 or 8. MLX
    /// itself also accepts 5 bits and then throws on the stream's thread
    /// (`mlx/backend/cpu/quantized.cpp`), which would end the process.
    pub fn new(group_size: i32, bits: i32) -> Result<Self> {
        if !Self::GROUP_SIZES.contains(&group_size) {
            return Err(Error::new(format!(
                "[quantize] a group of {group_size} is not one of {:?}",
                Self::GROUP_SIZES
            )));
        }
        if !Self::BITS.contains(&bits) {
            return Err(Error::new(format!(
                "[quantize] {bits} bits is not one of {:?}",
                Self::BITS
            )));
        }
        Ok(Self { group_size, bits })
    }

    /// The number of neighbours in a row that share a scale and a bias.
    pub fn group_size(self) -> i32 {
        self.group_size
    }

    /// Bits per element.
    pub fn bits(self) -> i32 {
        self.bits
    }

    fn raw_group_size(self) -> mlx_optional_int {
        mlx_optional_int {
            value: self.group_size,
            has_value: true,
        }
    }

    fn raw_bits(self) -> mlx_optional_int {
        mlx_optional_int {
            value: self.bits,
            has_value: true,
        }
    }
}

/// A matrix of which every element is `scale * q + bias`, with an integer `q`
/// of few bits and a scale and bias for each group of a row.
#[derive(Debug, Clone)]
pub struct QuantizedMatrix {
    weight: Array,
    scales: Array,
    biases: Array,
    scheme: Scheme,
}

impl QuantizedMatrix {
    /// Quantises a matrix (rows, columns). Groups lie within rows, so
    /// quantising a slice of whole groups equals slicing the quantised matrix.
    ///
    /// # Errors
    /// The scheme's groups do not divide the rows.
    pub fn quantize(matrix: &Array, scheme: Scheme) -> Result<Self> {
        let stream = Stream::of_default_device()?;
        let mut parts = ArrayVector::null();
        status(|| {
            // SAFETY: live handles and a static string; `parts` receives the list that is
            // made.
            unsafe {
                mlx_sys::mlx_quantize(
                    parts.as_mut_ptr(),
                    matrix.raw(),
                    scheme.raw_group_size(),
                    scheme.raw_bits(),
                    AFFINE.as_ptr(),
                    optional(None),
                    stream.raw(),
                )
            }
        })?;
        Ok(Self {
            weight: parts.get(0)?,
            scales: parts.get(1)?,
            biases: parts.get(2)?,
            scheme,
        })
    }

    /// A matrix that is quantised already: `weight` has the integers of each row in words
    /// of 32 bits, the first in the lowest bits, and each group of them an element in
    /// `scales` and one in `biases`.
    ///
    /// An operation on it fails if the shapes do not fit each other or the scheme.
    pub fn from_parts(weight: Array, scales: Array, biases: Array, scheme: Scheme) -> Self {
        Self {
            weight,
            scales,
            biases,
            scheme,
        }
    }

    /// The chosen rows, dequantised, of a table of embeddings.
    ///
    /// # Errors
    /// An index may be out of range, or MLX refuses the shapes.
    pub fn rows(&self, choices: &Choices) -> Result<Array> {
        let rows = Self {
            weight: self.weight.take_axis(choices, 0)?,
            scales: self.scales.take_axis(choices, 0)?,
            biases: self.biases.take_axis(choices, 0)?,
            scheme: self.scheme,
        };
        rows.dequantize()
    }

    /// `x` times this matrix transposed: (..., columns) to (..., rows).
    pub fn matmul_transposed(&self, x: &Array) -> Result<Array> {
        op!(mlx_quantized_matmul(
            x.raw(),
            self.weight.raw(),
            self.scales.raw(),
            self.biases.raw(),
            true,
            self.scheme.raw_group_size(),
            self.scheme.raw_bits(),
            AFFINE.as_ptr(),
        ))
    }

    /// As [`Array::matmul_chosen`], of a stack of matrices of which each is (outputs, inputs).
    pub fn matmul_chosen(&self, x: &Array, choices: &Choices) -> Result<Array> {
        for stack in self.arrays() {
            choices.check_stack(stack)?;
        }
        op!(mlx_gather_qmm(
            x.raw(),
            self.weight.raw(),
            self.scales.raw(),
            self.biases.raw(),
            optional(None),
            choices.indices().raw(),
            true,
            self.scheme.raw_group_size(),
            self.scheme.raw_bits(),
            AFFINE.as_ptr(),
            choices.is_sorted(),
        ))
    }

    /// The dequantised matrix, in the type of the scales.
    pub fn dequantize(&self) -> Result<Array> {
        let same_dtype = mlx_optional_dtype {
            value: self.scales.dtype().raw(),
            has_value: false,
        };
        op!(mlx_dequantize(
            self.weight.raw(),
            self.scales.raw(),
            self.biases.raw(),
            self.scheme.raw_group_size(),
            self.scheme.raw_bits(),
            AFFINE.as_ptr(),
            optional(None),
            same_dtype,
        ))
    }

    /// The arrays to compute so that the first use of the matrix is not delayed.
    pub fn arrays(&self) -> [&Array; 3] {
        [&self.weight, &self.scales, &self.biases]
    }
}
