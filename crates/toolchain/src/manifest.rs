//! What a build was made from, and what came out.

use std::{collections::BTreeMap, fmt, fs, io, path::Path};

use pins::{ObjectId, Series};
use serde::{Deserialize, Serialize};

use crate::{
    compiler::{Compilers, Identity},
    error::{Error, IoContext, Result},
    platform::{Platform, System},
    store::sha256,
};

/// The `schema` of every manifest of this shape.
pub const SCHEMA: &str = "mlx-rails/build/2";

/// How much of MLX a build holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// MLX with jaccl inside, and mlx-c: `lib/libmlx.so`, `lib/libmlxc.so`, headers. On
    /// macOS jaccl is a library beside MLX, as in the official wheel.
    Mlx,
    /// The official wheel's MLX for macOS with jaccl of the series in it, and mlx-c: the same
    /// files as [`Component::Mlx`] has on macOS, without a Metal compiler.
    #[serde(rename = "mlx-of-wheel")]
    MlxOfWheel,
    /// jaccl alone behind our C shim: `lib/libjaccl_shim.so`.
    Jaccl,
    /// jaccl alone as wheels for macOS have it: `lib/libjaccl.dylib`.
    Dylib,
}

impl Component {
    /// The whole of MLX, as it is made on a system unless it is asked for from source.
    pub fn whole_mlx(system: System) -> Self {
        match system {
            System::Linux => Component::Mlx,
            System::MacOs => Component::MlxOfWheel,
        }
    }

    /// Whether it has mlx-c, and so is what programs that use MLX are linked to.
    pub fn has_mlx_c(self) -> bool {
        matches!(self, Component::Mlx | Component::MlxOfWheel)
    }

    /// Whether it is for a Mac whatever system makes it, and the one that does is none.
    pub(crate) fn is_cross(self) -> bool {
        let for_mac = matches!(self, Component::MlxOfWheel | Component::Dylib);
        for_mac && Platform::HERE.system != System::MacOs
    }

    /// The system that it is for.
    pub fn system(self) -> System {
        match self {
            Component::MlxOfWheel | Component::Dylib => System::MacOs,
            Component::Mlx | Component::Jaccl => Platform::HERE.system,
        }
    }

    /// `mlx`, `mlx-of-wheel`, `jaccl` or `dylib`.
    pub fn name(self) -> &'static str {
        match self {
            Component::Mlx => "mlx",
            Component::MlxOfWheel => "mlx-of-wheel",
            Component::Jaccl => "jaccl",
            Component::Dylib => "dylib",
        }
    }

    /// The file name of the shared library that a build is for.
    pub fn library(self) -> String {
        self.system().shared_library(match self {
            Component::Mlx | Component::MlxOfWheel => "mlxc",
            Component::Jaccl => "jaccl_shim",
            Component::Dylib => "jaccl",
        })
    }

    /// The file name of the shared library that contains jaccl.
    pub fn library_with_jaccl(self) -> String {
        match (self, self.system()) {
            (Component::Mlx, System::Linux) => self.system().shared_library("mlx"),
            (Component::Mlx | Component::MlxOfWheel, _) => self.system().shared_library("jaccl"),
            (Component::Jaccl | Component::Dylib, _) => self.library(),
        }
    }

    /// The files that must be below the prefix of a build, so that programs can be compiled
    /// against it and run with it.
    pub fn needed(self) -> Vec<String> {
        let mut needed = vec![format!("lib/{}", self.library())];
        if self.has_mlx_c() {
            needed.extend(self.system().needed_of_mlx());
        }
        needed
    }
}

/// What a build is made from. Its key is the hash of all of it that may change the build's
/// bytes; the rest is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The whole of MLX, or only jaccl.
    pub component: Component,
    /// The pin's version.
    pub mlx: String,
    /// Which patches.
    pub series: Series,
    /// The patches of the series that were left out, in its order. In the manifest they are
    /// one text, with commas.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "listed")]
    pub without: Vec<String>,
    /// The pristine tree.
    pub tree: ObjectId,
    /// The tree that was compiled.
    pub patched_tree: ObjectId,
    /// Name and SHA-256 of each patch, in order. No part of the key: what they change is
    /// in `patched_tree`, and their descriptions change nothing.
    pub patches: Vec<(String, String)>,
    /// The SHA-256 of the wheel whose MLX it is, of [`Component::MlxOfWheel`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The trees compiled or included with it, by name.
    pub sources: BTreeMap<String, ObjectId>,
    /// Hash of our CMake files (and the jaccl shim).
    pub recipe: String,
    /// The key of the tool set.
    pub tools: String,
    /// The compilers. Their [`Identity`] is part of the key, their place is not.
    pub compilers: Compilers,
    /// The version of the macOS SDK.
    pub sdk: Option<String>,
    /// CMake's variables.
    pub options: BTreeMap<String, String>,
    /// Variables of the environment that the compilers obey.
    pub environment: BTreeMap<String, String>,
}

/// Names of patches, which have no commas, as one text.
mod listed {
    use serde::{Deserialize, Deserializer, Serializer};

    const JOINT: &str = ", ";

    pub fn text(names: &[String]) -> String {
        names.join(JOINT)
    }

    pub fn serialize<S: Serializer>(names: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(names))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        let text = String::deserialize(from)?;
        Ok(text.split(JOINT).map(str::to_owned).collect())
    }
}

/// The inputs that make a build's key.
#[derive(Serialize)]
struct Hashed<'a> {
    component: Component,
    mlx: &'a str,
    series: Series,
    without: Option<String>,
    tree: ObjectId,
    patched_tree: ObjectId,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a str>,
    sources: &'a BTreeMap<String, ObjectId>,
    recipe: &'a str,
    tools: &'a str,
    compilers: [&'a Identity; 2],
    sdk: Option<&'a str>,
    options: &'a BTreeMap<String, String>,
    environment: &'a BTreeMap<String, String>,
}

impl Inputs {
    /// The name of the build in the store.
    pub fn key(&self) -> String {
        hash(&self.hashed())
    }

    fn hashed(&self) -> Hashed<'_> {
        // Without `..`, so that a new input cannot be forgotten here.
        let Inputs {
            component,
            mlx,
            series,
            without,
            tree,
            patched_tree,
            patches: _,
            base,
            sources,
            recipe,
            tools,
            compilers,
            sdk,
            options,
            environment,
        } = self;
        Hashed {
            component: *component,
            mlx,
            series: *series,
            without: (!without.is_empty()).then(|| listed::text(without)),
            tree: *tree,
            patched_tree: *patched_tree,
            base: base.as_deref(),
            sources,
            recipe,
            tools,
            compilers: [&compilers.c.identity, &compilers.cxx.identity],
            sdk: sdk.as_deref(),
            options,
            environment,
        }
    }

    /// Equal for builds that differ only in their patches, so that they may
    /// share what Ninja compiled.
    pub(crate) fn work_key(&self) -> String {
        let shared = Hashed {
            series: Series::Stock,
            without: None,
            patched_tree: self.tree,
            ..self.hashed()
        };
        // CMake forgets its variables when a compiler comes from another place.
        let programs = [&self.compilers.c.program, &self.compilers.cxx.program];
        hash(&(shared, programs.map(|program| &program.path)))
    }

    /// In words, what differs from another build's inputs.
    pub fn changes_since(&self, other: &Inputs) -> Vec<String> {
        let mut changes = Vec::new();
        let mut note = |differs: bool, what: String| {
            if differs {
                changes.push(what);
            }
        };
        note(
            (self.component, self.series) != (other.component, other.series)
                || (&self.mlx, &self.without) != (&other.mlx, &other.without),
            format!("it is {self}, not {other}"),
        );
        note(self.tree != other.tree, "the pinned tree".into());
        if self.patched_tree != other.patched_tree {
            let patches = self.changed_patches(other);
            note(patches.is_empty(), "the patched tree".into());
            for patch in patches {
                note(true, patch);
            }
        }
        note(self.base != other.base, "the official wheel".into());
        note(
            self.sources != other.sources,
            "a source beside MLX (mlx-c, verbs headers, metal-cpp)".into(),
        );
        note(self.recipe != other.recipe, "our CMake files".into());
        note(self.tools != other.tools, "the tool set".into());
        let pairs = [
            ("C", &self.compilers.c, &other.compilers.c),
            ("C++", &self.compilers.cxx, &other.compilers.cxx),
        ];
        for (language, ours, theirs) in pairs {
            let (to, from) = (&ours.program.version, &theirs.program.version);
            let mut what = format!("the {language} compiler");
            if to != from {
                what.push_str(&format!(" ({from} -> {to})"));
            } else if ours.identity.arguments != theirs.identity.arguments {
                what.push_str("'s flags");
            } else if ours.identity.linker != theirs.identity.linker {
                what.push_str("'s linker");
            }
            note(ours.identity != theirs.identity, what);
        }
        note(self.sdk != other.sdk, "the macOS SDK".into());
        note(self.options != other.options, "CMake options".into());
        note(
            self.environment != other.environment,
            "variables of the environment that compilers obey".into(),
        );
        changes
    }

    fn changed_patches(&self, other: &Inputs) -> Vec<String> {
        let mut changes = Vec::new();
        for (name, hash) in &self.patches {
            match other.patches.iter().find(|(theirs, _)| theirs == name) {
                None => changes.push(format!("patch {name} is new")),
                Some((_, theirs)) if theirs != hash => {
                    changes.push(format!("patch {name} changed"))
                }
                Some(_) => {}
            }
        }
        for (name, _) in &other.patches {
            if !self.patches.iter().any(|(ours, _)| ours == name) {
                changes.push(format!("patch {name} is gone"));
            }
        }
        changes
    }
}

/// As people call it: `MLX 0.31.2 (patched)`, `MLX 0.31.2 (patched without
/// ring-recv-prefill, jaccl only)`.
impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MLX {} ({}", self.mlx, self.series)?;
        if !self.without.is_empty() {
            write!(f, " without {}", listed::text(&self.without))?;
        }
        f.write_str(match self.component {
            Component::Mlx => ")",
            Component::MlxOfWheel => ", of the official wheel)",
            Component::Jaccl => ", jaccl only)",
            Component::Dylib => ", jaccl for macOS)",
        })
    }
}

fn hash(inputs: &impl Serialize) -> String {
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
    /// The SHA-256 of its content; of a link, that of the path it holds.
    pub sha256: String,
}

impl Artefact {
    /// Every file below `prefix`, by path.
    pub(crate) fn of_folder(prefix: &Path) -> Result<Vec<Self>> {
        let mut artefacts = Vec::new();
        for found in walkdir::WalkDir::new(prefix) {
            let found = found.map_err(io::Error::from).at("read", prefix)?;
            let path = found.path();
            let content = match found.file_type() {
                kind if kind.is_dir() => continue,
                kind if kind.is_symlink() => {
                    let target = fs::read_link(path).at("read", path)?;
                    target.into_os_string().into_encoded_bytes()
                }
                _ => fs::read(path).at("read", path)?,
            };
            let name = path.strip_prefix(prefix).unwrap_or(path);
            artefacts.push(Artefact {
                path: name.to_string_lossy().into_owned(),
                bytes: content.len() as u64,
                sha256: sha256(&content),
            });
        }
        artefacts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(artefacts)
    }
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
    /// Every file of the prefix, by path.
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
