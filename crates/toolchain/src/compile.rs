//! One run of CMake and Ninja, watched and logged.

use std::{
    ffi::OsStr,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use launch::Launcher;

use crate::{
    Toolchain,
    compiler::Compilers,
    driver::Spec,
    error::{Error, IoContext, Result},
    manifest::{Component, Inputs},
    tools::Tools,
};

/// Text that is in jaccl and not in the stub upstream compiles in its place.
const JACCL_MARK: &[u8] = b"JACCL_IBV_DEVICES";

/// What is compiled, at the paths that Ninja will remember.
pub(crate) struct Sources {
    /// Our CMake files.
    pub recipe: PathBuf,
    /// The variable of CMake and the folder of each that it compiles or links: the patched
    /// MLX, mlx-c, the C shim over jaccl.
    pub folders: Vec<(&'static str, PathBuf)>,
    /// `infiniband/verbs.h`, on Linux.
    pub verbs: Option<PathBuf>,
    /// What zig needs, where it compiles.
    pub zig: Option<ForZig>,
    /// metal-cpp, where Metal is on.
    pub metal_cpp: Option<PathBuf>,
}

/// What zig needs to compile for macOS.
pub(crate) struct ForZig {
    /// The text stub of libc++.
    pub libcxx: PathBuf,
    /// Its description for CMake.
    pub toolchain_file: PathBuf,
}

pub(crate) struct Compilation<'a> {
    pub inputs: &'a Inputs,
    /// The compilers, told what they compile for.
    pub compilers: &'a Compilers,
    /// CMake's variables that follow from an input and are no input of their own.
    pub derived: Vec<(&'static str, String)>,
    pub tools: &'a Tools,
    pub sources: &'a Sources,
    /// Ninja's folder is `build` in it; what is there from before is built upon.
    pub work: &'a Path,
    pub log: &'a Path,
}

impl Compilation<'_> {
    /// Configures, compiles, installs into `prefix`, and looks whether jaccl is
    /// in what came out.
    pub(crate) fn run(
        &self,
        toolchain: &Toolchain,
        jobs: Option<NonZeroUsize>,
        prefix: &Path,
    ) -> Result<()> {
        let what = self.inputs.to_string();
        let file = self.work.join("spec.json");
        self.spec(toolchain, prefix)?.save(&file)?;
        let mut driver = toolchain.driver(&file)?;
        toolchain
            .environment
            .apply(&mut driver)
            .env("CMAKE", self.tools.cmake())
            .env("NINJA_STATUS", "[%f/%t] ");
        if self.sources.zig.is_some() {
            // Zig's cache, which is in the user's folder of caches otherwise.
            driver.env("ZIG_GLOBAL_CACHE_DIR", self.work.join("zig"));
        }
        if let Some(jobs) = jobs.or_else(|| thread::available_parallelism().ok()) {
            driver.env("NUM_JOBS", jobs.to_string());
        }

        let progress = &*toolchain.progress;
        progress.step("Configuring", &what);
        let mut compiling = false;
        self.attend(driver, &toolchain.launcher, |line| {
            if let Some((done, total)) = ninja_status(line) {
                if !compiling {
                    progress.step("Building", &what);
                    compiling = true;
                }
                progress.advance(done, total, "compile steps");
            }
        })?;
        progress.finish();

        let library = self.inputs.component.library_with_jaccl();
        let library = prefix.join("lib").join(library);
        assert_jaccl(&self.inputs.mlx, &library)?;
        assert_whole(self.inputs, prefix)
    }

    fn spec(&self, toolchain: &Toolchain, prefix: &Path) -> Result<Spec> {
        let Self {
            inputs,
            tools,
            sources,
            work,
            ..
        } = self;
        let mut defines: Vec<(String, String)> = inputs.options.clone().into_iter().collect();
        let derived = self.derived.iter();
        defines.extend(derived.map(|(name, value)| ((*name).to_owned(), value.clone())));
        let mut define = |name: &str, value: &dyn AsRef<OsStr>| {
            let value = value.as_ref().to_string_lossy().into_owned();
            defines.push((name.to_owned(), value));
        };
        let compilers = [("C", &self.compilers.c), ("CXX", &self.compilers.cxx)];
        for (language, compiler) in compilers {
            let name = |end: &str| format!("CMAKE_{language}_{end}");
            define(&name("COMPILER"), &compiler.program.for_cmake());
            // An empty one undoes that of an earlier build in the same folder.
            let launcher = compiler.program.launcher.clone().unwrap_or_default();
            define(&name("COMPILER_LAUNCHER"), &launcher);
            define(&name("FLAGS"), &compiler.identity.arguments.join(" "));
        }
        let linker_flags = match sources.zig {
            // They are for a linker of this system.
            Some(_) => OsStr::new(""),
            None => toolchain.environment.linker_flags().unwrap_or_default(),
        };
        for kind in ["EXE", "MODULE", "SHARED"] {
            define(&format!("CMAKE_{kind}_LINKER_FLAGS"), &linker_flags);
        }
        define("CMAKE_INSTALL_PREFIX", &prefix);
        define("CMAKE_MAKE_PROGRAM", &tools.ninja());
        define("RAILS_BUILD_KEY", &inputs.key());
        for (variable, folder) in &sources.folders {
            define(variable, folder);
        }
        define("RAILS_JSON_DIR", &tools.json());
        define("fmt_DIR", &tools.fmt());
        if let Some(verbs) = &sources.verbs {
            define("RAILS_VERBS_DIR", verbs);
            define("RAILS_OPENBLAS_DIR", &tools.openblas());
        }
        if let Some(zig) = &sources.zig {
            define("RAILS_LIBCXX", &zig.libcxx);
            define("CMAKE_TOOLCHAIN_FILE", &zig.toolchain_file);
        }
        let store = toolchain.store().root()?;
        let mut places = vec![
            (work.to_path_buf(), "."),
            (store.join("sources"), "sources"),
            (tools.root().to_path_buf(), "tools"),
        ];
        if let Some(folder) = &sources.metal_cpp {
            define("FETCHCONTENT_SOURCE_DIR_METAL_CPP", folder);
            places.push((folder.clone(), "metal-cpp"));
        }
        define("RAILS_PREFIX_MAPS", &prefix_maps(&places).join(";"));
        Ok(Spec {
            recipe: sources.recipe.clone(),
            work: work.to_path_buf(),
            defines,
        })
    }

    /// The log is published with the build; of a failed one it stays in the work
    /// folder, for the error to name.
    fn attend(&self, command: Command, launcher: &Launcher, line: impl FnMut(&str)) -> Result<()> {
        let what = match self.inputs.component {
            Component::Mlx => "compiling MLX with CMake",
            Component::MlxOfWheel => "compiling mlx-c with CMake",
            Component::Jaccl => "compiling jaccl with CMake",
            Component::Dylib => "compiling jaccl for macOS with CMake",
        };
        let outcome = launch::run(launcher, what, command, Some(self.log), line);
        outcome.map_err(|error| match Error::from(error) {
            Error::Command {
                what, status, tail, ..
            } => {
                let kept = self.work.join("build.log");
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

/// What compilers write in place of folders of this machine, each also by the name that
/// remains when links are followed.
fn prefix_maps(places: &[(PathBuf, &str)]) -> Vec<String> {
    let mut maps = Vec::new();
    for (place, name) in places {
        let real = fs::canonicalize(place).unwrap_or_else(|_| place.clone());
        for folder in [place, &real] {
            let map = format!("{}={name}", folder.display());
            if !maps.contains(&map) {
                maps.push(map);
            }
        }
    }
    maps
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

/// What is linked to a build must find all that it looks for.
fn assert_whole(inputs: &Inputs, prefix: &Path) -> Result<()> {
    let needed = inputs.component.needed();
    let missing = needed.iter().find(|file| !prefix.join(file).is_file());
    missing.map_or(Ok(()), |file| {
        Err(Error::BadBuild {
            pin: inputs.mlx.clone(),
            problem: format!("there is no {file} in it"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_behind_a_link_is_mapped_by_both_names() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let maps = prefix_maps(&[(link.clone(), "tools"), (real.clone(), "work")]);
        let real = real.canonicalize().unwrap();
        assert_eq!(maps[0], format!("{}=tools", link.display()));
        assert_eq!(maps[1], format!("{}=tools", real.display()));
        assert_eq!(maps.last().unwrap(), &format!("{}=work", real.display()));
    }

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
