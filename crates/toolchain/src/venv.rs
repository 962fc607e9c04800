//! Wheels in an environment of their own, as pip installs them.

use std::path::{Path, PathBuf};

use xshell::cmd;

use crate::{
    Toolchain,
    error::{Error, Result},
    pip::python,
    process::shell_in,
    store::Scratch,
};

/// A Python environment with nothing in it but the wheels that it was made with. It
/// disappears on drop.
pub struct Venv {
    scratch: Scratch,
}

impl Venv {
    /// Its interpreter.
    pub fn python(&self) -> PathBuf {
        self.environment().join("bin/python")
    }

    /// A folder beside it, which disappears with it.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    fn environment(&self) -> PathBuf {
        self.scratch.path().join("venv")
    }
}

impl Toolchain {
    /// An environment of the Python that the toolchain uses, in which pip has installed
    /// these wheels and nothing else: pip reaches no index, and installs no dependency.
    ///
    /// # Errors
    /// When there is no Python with pip or venv, and when pip refuses a wheel: it is
    /// damaged, or it is for another platform or another Python.
    pub fn venv(&self, wheels: &[&Path]) -> Result<Venv> {
        let scratch = self.scratch()?;
        let (shell, pip) = (
            shell_in(scratch.path())?,
            self.python_with_pip(scratch.path())?,
        );
        let venv = Venv { scratch };
        let (python, environment) = (python(), venv.environment());
        self.progress
            .step("Installing", "the wheel into a fresh environment");
        let run = |what: &str, command: xshell::Cmd<'_>| {
            launch::run(&self.launcher, what, command, None, |_| {})
        };
        // pip is not installed into it: some distributions leave out what venv would take
        // it from, and the environment needs none.
        run(
            "making a Python environment",
            cmd!(shell, "{python} -m venv --without-pip {environment}"),
        )?;
        let interpreter = venv.python();
        let packages = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let ask = cmd!(shell, "{interpreter} -I -c {packages}");
        let packages = launch::capture(&self.launcher, "asking Python", ask)?;
        let packages = packages.trim();
        let install = cmd!(
            shell,
            "{pip} -m pip install --quiet --no-input --no-deps --no-index --no-compile
             --target {packages} {wheels...}"
        )
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .env("PIP_USER", "0");
        run("pip", install).map_err(|error| match error {
            error @ launch::Error::Failed { .. } => Error::Refused(error),
            error => error.into(),
        })?;
        self.progress.finish();
        Ok(venv)
    }
}
