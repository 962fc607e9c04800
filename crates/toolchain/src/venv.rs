//! A wheel of MLX as a user would get it: looked at, and installed by pip.

use std::path::{Path, PathBuf};

use serde_json::Value;
use wheel::{
    Check, Dylib, FileName, SharedObject, Wheel,
    linux::{self, LIBMLX},
    macos, overlay,
};
use xshell::cmd;

use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    pip::python,
    platform::{Platform, System},
    process::shell_in,
    store::Scratch,
};

/// A wheel whose structure was looked at. Nothing of it was run.
#[derive(Debug, Clone)]
pub struct Examined {
    /// The file.
    pub path: PathBuf,
    /// What its name says.
    pub name: FileName,
    /// The SHA-256 of the file.
    pub sha256: String,
    /// What was seen.
    pub checks: Vec<Check>,
    /// What it says of itself, if this project made it.
    pub manifest: Option<Value>,
    /// Whether it is for this system and processor.
    pub runs_here: bool,
}

impl Examined {
    /// Whether every check holds.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    /// The version of MLX without a local part, which names a pin.
    fn release(&self) -> String {
        self.name.version.only_release().to_string()
    }
}

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

    /// A folder around it, which disappears with it.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    fn environment(&self) -> PathBuf {
        self.scratch.path().join("venv")
    }
}

impl Toolchain {
    /// Looks at a wheel of MLX, for whatever system it is.
    ///
    /// # Errors
    /// When it is no wheel, or none with a library of MLX.
    pub fn examine_wheel(&self, path: &Path) -> Result<Examined> {
        let path = std::path::absolute(path).at("resolve", path)?;
        let mut wheel = Wheel::open(&path)?;
        let name = wheel.name().clone();
        let mut checks = vec![match wheel.verify() {
            Ok(()) => Check::of("record", true, "every file has the hash that RECORD says"),
            Err(error) => Check::of("record", false, error.to_string()),
        }];
        if wheel.has(LIBMLX) {
            checks.extend(linux_checks(&mut wheel)?);
        } else if wheel.has(macos::LIBMLX) {
            checks.extend(macos_checks(&mut wheel)?);
        } else {
            return Err(wheel::Error::Unfit {
                file: path,
                problem: format!("has neither {LIBMLX} nor {}", macos::LIBMLX),
                remedy: "pass a wheel of mlx-cpu or mlx-metal, or one of mlx that has its library"
                    .into(),
            }
            .into());
        }
        let manifest = wheel.of_dist_info(overlay::MANIFEST);
        let manifest = match wheel.has(&manifest) {
            true => serde_json::from_str(&wheel.read_text(&manifest)?).ok(),
            false => None,
        };
        Ok(Examined {
            sha256: Wheel::sha256(&path)?.0,
            runs_here: runs_here(&name.tag.platform),
            path,
            name,
            checks,
            manifest,
        })
    }

    /// Installs a wheel into an environment of its own. Beside a wheel that has the library
    /// alone goes the official one with the Python module, of the same pin.
    ///
    /// # Errors
    /// As [`Toolchain::front_wheel`] and [`Toolchain::venv`], and when there is no pin of
    /// its version.
    pub fn install_wheel(&self, examined: &Examined) -> Result<Venv> {
        let mut wheels = Vec::new();
        if examined.name.name != "mlx" {
            let pin = self.pin(&examined.release())?;
            let ask = "import sys; print('cp%d%d' % sys.version_info[:2])";
            let python = self.python(&["-c", ask])?.ok_or_else(crate::pip::no_pip)?;
            wheels.push(self.front_wheel(&pin, &python)?);
        }
        wheels.push(examined.path.clone());
        self.venv(&wheels)
    }

    /// An environment of the Python that the toolchain uses, in which pip has installed
    /// these wheels and nothing else: pip reaches no index, and installs no dependency.
    ///
    /// # Errors
    /// When there is no Python with pip or venv, and when pip refuses a wheel: it is
    /// damaged, or it is for another platform or another Python.
    pub fn venv(&self, wheels: &[PathBuf]) -> Result<Venv> {
        let scratch = self.scratch()?;
        let venv = Venv { scratch };
        self.progress
            .step("Installing", "the wheel into a fresh environment");
        self.venv_in(venv.folder(), &venv.environment(), wheels)?;
        self.progress.finish();
        Ok(venv)
    }

    /// [`Toolchain::venv`] at `environment`; `scratch` is for pip's own files. Gives the
    /// folder with the packages.
    pub(crate) fn venv_in(
        &self,
        scratch: &Path,
        environment: &Path,
        wheels: &[PathBuf],
    ) -> Result<PathBuf> {
        let (shell, pip) = (shell_in(scratch)?, self.python_with_pip(scratch)?);
        let python = python();
        // pip is not installed into it: some distributions leave out what venv would take
        // it from, and the environment needs none.
        let make = cmd!(shell, "{python} -m venv --without-pip {environment}");
        let what = "making a Python environment";
        launch::run(&self.launcher, what, make, None, |_| {})?;
        let interpreter = environment.join("bin/python");
        let packages = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let ask = cmd!(shell, "{interpreter} -I -c {packages}");
        let packages = launch::capture(&self.launcher, "asking Python", ask)?;
        let packages = packages.trim();
        let install = cmd!(
            shell,
            "{pip} -m pip install --quiet --no-input --no-deps --no-index --no-compile
             --target {packages} {wheels...}"
        );
        self.run_pip(install).map_err(|error| match error {
            error @ launch::Error::Failed { .. } => Error::Refused(error),
            error => error.into(),
        })?;
        Ok(packages.into())
    }
}

/// Whether a platform tag is one of this machine's system and processor.
fn runs_here(platform: &str) -> bool {
    let Platform { system, arch } = Platform::HERE;
    platform.split('.').any(|tag| match system {
        System::Linux => {
            (tag.starts_with("manylinux") || tag.starts_with("linux"))
                && tag.ends_with(&format!("_{arch}"))
        }
        System::MacOs => tag.starts_with("macosx_") && tag.ends_with("_arm64"),
    })
}

/// The structure of a wheel for Linux, as far as it shows without its base.
fn linux_checks(wheel: &mut Wheel) -> Result<Vec<Check>> {
    let content = wheel.read(LIBMLX)?;
    let libmlx = SharedObject::parse(LIBMLX, &content)?;
    let tag = wheel.name().tag.platform.clone();
    Ok(vec![
        linux::has_jaccl(&content),
        linux::fits_platform(&tag, &libmlx.machine, &linux::needs([&libmlx])),
    ])
}

/// The structure of a wheel for macOS, as far as it shows without its base.
fn macos_checks(wheel: &mut Wheel) -> Result<Vec<Check>> {
    const NAME: &str = "jaccl";
    if !wheel.has(macos::LIBJACCL) {
        let problem = format!("there is no {}", macos::LIBJACCL);
        return Ok(vec![Check::of(NAME, false, problem)]);
    }
    let libjaccl = Dylib::parse(macos::LIBJACCL, wheel.read(macos::LIBJACCL)?)?;
    let libmlx = Dylib::parse(macos::LIBMLX, wheel.read(macos::LIBMLX)?)?;
    Ok(macos::structure(&libjaccl, &libmlx)?)
}
