//! The tools of a build: the few a machine must have, and those we install.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use launch::Launcher;

use crate::{
    Toolchain,
    environment::Environment,
    error::{Error, IoContext, Result},
    pip::PipSet,
    platform::{Platform, System},
    process,
    store::Kind,
};

/// What pip installs, with the hash of every file it may download.
const REQUIREMENTS: &str = include_str!("../pins/requirements.txt");

/// uv, with the hash of every file that pip may download for it.
const UV: &str = include_str!("../pins/uv.txt");

/// CMake, Ninja and what MLX compiles against, in the store.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Names the set: its requirements and the platform.
    pub key: String,
    platform: Platform,
    root: PathBuf,
}

impl Tools {
    /// The set `key` as pip lays it out below `root` on `platform`, whether or not it is
    /// there.
    pub fn at(platform: Platform, key: &str, root: &Path) -> Self {
        Tools {
            key: key.to_owned(),
            platform,
            root: root.to_owned(),
        }
    }

    /// The folder of all of them.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The `cmake` program.
    pub fn cmake(&self) -> PathBuf {
        // The script in bin/ would want the Python that installed it.
        self.root.join("cmake/data/bin/cmake")
    }

    /// The `ninja` program.
    pub fn ninja(&self) -> PathBuf {
        self.root.join("bin/ninja")
    }

    /// The folder that holds libclang, for bindgen.
    pub fn libclang(&self) -> PathBuf {
        self.root.join("clang/native")
    }

    /// OpenBLAS: `include/` and `lib/`. Not on macOS, which has Accelerate.
    pub fn openblas(&self) -> PathBuf {
        self.root.join("scipy_openblas32")
    }

    /// The licence of OpenBLAS.
    ///
    /// # Errors
    /// When the folder of the set cannot be read, or has none.
    pub(crate) fn openblas_licence(&self) -> Result<PathBuf> {
        let folders = std::fs::read_dir(&self.root).at("read", &self.root)?;
        let of_openblas = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("scipy_openblas32-") && name.ends_with(".dist-info")
        };
        let mut folders = folders.flatten().map(|it| it.path()).filter(of_openblas);
        let licence = folders.next().map(|it| it.join("licenses/LICENSE.txt"));
        licence.ok_or_else(|| Error::malformed(&self.root, "OpenBLAS has no licence in it"))
    }

    /// The include folder of nlohmann json.
    pub fn json(&self) -> PathBuf {
        self.root.join("nlohmann_json/include")
    }

    /// The folder of fmt's CMake package.
    pub fn fmt(&self) -> PathBuf {
        self.root.join("cmeel.prefix/lib/cmake/fmt")
    }

    /// A file of each package, without which the set is not whole.
    pub fn needed(&self) -> Vec<PathBuf> {
        let system = self.platform.system;
        let mut needed = vec![
            self.cmake(),
            self.ninja(),
            self.libclang().join(system.shared_library("clang")),
            self.json().join("nlohmann/json.hpp"),
            self.fmt().join("fmt-config.cmake"),
        ];
        if !system.brings_blas_and_verbs() {
            let openblas = self.openblas();
            needed.push(openblas.join("include/cblas.h"));
            needed.push(openblas.join("lib/libscipy_openblas.so"));
        }
        needed
    }

    fn is_whole(&self) -> bool {
        self.needed().iter().all(|path| path.is_file())
    }
}

/// The `maturin` program of a tool set below `root`, on every platform.
pub fn maturin(root: &Path) -> PathBuf {
    root.join("bin/maturin")
}

/// The `uv` program of a tool set below `root`, on every platform.
pub fn uv(root: &Path) -> PathBuf {
    root.join("bin/uv")
}

/// The first line of a program's `--version`, or who installs it.
pub(crate) fn version_of(
    launcher: &Launcher,
    program: &'static str,
    why: &'static str,
    remedy: &'static str,
) -> Result<String> {
    let mut command = Command::new(program);
    command.arg("--version");
    process::ask(launcher, program, command)
        .map(|v| v.lines().next().unwrap_or_default().to_owned())
        .map_err(|error| {
            error.unless_interrupted(|| Error::MissingTool {
                tool: program,
                why,
                remedy: remedy.to_owned(),
            })
        })
}

impl Toolchain {
    /// The tool set, installed first when the store does not have it.
    ///
    /// # Errors
    /// When pip is missing, or cannot reach an index, or a file it gets does not
    /// have a pinned hash.
    pub fn tools(&self) -> Result<Tools> {
        let tools = self.tools_if_present();
        let set = set();
        self.pip_install(&set, |root| {
            Tools::at(Platform::HERE, &set.key, root).is_whole()
        })?;
        Ok(tools)
    }

    /// The `uv` program, installed first when the store does not have it. Tests hold what
    /// `cargo xtask pin snippet` writes against it.
    ///
    /// # Errors
    /// As [`Toolchain::tools`].
    pub fn uv(&self) -> Result<PathBuf> {
        let root = self.pip_install(&uv_set(), |root| uv(root).is_file())?;
        Ok(uv(&root))
    }

    /// Where the tool set is or would be.
    pub(crate) fn tools_if_present(&self) -> Tools {
        let set = set();
        // Without a place for a store there is none, and nothing is there either.
        let root = self
            .store()
            .entry(Kind::Tools, &set.key)
            .unwrap_or_default();
        Tools::at(Platform::HERE, &set.key, &root)
    }

    pub(crate) fn tools_are_present(&self) -> bool {
        self.tools_if_present().is_whole()
    }
}

fn set() -> PipSet {
    PipSet::new("CMake, Ninja, libclang, OpenBLAS, json, fmt", REQUIREMENTS)
}

pub(crate) fn uv_set() -> PipSet {
    PipSet::new("uv", UV)
}

/// The version of the macOS SDK, on macOS.
pub(crate) fn sdk_version(environment: &Environment) -> Result<Option<String>> {
    if Platform::HERE.system != System::MacOs {
        return Ok(None);
    }
    let mut xcrun = Command::new("xcrun");
    environment
        .apply(&mut xcrun)
        .args(["--sdk", "macosx", "--show-sdk-version"]);
    let what = "asking for the macOS SDK's version";
    process::ask(environment.launcher(), what, xcrun)
        .map(|v| Some(v.trim().to_owned()))
        .map_err(|error| {
            error.unless_interrupted(|| Error::MissingTool {
                tool: "the macOS SDK",
                why: "jaccl needs SDK 26.2 or newer",
                remedy: "xcode-select --install".into(),
            })
        })
}

/// Hashes every file of a folder of ours, names and contents.
pub(crate) fn folder_hash(folder: &Path) -> Result<String> {
    Ok(pins::Listing::of_folder(folder)?.tree_id().to_string())
}
