//! What pip installs into the store: pinned packages, each file by its hash.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    platform::Platform,
    process,
    store::{Kind, sha256, write_listing},
};

/// Packages that are installed together.
#[derive(Debug, Clone)]
pub(crate) struct PipSet {
    /// What is in it, in words.
    what: &'static str,
    /// pip's requirements, with the hash of every file it may download.
    requirements: &'static str,
    /// Names the set: its requirements and the platform.
    pub key: String,
}

impl PipSet {
    pub fn new(what: &'static str, requirements: &'static str) -> Self {
        let platform = Platform::HERE.name();
        let key = sha256(format!("{platform}\n{requirements}"))[..16].to_owned();
        PipSet {
            what,
            requirements,
            key,
        }
    }
}

impl Toolchain {
    /// The folder of a set, installed first when it `is_whole` nowhere in the store.
    ///
    /// # Errors
    /// When pip is missing, or cannot reach an index, or a file it gets does not have a
    /// pinned hash.
    pub(crate) fn pip_install(
        &self,
        set: &PipSet,
        is_whole: impl Fn(&Path) -> bool,
    ) -> Result<PathBuf> {
        let check = |entry: &Path| Ok(is_whole(entry).then_some(()));
        let installed = self.make_entry(Kind::Tools, &set.key, check, |scratch| {
            let what = format!("{} (pip, into the store)", set.what);
            self.progress.step("Installing", &what);
            let made = scratch.join("tools");
            self.pip_into(&made, set, scratch)?;
            if !is_whole(&made) {
                return Err(Error::malformed(
                    &made,
                    "pip succeeded, but a tool is not where it should be",
                ));
            }
            write_listing(&made)?;
            self.progress.finish();
            Ok((made, ()))
        })?;
        Ok(installed.path)
    }

    fn pip_into(&self, folder: &Path, set: &PipSet, scratch: &Path) -> Result<()> {
        if self.offline {
            return Err(Error::MissingTool {
                tool: set.what,
                why: "pip may not fetch with --offline",
                remedy: "run the same command once without --offline".into(),
            });
        }
        let requirements = scratch.join("requirements.txt");
        fs::write(&requirements, set.requirements).at("write", &requirements)?;
        let mut pip = Command::new(python_with_pip(scratch)?);
        pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args([
                "--no-deps",
                "--only-binary=:all:",
                "--require-hashes",
                "--no-compile",
            ])
            .arg("--requirement")
            .arg(&requirements)
            .arg("--target")
            .arg(folder)
            // By environment, because an older pip refuses options it lacks.
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_ROOT_USER_ACTION", "ignore")
            // A user's `pip --user` default contradicts --target.
            .env("PIP_USER", "0");
        process::run(
            "installing the build tools with pip",
            &mut pip,
            &self.cancel,
            None,
            |_| {},
        )
        .map_err(with_pip_remedy)
    }
}

/// The Python that runs pip: `MLX_RAILS_PYTHON`, else `python3`.
fn python() -> String {
    env::var("MLX_RAILS_PYTHON")
        .ok()
        .filter(|p| !p.is_empty())
        .unwrap_or_else(|| "python3".into())
}

/// The Python that will install the tool set, in words: one that has pip, or one that can
/// make an environment that has it.
pub(crate) fn python_in_words() -> Result<String> {
    let ask = |what: &str, arguments: &[&str]| {
        process::capture(what, Command::new(python()).args(arguments))
            .map(|said| said.trim().to_owned())
    };
    if let Ok(pip) = pip_version() {
        return Ok(pip.trim().to_owned());
    }
    // Debian's venv without its package ensurepip makes environments without pip.
    let version = ask("asking Python", &["-c", "import venv, ensurepip"])
        .and_then(|_| ask("asking Python", &["--version"]))
        .map_err(|_| no_pip())?;
    Ok(format!(
        "{version} without pip, of which venv makes one with it"
    ))
}

/// Whether pip answers, and as what.
fn pip_version() -> Result<String> {
    process::capture(
        "asking pip",
        Command::new(python()).args(["-m", "pip", "--version"]),
    )
    .map_err(|_| no_pip())
}

fn no_pip() -> Error {
    Error::MissingTool {
        tool: "a Python with pip or venv",
        why: "CMake, Ninja, libclang and OpenBLAS are installed with it into the store",
        remedy: Platform::HERE.system.pip_remedy().into(),
    }
}

/// pip says what it could not get, not where else it could look.
fn with_pip_remedy(error: Error) -> Error {
    match error {
        Error::Command {
            what,
            status,
            tail,
            log,
        } => Error::Command {
            what,
            status,
            tail: format!(
                "{tail}\npip asks the index of its configuration; another one is named by \
                 PIP_INDEX_URL, a folder of wheels by PIP_FIND_LINKS"
            ),
            log,
        },
        other => other,
    }
}

/// The user's Python when it has pip, else that of an environment made in
/// `scratch`: distributions leave pip out more often than what makes one.
fn python_with_pip(scratch: &Path) -> Result<PathBuf> {
    let python = python();
    let Err(missing) = pip_version() else {
        return Ok(python.into());
    };
    let environment = scratch.join("venv");
    let mut venv = Command::new(&python);
    venv.args(["-m", "venv"]).arg(&environment);
    match process::capture("making a Python environment", &mut venv) {
        Ok(_) => Ok(environment.join("bin/python")),
        Err(_) => Err(missing),
    }
}
