//! The programs that run the model.
//!
//! An engine is a program that takes a job with `--job FILE` and speaks the
//! [`protocol`](crate::protocol). Sweep, watchdog, verdicts, meter and reports do not
//! depend on which one runs.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process,
    str::FromStr,
};

use models::{Family, Quantised, RopeScaling};
use serde::{Deserialize, Serialize};

use crate::{launch::RankProgram, model::Model, protocol::Strategy};

/// The Python program of [`Engine::MlxLm`].
const MLX_LM_RANK: &str = include_str!("../engines/mlx_lm_rank.py");

/// An engine.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// `rail-rank`, ours: Rust over mlx-c.
    #[default]
    Rust,
    /// mlx-lm, unmodified: Python.
    MlxLm,
}

impl Engine {
    /// All engines. The first is the default.
    pub const ALL: [Self; 2] = [Self::Rust, Self::MlxLm];

    /// `rust` or `mlx-lm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::MlxLm => "mlx-lm",
        }
    }

    /// The most tokens of a prompt that it processes in one step without a prefill step in the
    /// job: of the Rust engine as in exo, where a step of PP is one message; of mlx-lm its own
    /// default.
    pub const fn prefill_step(self, strategy: Strategy) -> usize {
        match (self, strategy) {
            (Self::Rust, Strategy::Tp | Strategy::Single) => 4096,
            (Self::Rust, Strategy::Pp) | (Self::MlxLm, _) => 2048,
        }
    }

    /// Refuses a model that this engine cannot run, whatever the rig.
    ///
    /// # Errors
    /// As [`Engine::check_folder`].
    pub fn check(self, model: &Model) -> Result<(), EngineError> {
        match model {
            Model::Preset(_) => Ok(()),
            Model::Folder(folder) => self.check_folder(&folder.content),
        }
    }

    /// Refuses a folder that this engine cannot run, whatever the rig.
    ///
    /// # Errors
    /// For the Rust engine, the first of the family, the rotary encoding, the attention
    /// and the quantisation that it does not know. What mlx-lm knows shows when it loads the model.
    pub fn check_folder(self, folder: &models::Folder) -> Result<(), EngineError> {
        match self {
            Self::MlxLm => Ok(()),
            Self::Rust => by_rust(folder),
        }
    }
}

fn by_rust(folder: &models::Folder) -> Result<(), EngineError> {
    let config = folder.config().map_err(|_| EngineError::Family {
        model_type: folder.model_type().to_owned(),
        known: Family::ALL
            .iter()
            .flat_map(|it| it.cuts().model_types.clone())
            .collect(),
    })?;
    if let RopeScaling::Other(scaling) = &config.rope_scaling {
        return Err(EngineError::Rope {
            scaling: scaling.to_string(),
        });
    }
    if config.has_sliding_window {
        return Err(EngineError::Window);
    }
    let scales = folder
        .tensors()
        .keys()
        .filter_map(|it| it.strip_suffix(".scales"));
    for module in scales {
        let Some(quantised) = folder.quantised(module) else {
            continue;
        };
        let Quantised {
            group_size,
            bits,
            mode,
        } = quantised;
        let fits = mode == "affine"
            && [32, 64, 128].contains(group_size)
            && [2, 3, 4, 6, 8].contains(bits);
        if !fits {
            return Err(EngineError::Quantised {
                module: module.to_owned(),
                quantised: quantised.clone(),
            });
        }
    }
    Ok(())
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error for a word that is no engine's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown engine {0:?}; the values are rust, mlx-lm")]
pub struct UnknownEngine(String);

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        let mut all = Self::ALL.into_iter();
        all.find(|engine| engine.name() == name)
            .ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}

/// Why an engine cannot run a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The Rust engine does not compute the family.
    #[error("the rust engine knows {}, and no model of the type {model_type:?}", .known.join(", "))]
    Family {
        /// `model_type` of the config.
        model_type: String,
        /// Those that it knows.
        known: Vec<String>,
    },
    /// The Rust engine does not compute the rotary encoding.
    #[error("the rust engine does not know the rotary encoding {scaling}")]
    Rope {
        /// `rope_scaling` of the config.
        scaling: String,
    },
    /// The Rust engine lets every position attend to all before it.
    #[error("the rust engine has no layers that attend to the last positions alone")]
    Window,
    /// The Rust engine does not compute with such a matrix.
    #[error(
        "the rust engine does not know the quantisation of {module}: {}, {} bits, groups of {}",
        .quantised.mode,
        .quantised.bits,
        .quantised.group_size
    )]
    Quantised {
        /// The module.
        module: String,
        /// How it is quantised.
        quantised: Quantised,
    },
}

impl EngineError {
    /// The remedy.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Family { .. } | Self::Rope { .. } | Self::Window | Self::Quantised { .. } => {
                "pass --engine mlx-lm, or name another model with --model"
            }
        }
    }
}

/// An engine that is ready to run.
#[derive(Debug, Clone)]
pub struct EngineProgram {
    /// The engine.
    pub engine: Engine,
    /// Its program.
    pub program: RankProgram,
    /// The key of the build of MLX that its ranks must load.
    pub build: String,
}

impl EngineProgram {
    /// [`Engine::Rust`], by its program.
    pub fn rust(path: PathBuf, build: String) -> Self {
        Self {
            engine: Engine::Rust,
            program: RankProgram {
                path,
                args: vec![],
                env: vec![one_thread()],
            },
            build,
        }
    }

    /// [`Engine::MlxLm`], by the interpreter of an environment with mlx-lm and MLX. Its file
    /// and the table of how families are cut are written into `folder`, each in one step,
    /// because other ranks may be about to read it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn mlx_lm(python: PathBuf, build: String, folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let write = |name: &str, content: &str| {
            let file = folder.join(name);
            let unfinished = folder.join(format!("{}.new", process::id()));
            fs::write(&unfinished, content)?;
            fs::rename(&unfinished, &file).map(|()| file)
        };
        write("cuts.json", models::family::TABLE)?;
        let script = write("mlx_lm_rank.py", MLX_LM_RANK)?;
        // Isolated: neither PYTHONPATH nor a user's packages decide what is imported. And
        // nothing is written into the environment.
        let args = ["-I", "-B", &script.display().to_string()].map(str::to_owned);
        // What is not in the model's folder is not looked for on the network.
        let set = |name: &str| (name.to_owned(), "1".to_owned());
        let env = [set("HF_HUB_OFFLINE"), set("TRANSFORMERS_OFFLINE")];
        Ok(Self {
            engine: Engine::MlxLm,
            program: RankProgram {
                path: python,
                args: args.into(),
                env: env.into_iter().chain([one_thread()]).collect(),
            },
            build,
        })
    }
}

/// One rank for each core; otherwise OpenBLAS would start a thread for each core in each
/// rank.
fn one_thread() -> (String, String) {
    ("OPENBLAS_NUM_THREADS".to_owned(), "1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_read_and_written_by_its_name() {
        for engine in Engine::ALL {
            assert_eq!(engine.name().parse(), Ok(engine));
            let json = serde_json::to_string(&engine).unwrap();
            assert_eq!(json, format!("{:?}", engine.name()));
        }
        assert!("vllm".parse::<Engine>().is_err());
    }
}
