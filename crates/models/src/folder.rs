//! A model as a folder.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    Dtype, Tensor,
    config::{self, Config, Quantised},
    error::{Error, Result},
    family::{Family, known, module_of},
    tensors,
};

/// A model's folder, as mlx-lm reads it. Weights stay on the disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Folder {
    path: PathBuf,
    read: config::Read,
    tensors: BTreeMap<String, Tensor>,
}

impl Folder {
    /// Reads the folder's config and the heads of its files of weights, and checks that the
    /// files are as long as their heads say. For a known family, the weights must have all
    /// layers, and a quantised matrix the shape that the config gives it.
    ///
    /// # Errors
    /// [`Error::NoConfig`], [`Error::Json`] and [`Error::Config`] of the config;
    /// [`Error::NoWeights`], [`Error::NoShard`], [`Error::ShortShard`], [`Error::Shard`],
    /// [`Error::NoTensor`] and [`Error::Tensor`] of the weights; [`Error::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let read = config::read(&path)?;
        let tensors = tensors::of_folder(&path)?;
        let folder = Folder {
            path,
            read,
            tensors,
        };
        folder.check_tensors()?;
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `model_type` of the config.
    pub fn model_type(&self) -> &str {
        &self.read.model_type
    }

    /// The family, if it is known.
    pub fn family(&self) -> Option<Family> {
        self.read.config.as_ref().map(|it| it.family)
    }

    /// The model's shape.
    ///
    /// # Errors
    /// [`Error::UnknownFamily`].
    pub fn config(&self) -> Result<&Config> {
        let config = self.read.config.as_ref();
        config.ok_or_else(|| Error::UnknownFamily {
            model_type: self.model_type().to_owned(),
            known: known(false),
        })
    }

    /// Decoder layers, if the config says it.
    pub fn layers(&self) -> Option<usize> {
        self.read.layers
    }

    /// Width of the activations, if the config says it.
    pub fn hidden(&self) -> Option<usize> {
        self.read.hidden
    }

    /// Checks that pipeline parallelism over `ranks` leaves each rank a layer.
    ///
    /// # Errors
    /// [`Error::Pipeline`].
    pub fn check_pipeline(&self, ranks: usize) -> Result<()> {
        match self.layers() {
            Some(layers) if layers < ranks => Err(Error::Pipeline { layers, ranks }),
            _ => Ok(()),
        }
    }

    /// Type of the activations that ranks exchange, if the weights show it: MLX gives the sum
    /// of embeddings and what was normalised the wider of both types.
    pub fn activations(&self) -> Option<Dtype> {
        let of = |name: &str| Some(self.tensors.get(name)?.dtype);
        let scales = of("model.embed_tokens.scales");
        let embeddings = scales.or_else(|| of("model.embed_tokens.weight"))?;
        match of("model.norm.weight") {
            Some(norms) if norms == embeddings => Some(norms),
            Some(_) => Some(Dtype::F32),
            None => None,
        }
    }

    /// Bytes of one token's activation: what PP sends, and TP adds up at decode.
    pub fn message_bytes(&self) -> Option<usize> {
        Some(self.hidden()? * self.activations()?.bitsize() / 8)
    }

    /// The tokens for which the model was made, of prompt and answer, if the config says it.
    pub fn context(&self) -> Option<usize> {
        self.read.context
    }

    /// Checks that a prompt of `prompt` tokens and `generated` more fit the context.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn check_length(&self, prompt: usize, generated: usize) -> Result<()> {
        let tokens = prompt.saturating_add(generated);
        match self.context() {
            Some(context) if tokens > context => Err(Error::TooLong { tokens, context }),
            _ => Ok(()),
        }
    }

    /// The tokens that end a text.
    pub fn end_of_text(&self) -> &[u32] {
        &self.read.end_of_text
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// How the matrix of a module is quantised, or `None` if it is not.
    pub fn quantised(&self, module: &str) -> Option<&Quantised> {
        let has_scales = self.tensors.contains_key(&format!("{module}.scales"));
        self.read.quantisation.of(module).filter(|_| has_scales)
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> usize {
        self.tensors.values().map(|it| it.bytes).sum()
    }

    fn check_tensors(&self) -> Result<()> {
        let Some(config) = &self.read.config else {
            return Ok(());
        };
        for layer in 0..config.layers {
            let name = format!("model.layers.{layer}.input_layernorm.weight");
            if !self.tensors.contains_key(&name) {
                let folder = self.path.clone();
                return Err(Error::NoTensor { folder, name });
            }
        }
        for (name, scales) in &self.tensors {
            let Some(module) = name.strip_suffix(".scales") else {
                continue;
            };
            self.check_quantised(module, scales)?;
        }
        Ok(())
    }

    /// Words of 32 bits hold the elements of a row, and each group of them has a scale.
    fn check_quantised(&self, module: &str, scales: &Tensor) -> Result<()> {
        let wrong = |problem: String| Error::Tensor {
            name: format!("{module}.scales"),
            problem,
        };
        let quantised = self.read.quantisation.of(module);
        let Some(Quantised {
            group_size, bits, ..
        }) = quantised
        else {
            let problem = "the config does not say how the matrix is quantised";
            return Err(wrong(problem.into()));
        };
        let name = format!("{module}.weight");
        let weight = self.tensors.get(&name).ok_or_else(|| Error::NoTensor {
            folder: self.path.clone(),
            name,
        })?;
        let (words, groups) = (weight.shape.last(), scales.shape.last());
        let fits = words.zip(groups).is_some_and(|(words, groups)| {
            words.checked_mul(32) == groups.checked_mul(group_size * bits)
        });
        match fits {
            true => Ok(()),
            false => Err(wrong(format!(
                "{:?} scales do not fit {:?} words of 32 bits, with {bits} bits an element and \
                 {group_size} elements a scale",
                scales.shape, weight.shape
            ))),
        }
    }

    /// The modules that have tensors, in the order of their names.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &str> {
        let mut last = "";
        let modules = self.tensors.keys().map(|it| module_of(it));
        modules.filter(move |module| std::mem::replace(&mut last, module) != *module)
    }
}
