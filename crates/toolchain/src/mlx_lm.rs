//! The Python environment of the engine mlx-lm: mlx-lm as it is, what it needs, and MLX as
//! this project's wheel.
//!
//! It is in two entries of the store. One has mlx-lm and what it needs, and is the same for
//! every build of MLX. The other is a small environment with a build's wheel, whose path file
//! names the first, so that another series of patches needs no index.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pins::{ObjectId, Pin, Series};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wheel::{Wheel, overlay};
use xshell::cmd;

use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    pip::{PipSet, no_pip, python},
    platform::{Platform, System},
    process::shell_in,
    store::{Kind, sha256, write_listing},
    wheel::{Base, WheelRequest},
};

/// mlx-lm and what it needs, with the hash of every file that pip may download.
const REQUIREMENTS: &str = include_str!("../pins/mlx-lm.txt");

/// The CPythons that [`REQUIREMENTS`] has hashes for, as in a wheel's tag.
const PYTHONS: [&str; 4] = ["cp311", "cp312", "cp313", "cp314"];

/// Some of the packages, without which the set is not whole.
const PACKAGES: [&str; 5] = ["mlx_lm", "transformers", "tokenizers", "numpy", "jinja2"];

/// What mlx-lm imports at its start, apart from MLX. Importing it once at the installation
/// shows that the packages fit this Python and leaves their compiled code in the set, so that
/// no rank compiles it again.
const IMPORTS: &str = "import sys, site; site.addsitedir(sys.argv[1]); \
    import jinja2, numpy, sentencepiece, yaml, huggingface_hub, transformers; \
    from transformers import AutoTokenizer, PreTrainedTokenizerFast";

/// The path file in an environment that adds the packages.
const PATHS: &str = "mlx-lm.pth";
/// The file in an environment that says what it is made of.
const REPORT: &str = "environment.json";

/// A Python environment with mlx-lm on a build of MLX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlxLm {
    /// Its interpreter.
    pub python: PathBuf,
    /// The key of the build of MLX in it.
    pub build: String,
    /// The environment and its packages: all that another machine needs, side by side.
    pub folders: [PathBuf; 2],
}

/// What an environment is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// The Python that it extends.
    python: String,
    /// The key of the set with mlx-lm.
    pub packages: String,
    /// The hashes of the wheels of MLX in it.
    wheels: Vec<String>,
    /// The git tree id of the sources of MLX.
    pub patched_tree: ObjectId,
    /// The key of the build of MLX.
    build: String,
}

impl Made {
    fn key(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        sha256(text)[..16].to_owned()
    }

    /// What a whole environment is made of.
    pub fn of(entry: &Path) -> Option<Self> {
        let text = fs::read(entry.join(REPORT)).ok()?;
        let made: Self = serde_json::from_slice(&text).ok()?;
        // The link leads to a Python that may have been removed.
        entry.join("bin/python").is_file().then_some(made)
    }
}

/// The Python that an environment extends.
#[derive(Debug, Deserialize)]
struct Interpreter {
    tag: String,
    path: String,
}

impl Toolchain {
    /// The environment for the engine mlx-lm with the MLX of a pin and series, made first
    /// when the store does not have it.
    ///
    /// # Errors
    /// When there is no Python of a version that is pinned; as [`Toolchain::linux_wheel`] or
    /// [`Toolchain::macos_wheel`]; when pip cannot reach an index or a file does not have a
    /// pinned hash.
    pub fn mlx_lm(&self, pin: &Pin, series: Series) -> Result<MlxLm> {
        let interpreter = self.interpreter()?;
        let request = WheelRequest {
            pin,
            series,
            base: Base::Official,
        };
        let front = self.front_wheel(pin, &interpreter.tag)?;
        let ours = match Platform::HERE.system {
            System::Linux => self.stored_linux_wheel(&request)?,
            System::MacOs => self.stored_macos_wheel(&request)?,
        };
        let set = set(&interpreter.tag);
        let (patched_tree, build) = sources_of(&ours.path)?;
        let made = Made {
            python: interpreter.path,
            packages: set.key.clone(),
            wheels: vec![Wheel::sha256(&front)?.0, ours.sha256],
            patched_tree,
            build,
        };
        let packages = self.mlx_lm_packages(&set)?;
        let check = |entry: &Path| Ok(Made::of(entry).filter(|it| *it == made));
        let entry = self.make_entry(Kind::Tools, &made.key(), check, |scratch| {
            let what = format!("mlx-lm's environment for MLX {}, {series}", pin.version);
            self.progress.step("Making", &what);
            let environment = scratch.join("environment");
            let site = self.venv_in(scratch, &environment, &[front.clone(), ours.path.clone()])?;
            // Relative to the folder of packages: the store may be moved.
            let line = format!("../../../../{}\n", made.packages);
            fs::write(site.join(PATHS), line).at("write", site.join(PATHS))?;
            self.compile_python(scratch, &[site.join("mlx")])?;
            let report = serde_json::to_string_pretty(&made).unwrap_or_default();
            let file = environment.join(REPORT);
            fs::write(&file, report + "\n").at("write", &file)?;
            write_listing(&environment)?;
            self.progress.finish();
            Ok((environment, made.clone()))
        })?;
        debug_assert_eq!(packages.parent(), entry.path.parent());
        Ok(MlxLm {
            python: entry.path.join("bin/python"),
            build: made.build,
            folders: [entry.path, packages],
        })
    }

    /// The set with mlx-lm.
    fn mlx_lm_packages(&self, set: &PipSet) -> Result<PathBuf> {
        let is_whole = |entry: &Path| {
            let has = |package: &str| entry.join(package).join("__init__.py").is_file();
            PACKAGES.into_iter().all(has)
        };
        let check = |entry: &Path| Ok(is_whole(entry).then_some(()));
        let installed = self.make_entry(Kind::Tools, &set.key, check, |scratch| {
            let what = format!("{} (pip, into the store)", set.what);
            self.progress.step("Installing", &what);
            let made = scratch.join("packages");
            self.pip_into(&made, set, scratch)?;
            if !is_whole(&made) {
                let problem = "pip succeeded, but a package is not where it should be";
                return Err(Error::malformed(&made, problem));
            }
            self.compile_python(scratch, &[made.join("mlx_lm")])?;
            let (shell, python) = (shell_in(scratch)?, python());
            // Without this Python's own packages, which could stand in for a missing one.
            let import = cmd!(shell, "{python} -I -S -c {IMPORTS} {made}");
            launch::run(
                &self.launcher,
                "importing mlx-lm's packages",
                import,
                None,
                |_| {},
            )?;
            write_listing(&made)?;
            self.progress.finish();
            Ok((made, ()))
        })?;
        Ok(installed.path)
    }

    /// Compiles the Python files below folders.
    fn compile_python(&self, scratch: &Path, folders: &[PathBuf]) -> Result<()> {
        let (shell, python) = (shell_in(scratch)?, python());
        let compile = cmd!(shell, "{python} -I -m compileall -q {folders...}");
        launch::run(
            &self.launcher,
            "compiling Python files",
            compile,
            None,
            |_| {},
        )?;
        Ok(())
    }

    fn interpreter(&self) -> Result<Interpreter> {
        const ASK: &str = "import json, os, sys; print(json.dumps({\
            'tag': 'cp%d%d' % sys.version_info[:2], 'path': os.path.realpath(sys.executable)}))";
        let said = self.python(&["-I", "-c", ASK])?.ok_or_else(no_pip)?;
        let interpreter: Interpreter = serde_json::from_str(&said)
            .map_err(|error| Error::inconsistent("what Python says of itself", error))?;
        if PYTHONS.contains(&interpreter.tag.as_str()) {
            return Ok(interpreter);
        }
        Err(Error::Input {
            input: interpreter.path,
            problem: format!(
                "mlx-lm's packages are pinned for CPython 3.11 to 3.14, and this is {}",
                interpreter.tag
            ),
            remedy: "set MLX_RAILS_PYTHON to one of them, such as python3.12".into(),
        })
    }
}

/// The sources and the build of MLX in a wheel of ours.
fn sources_of(wheel: &Path) -> Result<(ObjectId, String)> {
    let mut opened = Wheel::open(wheel)?;
    let manifest = opened.of_dist_info(overlay::MANIFEST);
    let manifest: Value = serde_json::from_str(&opened.read_text(&manifest)?)
        .map_err(|error| Error::malformed(wheel, error))?;
    let tree = serde_json::from_value(manifest["patched_tree"].clone())
        .map_err(|error| Error::malformed(wheel, error))?;
    let build = manifest["build"].as_str();
    let build = build.ok_or_else(|| Error::malformed(wheel, "its manifest names no build"))?;
    Ok((tree, build.to_owned()))
}

fn set(python: &str) -> PipSet {
    PipSet::of_python("mlx-lm, transformers, numpy", REQUIREMENTS, python)
}

/// The keys of the sets with mlx-lm that this version may use, one for each CPython.
pub fn package_keys() -> impl Iterator<Item = String> {
    PYTHONS.into_iter().map(|python| set(python).key)
}
