//! One run of CMake and Ninja, watched and logged.

use std::{
    ffi::OsString,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use crate::{
    error::{Error, IoContext, Result},
    manifest::{Component, Inputs},
    process::{self, Cancel},
    progress::Progress,
    tools::Tools,
};

/// Text that is in jaccl and not in the stub upstream compiles in its place.
const JACCL_MARK: &[u8] = b"JACCL_IBV_DEVICES";

/// What is compiled, at the paths that Ninja will remember.
pub(crate) struct Sources {
    /// Our CMake files.
    pub recipe: PathBuf,
    /// The patched MLX.
    pub mlx: PathBuf,
    /// mlx-c, or the C shim over jaccl.
    pub companion: PathBuf,
    /// `infiniband/verbs.h`, on Linux.
    pub verbs: Option<PathBuf>,
}

pub(crate) struct Compilation<'a> {
    pub inputs: &'a Inputs,
    pub tools: &'a Tools,
    pub sources: &'a Sources,
    /// Ninja's folder; what is in it from before is built upon.
    pub folder: &'a Path,
    pub log: &'a Path,
    pub progress: &'a dyn Progress,
    pub cancel: &'a Cancel,
}

impl Compilation<'_> {
    /// Configures, compiles, installs into `prefix`, and looks whether jaccl is
    /// in what came out.
    pub(crate) fn run(&self, jobs: Option<NonZeroUsize>, prefix: &Path) -> Result<()> {
        let what = self.inputs.to_string();
        discard_if_moved(self.folder)?;
        self.progress.step("Configuring", &what);
        self.attend("configuring MLX with CMake", self.configure(), |_| {})?;

        self.progress.step("Building", &what);
        self.attend("compiling MLX", self.ninja(jobs), |line| {
            if let Some((done, total)) = ninja_status(line) {
                self.progress.advance(done, total, "compile steps");
            }
        })?;
        self.attend("installing MLX", self.install(prefix), |_| {})?;
        self.progress.finish();

        let library = prefix.join("lib").join(self.inputs.component.library());
        assert_jaccl(&self.inputs.mlx, &library)
    }

    fn configure(&self) -> Command {
        let Self {
            inputs,
            tools,
            sources,
            ..
        } = self;
        let companion = match inputs.component {
            Component::Mlx => "RAILS_MLXC_DIR",
            Component::Jaccl => "RAILS_SHIM_DIR",
        };
        let mut cmake = Command::new(tools.cmake());
        cmake
            .args(["-G", "Ninja", "-S"])
            .arg(&sources.recipe)
            .arg("-B")
            .arg(self.folder)
            .arg(definition("CMAKE_MAKE_PROGRAM", tools.ninja()))
            .arg(definition("CMAKE_CXX_COMPILER", &inputs.compiler.program))
            .arg(definition("RAILS_MLX_DIR", &sources.mlx))
            .arg(definition(companion, &sources.companion))
            .arg(definition("RAILS_JSON_DIR", tools.json()))
            .arg(definition("fmt_DIR", tools.fmt()))
            .arg(definition("RAILS_BUILD_KEY", inputs.key()))
            .args(
                inputs
                    .options
                    .iter()
                    .map(|(name, value)| definition(name, value)),
            );
        if let Some(verbs) = &sources.verbs {
            cmake
                .arg(definition("RAILS_VERBS_DIR", verbs))
                .arg(definition("RAILS_OPENBLAS_DIR", tools.openblas()));
        }
        cmake
    }

    fn ninja(&self, jobs: Option<NonZeroUsize>) -> Command {
        let mut ninja = Command::new(self.tools.ninja());
        ninja
            .arg("-C")
            .arg(self.folder)
            .env("NINJA_STATUS", "[%f/%t] ");
        if let Some(jobs) = jobs.or_else(|| thread::available_parallelism().ok()) {
            ninja.arg(format!("-j{jobs}"));
        }
        ninja
    }

    fn install(&self, prefix: &Path) -> Command {
        let mut cmake = Command::new(self.tools.cmake());
        cmake
            .arg("--install")
            .arg(self.folder)
            .arg("--prefix")
            .arg(prefix);
        cmake
    }

    /// The log is published with the build; of a failed one it stays in the work
    /// folder, for the error to name.
    fn attend(&self, what: &str, mut command: Command, line: impl FnMut(&str)) -> Result<()> {
        let outcome = process::run(what, &mut command, self.cancel, Some(self.log), line);
        outcome.map_err(|error| match error {
            Error::Command {
                what, status, tail, ..
            } => {
                let kept = self.folder.with_file_name("build.log");
                let log = fs::copy(self.log, &kept).ok().map(|_| kept);
                Error::Command {
                    what,
                    status,
                    tail,
                    log,
                }
            }
            other => other,
        })
    }
}

/// CMake refuses a folder that was configured under another name, as after the
/// store was moved.
fn discard_if_moved(build: &Path) -> Result<()> {
    let Ok(cache) = fs::read_to_string(build.join("CMakeCache.txt")) else {
        return Ok(());
    };
    let home = format!("CMAKE_CACHEFILE_DIR:INTERNAL={}", build.display());
    if cache.lines().any(|line| line == home) {
        return Ok(());
    }
    fs::remove_dir_all(build).at("remove", build)
}

fn definition(name: &str, value: impl AsRef<Path>) -> OsString {
    let mut argument = OsString::from(format!("-D{name}="));
    argument.push(value.as_ref());
    argument
}

/// `[12/345] Building ...`
fn ninja_status(line: &str) -> Option<(u64, u64)> {
    let (done, total) = line.strip_prefix('[')?.split_once(']')?.0.split_once('/')?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

/// Upstream compiles a stub and says nothing when it thinks jaccl unsupported.
fn assert_jaccl(version: &str, library: &Path) -> Result<()> {
    let content = fs::read(library).at("read", library)?;
    let found = content
        .windows(JACCL_MARK.len())
        .any(|window| window == JACCL_MARK);
    found.then_some(()).ok_or_else(|| Error::BadBuild {
        pin: version.to_owned(),
        problem: format!("{} has no jaccl in it", library.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::ninja_status;

    #[test]
    fn ninja_counts_are_read_and_other_lines_are_not() {
        assert_eq!(
            ninja_status("[7/118] Building CXX object x.o"),
            Some((7, 118))
        );
        assert_eq!(ninja_status("ninja: entering directory"), None);
        assert_eq!(ninja_status("[warning] a/b"), None);
    }
}
