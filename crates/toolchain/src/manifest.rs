//! What a build was made from, and what came out.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, IoContext, Result},
    platform::Platform,
    series::Series,
    store::sha256,
    tools::Compiler,
    tree::ObjectId,
};

/// The `schema` of every manifest of this shape.
pub const SCHEMA: &str = "mlx-rails/build/1";

/// How much of MLX a build holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// MLX with jaccl inside, and mlx-c: `lib/libmlxc.so`, static libraries,
    /// headers.
    Mlx,
    /// jaccl alone behind our C shim: `lib/libjaccl_shim.so`.
    Jaccl,
}

impl Component {
    /// `mlx` or `jaccl`.
    pub fn name(self) -> &'static str {
        match self {
            Component::Mlx => "mlx",
            Component::Jaccl => "jaccl",
        }
    }

    /// The file name of the shared library that a build is for.
    pub fn library(self) -> String {
        Platform::HERE.system.shared_library(match self {
            Component::Mlx => "mlxc",
            Component::Jaccl => "jaccl_shim",
        })
    }
}

/// Everything that may change a build's bytes. Its hash is the build's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The whole of MLX, or only jaccl.
    pub component: Component,
    /// The pin's version.
    pub mlx: String,
    /// Which patches.
    pub series: Series,
    /// The fix of the series that was taken out again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<String>,
    /// The pristine tree.
    pub tree: ObjectId,
    /// The tree that was compiled.
    pub patched_tree: ObjectId,
    /// Name and SHA-256 of each patch, in order.
    pub patches: Vec<(String, String)>,
    /// The trees compiled or included with it, by name.
    pub sources: BTreeMap<String, ObjectId>,
    /// Hash of our CMake files (and the jaccl shim).
    pub recipe: String,
    /// The key of the tool set.
    pub tools: String,
    /// The compiler.
    pub compiler: Compiler,
    /// The macOS SDK.
    pub sdk: Option<String>,
    /// What CMake was told.
    pub options: BTreeMap<String, String>,
    /// Variables of the environment that CMake or the compiler obey.
    pub environment: BTreeMap<String, String>,
}

impl Inputs {
    /// The name of the build in the store.
    pub fn key(&self) -> String {
        hash(self)
    }

    /// Equal for builds that differ only in their patches, so that they may
    /// share what Ninja compiled.
    pub(crate) fn work_key(&self) -> String {
        hash(&Inputs {
            series: Series::Stock,
            without: None,
            patched_tree: self.tree,
            patches: Vec::new(),
            ..self.clone()
        })
    }

    /// In words, what differs from another build's inputs.
    pub fn changes_since(&self, other: &Inputs) -> Vec<String> {
        let mut changes = Vec::new();
        let mut note = |differs: bool, what: String| {
            if differs {
                changes.push(what);
            }
        };
        note(self.tree != other.tree, "the pinned tree".into());
        for (name, hash) in &self.patches {
            match other.patches.iter().find(|(theirs, _)| theirs == name) {
                None => note(true, format!("patch {name} is new")),
                Some((_, theirs)) => note(theirs != hash, format!("patch {name} changed")),
            }
        }
        for (name, _) in &other.patches {
            note(
                !self.patches.iter().any(|(ours, _)| ours == name),
                format!("patch {name} is gone"),
            );
        }
        note(
            self.sources != other.sources,
            "a source beside MLX (mlx-c, verbs headers)".into(),
        );
        note(self.recipe != other.recipe, "our CMake files".into());
        note(self.tools != other.tools, "the tool set".into());
        note(
            self.compiler != other.compiler,
            format!(
                "the compiler ({} -> {})",
                other.compiler.version, self.compiler.version
            ),
        );
        note(self.sdk != other.sdk, "the macOS SDK".into());
        note(self.options != other.options, "CMake options".into());
        note(
            self.environment != other.environment,
            "compiler flags in the environment".into(),
        );
        changes
    }
}

/// As people call it: `MLX 0.31.2 (patched)`, `MLX 0.31.2 (patched without
/// ring-recv-prefill, jaccl only)`.
impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MLX {} ({}", self.mlx, self.series)?;
        if let Some(fix) = &self.without {
            write!(f, " without {fix}")?;
        }
        f.write_str(match self.component {
            Component::Mlx => ")",
            Component::Jaccl => ", jaccl only)",
        })
    }
}

fn hash(inputs: &Inputs) -> String {
    // Field order is declaration order and maps are sorted: one text a value.
    sha256(serde_json::to_vec(inputs).unwrap_or_default())[..32].to_owned()
}

/// One file of a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// Relative to the prefix.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its content.
    pub sha256: String,
}

/// `manifest.json` of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// The build's name in the store.
    pub key: String,
    /// What it was made from.
    pub inputs: Inputs,
    /// How long CMake and Ninja took; short when Ninja found work of another
    /// series.
    pub seconds: u64,
    /// When it was done, in seconds since 1970.
    pub finished: u64,
    /// The libraries, largest part of a prefix and the part that runs.
    pub artefacts: Vec<Artefact>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When the file is missing or not a manifest.
    pub fn load(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).at("read", file)?;
        serde_json::from_str(&text).map_err(|e| Error::malformed(file, e))
    }

    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::malformed(file, e))?;
        fs::write(file, text + "\n").at("write", file)
    }
}
