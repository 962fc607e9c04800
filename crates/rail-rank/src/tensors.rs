//! Where a rank's share of a model's tensors comes from: a seed, or a folder.

use std::collections::BTreeMap;

use mlx_core::{
    Array, Dtype, concatenate, eval,
    quant::{QuantizedMatrix, Scheme},
};
use models::{Family, Folder};
use rail_bench::{engine::EngineError, model::ModelSpec, protocol::Strategy};

use crate::{
    linear::{Linear, Matrix},
    share::Share,
    weights::Weights,
};

/// Why a rank does not have its share of a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The folder has not what its config promises, or cannot be read.
    #[error(transparent)]
    Model(#[from] models::Error),
    /// This engine cannot run the model.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// MLX refuses a tensor.
    #[error(transparent)]
    Mlx(#[from] mlx_core::Error),
    /// MLX has no such type of elements.
    #[error("tensor {name} has elements of the type {dtype}, which MLX does not have")]
    Dtype {
        /// The tensor.
        name: String,
        /// The type.
        dtype: models::Dtype,
    },
}

/// Result of loading.
pub(crate) type Result<T, E = LoadError> = std::result::Result<T, E>;

/// What a rank has of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it.
    Whole,
    /// A slice of the outputs.
    Outputs,
    /// A slice of the inputs, so that the ranks' results must be summed.
    Inputs,
}

/// A rank's share of a model's tensors, by the names that the checkpoints of the family have.
/// What is returned is in memory.
pub(crate) trait Tensors {
    /// The matrix of a module, whose whole has this many outputs and inputs.
    fn linear(&self, module: &str, cut: Cut, outputs: usize, inputs: usize) -> Result<Linear>;
    /// The matrices of the experts of a block, one on the other.
    fn experts(&self, block: &str, matrix: &str, experts: usize) -> Result<Matrix>;
    /// The table of embeddings, which every rank has in full.
    fn table(&self, module: &str, rows: usize, width: usize) -> Result<Matrix>;
    /// The weight of a norm, which every rank has in full.
    fn norm(&self, module: &str, width: usize) -> Result<Array>;
    /// A tensor by its whole name, with so many axes.
    fn parameter(&self, name: &str, axes: usize) -> Result<Array>;
}

/// The tensors that follow from a seed.
pub(crate) struct Seeded<'a> {
    share: &'a Share,
    weights: Weights,
    scheme: Option<Scheme>,
}

impl<'a> Seeded<'a> {
    pub(crate) fn new(spec: &ModelSpec, share: &'a Share, seed: u64, dtype: Dtype) -> Result<Self> {
        let scheme = |quant: rail_bench::model::Quant| {
            Scheme::new(quant.group_size as i32, quant.bits as i32)
        };
        Ok(Self {
            share,
            weights: Weights::new(seed, spec.layers, dtype),
            scheme: spec.quant.map(scheme).transpose()?,
        })
    }
}

impl Tensors for Seeded<'_> {
    fn linear(&self, module: &str, cut: Cut, outputs: usize, inputs: usize) -> Result<Linear> {
        let whole = self.weights.matrix(module, outputs, inputs)?;
        let (matrix, scheme) = match cut {
            // The head is not quantised.
            Cut::Whole => (whole, None),
            Cut::Outputs => (self.share.take(&whole, 0)?, self.scheme),
            Cut::Inputs => (self.share.take(&whole, 1)?, self.scheme),
        };
        Ok(Linear {
            matrix: Matrix::rounded(matrix, scheme)?,
            bias: None,
        })
    }

    fn experts(&self, block: &str, _: &str, _: usize) -> Result<Matrix> {
        unreachable!("no preset has experts, and so none in {block}")
    }

    fn table(&self, module: &str, rows: usize, width: usize) -> Result<Matrix> {
        Ok(Matrix::dense(self.weights.matrix(module, rows, width)?)?)
    }

    fn norm(&self, module: &str, width: usize) -> Result<Array> {
        let weight = self.weights.norm(module, width)?;
        eval(&[&weight])?;
        Ok(weight)
    }

    fn parameter(&self, name: &str, _: usize) -> Result<Array> {
        unreachable!("every tensor of a preset is a matrix or a norm, and so is {name}")
    }
}

/// The tensors of a folder. Of a tensor that is cut, only the rank's bytes are read.
pub(crate) struct OfFolder<'a> {
    folder: &'a Folder,
    shares: BTreeMap<String, models::Share>,
    /// Whether 1 is to be added to norms. mlx-lm does so when it turns Hugging Face's folder
    /// of a Qwen3-Next, whose experts are not stacked yet, into one of its own.
    lacks_one: bool,
}

impl<'a> OfFolder<'a> {
    /// The share of `rank` among `ranks`.
    pub(crate) fn new(
        folder: &'a Folder,
        strategy: Strategy,
        (rank, ranks): (usize, usize),
    ) -> Result<Self> {
        let shares = match strategy {
            Strategy::Tp => folder.shares(rank, ranks)?,
            Strategy::Pp | Strategy::Single => folder.shares(0, 1)?,
        };
        let shares = shares.into_iter().map(|it| (it.name.clone(), it));
        let is_of_hugging_face = folder
            .tensors()
            .contains_key("model.layers.0.mlp.experts.0.up_proj.weight");
        Ok(Self {
            folder,
            shares: shares.collect(),
            lacks_one: folder.family() == Some(Family::Qwen3Next) && is_of_hugging_face,
        })
    }

    /// The rank's share of a tensor, if the folder has the tensor.
    fn find(&self, name: &str) -> Result<Option<Array>> {
        let Some(share) = self.shares.get(name) else {
            return Ok(None);
        };
        let bytes = share.read(&self.folder.tensors()[name])?;
        let shape: Vec<i32> = share.shape.iter().map(|&it| it as i32).collect();
        let dtype = dtype_of(share.dtype).ok_or_else(|| LoadError::Dtype {
            name: name.to_owned(),
            dtype: share.dtype,
        })?;
        Ok(Some(Array::from_bytes(&bytes, &shape, dtype)?))
    }

    fn get(&self, name: &str) -> Result<Array> {
        let lacks = || models::Error::NoTensor {
            folder: self.folder.path().to_owned(),
            name: name.to_owned(),
        };
        Ok(self.find(name)?.ok_or_else(lacks)?)
    }

    fn matrix(&self, module: &str) -> Result<Matrix> {
        self.matrix_of(module, |part| self.get(&format!("{module}.{part}")))
    }

    /// The matrix of what `get` gets, quantised as a module is.
    fn matrix_of(&self, module: &str, get: impl Fn(&str) -> Result<Array>) -> Result<Matrix> {
        let weight = get("weight")?;
        let Some(quantised) = self.folder.quantised(module) else {
            return Ok(Matrix::dense(weight)?);
        };
        let (scales, biases) = (get("scales")?, get("biases")?);
        let scheme = Scheme::new(quantised.group_size as i32, quantised.bits as i32)?;
        let matrix = QuantizedMatrix::from_parts(weight, scales, biases, scheme);
        Ok(Matrix::quantized(matrix)?)
    }
}

impl Tensors for OfFolder<'_> {
    fn linear(&self, module: &str, _: Cut, _: usize, _: usize) -> Result<Linear> {
        Ok(Linear {
            matrix: self.matrix(module)?,
            bias: self.find(&format!("{module}.bias"))?,
        })
    }

    /// mlx-lm writes a stack, and Hugging Face's folders have a matrix for each expert.
    fn experts(&self, block: &str, matrix: &str, experts: usize) -> Result<Matrix> {
        let stacked = format!("{block}.switch_mlp.{matrix}");
        if self.shares.contains_key(&format!("{stacked}.weight")) {
            return self.matrix(&stacked);
        }
        let module = |expert: usize| format!("{block}.experts.{expert}.{matrix}");
        self.matrix_of(&module(0), |part| {
            let mut layers = Vec::new();
            for expert in 0..experts {
                let layer = self.get(&format!("{}.{part}", module(expert)))?;
                let shape = [&[1], layer.shape()].concat();
                layers.push(layer.reshape(&shape)?);
            }
            Ok(concatenate(&layers.iter().collect::<Vec<_>>(), 0)?)
        })
    }

    fn table(&self, module: &str, _: usize, _: usize) -> Result<Matrix> {
        self.matrix(module)
    }

    fn norm(&self, module: &str, _: usize) -> Result<Array> {
        let weight = self.get(&format!("{module}.weight"))?;
        if !self.lacks_one || module.ends_with(".linear_attn.norm") {
            return Ok(weight);
        }
        let one = Array::scalar(1f32)?.astype(weight.dtype())?;
        let weight = weight.add(&one)?;
        eval(&[&weight])?;
        Ok(weight)
    }

    fn parameter(&self, name: &str, axes: usize) -> Result<Array> {
        let parameter = self.get(name)?;
        if parameter.ndim() == axes {
            return Ok(parameter);
        }
        Err(models::Error::Tensor {
            name: name.to_owned(),
            problem: format!("its shape {:?} has not {axes} axes", parameter.shape()),
        }
        .into())
    }
}

/// MLX's type of the elements of a tensor.
pub(crate) fn dtype_of(dtype: models::Dtype) -> Option<Dtype> {
    Some(match dtype {
        models::Dtype::U8 => Dtype::Uint8,
        models::Dtype::U16 => Dtype::Uint16,
        models::Dtype::U32 => Dtype::Uint32,
        models::Dtype::U64 => Dtype::Uint64,
        models::Dtype::I8 => Dtype::Int8,
        models::Dtype::I16 => Dtype::Int16,
        models::Dtype::I32 => Dtype::Int32,
        models::Dtype::I64 => Dtype::Int64,
        models::Dtype::F16 => Dtype::Float16,
        models::Dtype::BF16 => Dtype::Bfloat16,
        models::Dtype::F32 => Dtype::Float32,
        _ => return None,
    })
}
