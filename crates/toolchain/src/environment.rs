//! What a build sees of the environment.
//!
//! CMake, Ninja and the compilers get the variables named here and no others, so that
//! nothing can change a build without being part of its key.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::Command,
};

use launch::Launcher;

use crate::{
    build_script::{MLX_ENV, PREFIX_ENV, SERIES_ENV},
    store::STORE_ENV,
};

/// Names a folder with metal-cpp, in place of the pinned one.
pub const METAL_CPP_ENV: &str = "MLX_RAILS_METAL_CPP";

/// Variables that the compilers obey and that may change what they write. Their values
/// are part of a build's key.
const HASHED: [&str; 4] = [
    "DEVELOPER_DIR",
    "LDFLAGS",
    "MACOSX_DEPLOYMENT_TARGET",
    "SDKROOT",
];

/// Variables that choose the compilers and their flags. They become part of the
/// [`Compiler`](crate::compiler::Compiler)s, which are part of a build's key: another
/// name of the same compiler is the same key.
const COMPILERS: [&str; 4] = ["CC", "CFLAGS", "CXX", "CXXFLAGS"];

/// Variables that programs need to run and that change no byte of what they write. The
/// compilers that are found through `PATH` are part of a build's key by their content.
const PASSED: [&str; 5] = [
    "HOME",
    "LD_LIBRARY_PATH",
    "PATH",
    "TMPDIR",
    "XDG_CACHE_HOME",
];

/// Starts of the names of further variables as in [`PASSED`]: compiler caches.
const PASSED_PREFIXES: [&str; 2] = ["CCACHE_", "SCCACHE_"];

/// Variables with one value for everybody: messages in English, no dates in files.
const FIXED: [(&str, &str); 4] = [
    ("LANG", "C"),
    ("LC_ALL", "C"),
    ("SOURCE_DATE_EPOCH", "0"),
    ("ZERO_AR_DATE", "1"),
];

/// Every variable that may change which build is taken or what is in it. A build script
/// that takes a build reruns when one of them changes.
pub fn obeyed() -> impl Iterator<Item = &'static str> {
    let places = ["HOME", "PATH", "XDG_CACHE_HOME", STORE_ENV];
    let chosen = [METAL_CPP_ENV, MLX_ENV, PREFIX_ENV, SERIES_ENV];
    HASHED
        .into_iter()
        .chain(COMPILERS)
        .chain(places)
        .chain(chosen)
}

/// The part of an environment that a build may see, and what starts the programs that see it.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
    metal_cpp: Option<PathBuf>,
    launcher: Launcher,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self::of(env::vars_os())
    }

    /// That of `variables`. An empty variable counts as not set.
    pub fn of<K, V>(variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<OsStr>,
        V: Into<OsString>,
    {
        let mut environment = Environment::default();
        for (name, value) in variables {
            let (Some(name), value) = (name.as_ref().to_str(), value.into()) else {
                continue;
            };
            if value.is_empty() {
                continue;
            }
            if name == METAL_CPP_ENV {
                environment.metal_cpp = Some(value.into());
            } else if is_seen(name) {
                environment.variables.insert(name.to_owned(), value);
            }
        }
        environment
    }

    /// With programs that end when `launcher` wishes to stop.
    pub(crate) fn attended(self, launcher: Launcher) -> Self {
        Environment { launcher, ..self }
    }

    /// What starts the programs.
    pub(crate) fn launcher(&self) -> &Launcher {
        &self.launcher
    }

    /// The variables that are part of a build's key by their value.
    pub fn hashed(&self) -> BTreeMap<String, String> {
        self.variables
            .iter()
            .filter(|(name, _)| HASHED.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.to_string_lossy().into_owned()))
            .collect()
    }

    /// The linker's flags, `LDFLAGS`.
    pub fn linker_flags(&self) -> Option<&OsStr> {
        self.variables.get("LDFLAGS").map(OsString::as_os_str)
    }

    /// The folder that `MLX_RAILS_METAL_CPP` names.
    pub fn metal_cpp(&self) -> Option<&PathBuf> {
        self.metal_cpp.as_ref()
    }

    /// All that a program of a build gets: this and what is the same for everybody.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        let fixed = FIXED.map(|(name, value)| (name, OsStr::new(value)));
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_os_str()))
            .chain(fixed)
    }

    /// Gives `command` this environment and nothing else.
    pub fn apply<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env_clear().envs(self.variables())
    }
}

fn is_seen(name: &str) -> bool {
    HASHED.contains(&name)
        || COMPILERS.contains(&name)
        || PASSED.contains(&name)
        || PASSED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_a_build_gets_what_is_listed_and_no_more() {
        let environment = Environment::of([
            ("PATH", "/bin"),
            ("CPATH", "/somewhere/include"),
            ("CMAKE_TOOLCHAIN_FILE", "/somewhere/toolchain.cmake"),
            ("CCACHE_DIR", "/cache"),
            ("LC_ALL", "de_DE.UTF-8"),
            ("CXX", ""),
        ]);
        let mut command = Command::new("true");
        environment.apply(&mut command);
        let given: BTreeMap<_, _> = command.get_envs().collect();
        let value = |name: &str| given.get(OsStr::new(name)).copied().flatten();
        assert_eq!(value("PATH"), Some(OsStr::new("/bin")));
        assert_eq!(value("CCACHE_DIR"), Some(OsStr::new("/cache")));
        assert_eq!(value("LC_ALL"), Some(OsStr::new("C")));
        for name in ["CPATH", "CMAKE_TOOLCHAIN_FILE", "CXX"] {
            assert_eq!(value(name), None, "{name}");
        }
    }

    #[test]
    fn every_hashed_variable_is_obeyed() {
        let obeyed: Vec<_> = obeyed().collect();
        for name in HASHED.into_iter().chain(COMPILERS) {
            assert!(obeyed.contains(&name), "{name}");
        }
    }
}
