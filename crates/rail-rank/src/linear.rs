//! Weight matrices, plain or quantised.

use mlx_core::{
    Array, Choices, Result, eval,
    quant::{QuantizedMatrix, Scheme},
};

/// A matrix (outputs, inputs), or a stack of them, in memory.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// Its elements, and a view of them that maps inputs to outputs.
    Dense {
        rows: Array,
        turned: Array,
    },
    Quantized(QuantizedMatrix),
}

impl Matrix {
    /// The matrix with these elements.
    pub(crate) fn dense(rows: Array) -> Result<Self> {
        eval(&[&rows])?;
        let mut axes: Vec<i32> = (0..rows.ndim() as i32).collect();
        axes.reverse();
        if let [outputs, inputs, stack] = axes[..] {
            axes = vec![stack, outputs, inputs];
        }
        let turned = rows.transpose(&axes)?;
        Ok(Self::Dense { rows, turned })
    }

    /// A matrix whose elements are rounded to a scheme, or kept where there is none.
    pub(crate) fn rounded(matrix: Array, scheme: Option<Scheme>) -> Result<Self> {
        match scheme {
            None => Self::dense(matrix),
            Some(scheme) => Self::quantized(QuantizedMatrix::quantize(&matrix, scheme)?),
        }
    }

    /// A matrix that is quantised already.
    pub(crate) fn quantized(matrix: QuantizedMatrix) -> Result<Self> {
        eval(&matrix.arrays())?;
        Ok(Self::Quantized(matrix))
    }

    /// The arrays that it consists of.
    pub(crate) fn arrays(&self) -> Vec<&Array> {
        match self {
            Self::Dense { rows, .. } => vec![rows],
            Self::Quantized(matrix) => matrix.arrays().into(),
        }
    }

    /// Maps (..., inputs) to (..., outputs).
    pub(crate) fn apply(&self, x: &Array) -> Result<Array> {
        match self {
            Self::Dense { turned, .. } => x.matmul(turned),
            Self::Quantized(matrix) => matrix.matmul_transposed(x),
        }
    }

    /// Of a stack: each choice's matrix maps (..., 1, inputs) to (..., 1, outputs).
    pub(crate) fn apply_chosen(&self, x: &Array, choices: &Choices) -> Result<Array> {
        match self {
            Self::Dense { turned, .. } => x.matmul_chosen(turned, choices),
            Self::Quantized(matrix) => matrix.matmul_chosen(x, choices),
        }
    }

    /// The rows of these numbers, of a table of embeddings.
    pub(crate) fn rows(&self, numbers: &Choices) -> Result<Array> {
        match self {
            Self::Dense { rows, .. } => rows.take_axis(numbers, 0),
            Self::Quantized(matrix) => matrix.rows(numbers),
        }
    }

    /// The number of outputs.
    pub(crate) fn outputs(&self) -> i32 {
        self.arrays()[0].dim(0)
    }
}

/// Maps (..., inputs) to (..., outputs), and adds a bias if there is one.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) matrix: Matrix,
    pub(crate) bias: Option<Array>,
}

impl Linear {
    /// The arrays that it consists of.
    pub(crate) fn arrays(&self) -> Vec<&Array> {
        let mut arrays = self.matrix.arrays();
        arrays.extend(&self.bias);
        arrays
    }

    pub(crate) fn apply(&self, x: &Array) -> Result<Array> {
        self.apply_summed(x, Ok)
    }

    /// Of a matrix of which each rank has a slice of the inputs: `sum` adds up the ranks'
    /// products, and the bias is added once, to the sum.
    pub(crate) fn apply_summed(
        &self,
        x: &Array,
        sum: impl Fn(Array) -> Result<Array>,
    ) -> Result<Array> {
        let product = sum(self.matrix.apply(x)?)?;
        match &self.bias {
            None => Ok(product),
            Some(bias) => product.add(bias),
        }
    }
}
