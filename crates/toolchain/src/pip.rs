//! What pip installs into the store: pinned packages, each file by its hash.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use pins::OfficialWheel;
use wheel::FileName;
use xshell::cmd;

use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    platform::Platform,
    process::shell_in,
    store::{Kind, sha256, write_listing},
};

/// Packages that are installed together.
#[derive(Debug, Clone)]
pub(crate) struct PipSet {
    /// What is in it, in words.
    pub what: &'static str,
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

    /// Packages of which some are for one CPython alone, named as in a wheel's tag
    /// (`cp312`).
    pub fn of_python(what: &'static str, requirements: &'static str, python: &str) -> Self {
        let set = PipSet::new(what, requirements);
        let key = sha256(format!("{python}\n{}", set.key))[..16].to_owned();
        PipSet { key, ..set }
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

    pub(crate) fn pip_into(&self, folder: &Path, set: &PipSet, scratch: &Path) -> Result<()> {
        self.refuse_offline(set)?;
        let requirements = scratch.join("requirements.txt");
        fs::write(&requirements, set.requirements).at("write", &requirements)?;
        let (shell, python) = (shell_in(scratch)?, self.python_with_pip(scratch)?);
        self.pip(cmd!(
            shell,
            "{python} -m pip install --quiet --no-input --no-deps --only-binary=:all:
             --require-hashes --no-compile --requirement {requirements} --target {folder}"
        ))
    }

    /// Downloads one wheel, for whatever platform, into `folder`.
    ///
    /// # Errors
    /// As [`Toolchain::pip_install`].
    pub(crate) fn pip_download(
        &self,
        wheel: &OfficialWheel,
        folder: &Path,
        scratch: &Path,
    ) -> Result<()> {
        let name = FileName::parse(&wheel.file).ok_or_else(|| {
            let problem = format!("{} is no wheel", wheel.file);
            Error::inconsistent("the list of official wheels", problem)
        })?;
        if self.offline {
            return Err(Error::Input {
                input: wheel.file.clone(),
                problem: "it is not in the store, and pip may not fetch it with --offline".into(),
                remedy: "run the same command once without --offline, or pass the file with \
                         --base"
                    .into(),
            });
        }
        let (distribution, version) = (name.name.replace('_', "-"), &name.version);
        let line = format!("{distribution}=={version} --hash=sha256:{}\n", wheel.sha256);
        // A wheel of `py3` is for every one.
        let python_version = match name.tag.python.strip_prefix("cp3") {
            Some(minor) => format!("3.{minor}"),
            None => "3.12".to_owned(),
        };
        let mut target = vec![
            "--implementation",
            "cp",
            "--python-version",
            &python_version,
        ];
        for platform in name.tag.platform.split('.') {
            target.extend(["--platform", platform]);
        }
        self.pip_download_as(&line, &target, folder, scratch)
    }

    /// Downloads what is required, for any platform, into `folder`.
    ///
    /// # Errors
    /// As [`Toolchain::pip_install`].
    pub(crate) fn pip_download_any(
        &self,
        set: &PipSet,
        folder: &Path,
        scratch: &Path,
    ) -> Result<()> {
        self.refuse_offline(set)?;
        self.pip_download_as(set.requirements, &[], folder, scratch)
    }

    fn pip_download_as(
        &self,
        required: &str,
        target: &[&str],
        folder: &Path,
        scratch: &Path,
    ) -> Result<()> {
        let requirements = scratch.join("requirements.txt");
        fs::write(&requirements, required).at("write", &requirements)?;
        let (shell, python) = (shell_in(scratch)?, self.python_with_pip(scratch)?);
        self.pip(cmd!(
            shell,
            "{python} -m pip download --quiet --no-input --no-deps --only-binary=:all:
             --require-hashes {target...} --requirement {requirements} --dest {folder}"
        ))
    }

    fn refuse_offline(&self, set: &PipSet) -> Result<()> {
        match self.offline {
            false => Ok(()),
            true => Err(Error::MissingTool {
                tool: set.what,
                why: "pip may not fetch with --offline",
                remedy: "run the same command once without --offline".into(),
            }),
        }
    }

    fn pip(&self, pip: xshell::Cmd<'_>) -> Result<()> {
        self.run_pip(pip).map_err(|error| match error {
            error @ launch::Error::Failed { .. } => Error::Pip(error),
            error => error.into(),
        })
    }

    /// Runs pip with what every run of it has in common.
    pub(crate) fn run_pip(&self, pip: xshell::Cmd<'_>) -> Result<(), launch::Error> {
        let pip = pip
            // By environment, because an older pip refuses options it lacks.
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_ROOT_USER_ACTION", "ignore")
            // A user's `pip --user` default contradicts --target.
            .env("PIP_USER", "0");
        launch::run(&self.launcher, "pip", pip, None, |_| {})
    }
}

/// The Python that runs pip: `MLX_RAILS_PYTHON`, else `python3`.
pub(crate) fn python() -> String {
    env::var("MLX_RAILS_PYTHON")
        .ok()
        .filter(|p| !p.is_empty())
        .unwrap_or_else(|| "python3".into())
}

impl Toolchain {
    /// The Python that will install the tool set, in words: one that has pip, or one that
    /// can make an environment that has it.
    pub(crate) fn python_in_words(&self) -> Result<String> {
        if let Some(pip) = self.pip_version()? {
            return Ok(pip);
        }
        // Debian's venv without its package ensurepip makes environments without pip.
        let can = self.python(&["-c", "import venv, ensurepip"])?;
        match (can, self.python(&["--version"])?) {
            (Some(_), Some(version)) => Ok(format!(
                "{version} without pip, of which venv makes one with it"
            )),
            _ => Err(no_pip()),
        }
    }

    /// What pip answers, where there is one.
    fn pip_version(&self) -> Result<Option<String>> {
        self.python(&["-m", "pip", "--version"])
    }

    /// What Python answers, where it does.
    pub(crate) fn python(&self, arguments: &[&str]) -> Result<Option<String>> {
        let mut command = Command::new(python());
        command.args(arguments);
        match launch::capture(&self.launcher, "asking Python", command) {
            Ok(said) => Ok(Some(said.trim().to_owned())),
            Err(launch::Error::Interrupted(interrupted)) => Err(interrupted.into()),
            Err(_) => Ok(None),
        }
    }

    /// The user's Python when it has pip, else that of an environment made in `scratch`:
    /// distributions leave pip out more often than what makes one.
    pub(crate) fn python_with_pip(&self, scratch: &Path) -> Result<PathBuf> {
        if self.pip_version()?.is_some() {
            return Ok(python().into());
        }
        let environment = scratch.join("venv");
        let folder = environment.display().to_string();
        match self.python(&["-m", "venv", &folder])? {
            Some(_) => Ok(environment.join("bin/python")),
            None => Err(no_pip()),
        }
    }
}

pub(crate) fn no_pip() -> Error {
    Error::MissingTool {
        tool: "a Python with pip or venv",
        why: "CMake, Ninja, libclang and OpenBLAS are installed with it into the store",
        remedy: Platform::HERE.system.pip_remedy().into(),
    }
}
