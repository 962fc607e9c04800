//! A weight matrix, plain or quantised.

use mlx_core::{
    Array, Result, eval,
    quant::{QuantizedMatrix, Scheme},
};

/// Maps (..., inputs) to (..., outputs).
#[derive(Debug)]
pub(crate) enum Linear {
    Dense(Array),
    Quantized(QuantizedMatrix),
}

impl Linear {
    /// From a matrix (outputs, inputs), ready to use.
    pub(crate) fn new(matrix: &Array, scheme: Option<Scheme>) -> Result<Self> {
        match scheme {
            None => {
                eval(&[matrix])?;
                matrix.transpose(&[1, 0]).map(Self::Dense)
            }
            Some(scheme) => {
                let matrix = QuantizedMatrix::quantize(matrix, scheme)?;
                eval(&matrix.arrays())?;
                Ok(Self::Quantized(matrix))
            }
        }
    }

    /// The arrays that it consists of.
    pub(crate) fn arrays(&self) -> Vec<&Array> {
        match self {
            Self::Dense(matrix) => vec![matrix],
            Self::Quantized(matrix) => matrix.arrays().into(),
        }
    }

    pub(crate) fn apply(&self, x: &Array) -> Result<Array> {
        match self {
            Self::Dense(matrix) => x.matmul(matrix),
            Self::Quantized(matrix) => matrix.matmul_transposed(x),
        }
    }
}
