//! The tools of a build: the few a machine must have, and those we install.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{
    Toolchain,
    error::{Error, IoContext, Result},
    process,
    store::{Kind, sha256},
};

/// What pip installs, with the hash of every file it may download.
const REQUIREMENTS: &str = include_str!("../pins/requirements.txt");

/// CMake, Ninja and what MLX compiles against, in the store.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Names the set: its requirements and the platform.
    pub key: String,
    root: PathBuf,
}

impl Tools {
    /// The `cmake` program.
    pub fn cmake(&self) -> PathBuf {
        // The script in bin/ would want the Python that installed it.
        let folder = if cfg!(target_os = "macos") {
            "cmake/data/CMake.app/Contents/bin"
        } else {
            "cmake/data/bin"
        };
        self.root.join(folder).join("cmake")
    }

    /// The `ninja` program.
    pub fn ninja(&self) -> PathBuf {
        self.root.join("bin/ninja")
    }

    /// The folder that holds libclang, for bindgen.
    pub fn libclang(&self) -> PathBuf {
        self.root.join("clang/native")
    }

    /// OpenBLAS: `include/` and `lib/`.
    pub fn openblas(&self) -> PathBuf {
        self.root.join("scipy_openblas32")
    }

    /// The include folder of nlohmann json.
    pub fn json(&self) -> PathBuf {
        self.root.join("nlohmann_json/include")
    }

    /// The folder of fmt's CMake package.
    pub fn fmt(&self) -> PathBuf {
        self.root.join("cmeel.prefix/lib/cmake/fmt")
    }

    fn is_whole(&self) -> bool {
        let mut needed = vec![
            self.cmake(),
            self.ninja(),
            self.libclang(),
            self.json(),
            self.fmt(),
        ];
        if cfg!(target_os = "linux") {
            needed.push(self.openblas());
        }
        needed.iter().all(|path| path.exists())
    }
}

/// The C++ compiler that CMake will use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiler {
    /// The program, from `CXX` or the first of c++, g++, clang++.
    pub program: String,
    /// The first line of its `--version`.
    pub version: String,
    /// What it compiles for.
    pub target: String,
}

impl Compiler {
    /// Asks the machine's compiler who it is.
    ///
    /// # Errors
    /// [`Error::MissingTool`] with the command that installs one.
    pub fn detect() -> Result<Self> {
        let named = env::var("CXX").ok().filter(|cxx| !cxx.is_empty());
        let candidates = match &named {
            Some(cxx) => vec![cxx.as_str()],
            None => vec!["c++", "g++", "clang++"],
        };
        for program in candidates {
            let ask = |argument| {
                process::capture(
                    "asking the C++ compiler",
                    Command::new(program).arg(argument),
                )
                .ok()
            };
            if let (Some(version), Some(target)) = (ask("--version"), ask("-dumpmachine")) {
                return Ok(Compiler {
                    program: program.to_owned(),
                    version: version.lines().next().unwrap_or_default().to_owned(),
                    target: target.trim().to_owned(),
                });
            }
        }
        Err(Error::MissingTool {
            tool: "a C++ compiler",
            why: "MLX is compiled from source",
            remedy: if cfg!(target_os = "macos") {
                "xcode-select --install".into()
            } else {
                "apt-get install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora), or set CXX"
                    .into()
            },
        })
    }

    /// Where the compiler keeps the headers that belong to it (stddef.h ...),
    /// which the packaged libclang lacks.
    pub fn builtin_headers(&self) -> Option<PathBuf> {
        let printed = process::capture(
            "asking the C++ compiler",
            Command::new(&self.program).arg("-print-file-name=include"),
        );
        printed
            .ok()
            .map(|p| PathBuf::from(p.trim()))
            .filter(|p| p.join("stddef.h").is_file())
    }
}

/// The first line of a program's `--version`, or who installs it.
pub(crate) fn version_of(
    program: &'static str,
    why: &'static str,
    remedy: &'static str,
) -> Result<String> {
    process::capture(program, Command::new(program).arg("--version"))
        .map(|v| v.lines().next().unwrap_or_default().to_owned())
        .map_err(|_| Error::MissingTool {
            tool: program,
            why,
            remedy: remedy.to_owned(),
        })
}

/// Which git applies patches.
pub(crate) fn git_version() -> Result<String> {
    let remedy = "apt-get install git (Debian, Ubuntu), dnf install git (Fedora)";
    version_of("git", "patches are applied by git", remedy)
}

/// The Python that runs pip: `MLX_RAILS_PYTHON`, else `python3`.
pub(crate) fn python() -> String {
    env::var("MLX_RAILS_PYTHON")
        .ok()
        .filter(|p| !p.is_empty())
        .unwrap_or_else(|| "python3".into())
}

/// Whether pip answers, and as what.
pub(crate) fn pip_version() -> Result<String> {
    process::capture(
        "asking pip",
        Command::new(python()).args(["-m", "pip", "--version"]),
    )
    .map_err(|_| Error::MissingTool {
        tool: "pip",
        why: "CMake, Ninja, libclang and OpenBLAS are installed with it into the store",
        remedy: "apt-get install python3-pip (Debian, Ubuntu), python3 -m ensurepip (elsewhere), \
                     or set MLX_RAILS_PYTHON to a Python that has it"
            .into(),
    })
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

impl Toolchain {
    /// The tool set, installed first when the store does not have it.
    ///
    /// # Errors
    /// When pip is missing, or cannot reach an index, or a file it gets does not
    /// have a pinned hash.
    pub fn tools(&self) -> Result<Tools> {
        let tools = self.tools_if_present();
        if tools.is_whole() {
            return Ok(tools);
        }
        let _lock = self.store.lock(
            &format!("tools-{}", tools.key),
            &*self.progress,
            &self.cancel,
        )?;
        if tools.is_whole() {
            return Ok(tools);
        }
        self.progress.step(
            "Installing",
            "CMake, Ninja, libclang, OpenBLAS, json, fmt (pip, into the store)",
        );
        let scratch = self.store.scratch()?;
        let requirements = scratch.path().join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS).at("write", &requirements)?;
        let made = scratch.path().join("tools");
        let mut pip = Command::new(python_with_pip(scratch.path())?);
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
            .arg(&made)
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
        .map_err(with_pip_remedy)?;
        let whole = Tools {
            key: tools.key.clone(),
            root: made.clone(),
        }
        .is_whole();
        if !whole {
            return Err(Error::malformed(
                &made,
                "pip succeeded, but a tool is not where it should be",
            ));
        }
        if tools.root.exists() {
            fs::remove_dir_all(&tools.root).at("remove", &tools.root)?;
        }
        self.store.publish(Kind::Tools, &tools.key, &made)?;
        self.progress.finish();
        Ok(tools)
    }

    /// Where the tool set is or would be.
    pub(crate) fn tools_if_present(&self) -> Tools {
        let platform = format!("{}-{}", env::consts::OS, env::consts::ARCH);
        let key = sha256(format!("{platform}\n{REQUIREMENTS}"))[..16].to_owned();
        Tools {
            root: self.store.entry(Kind::Tools, &key),
            key,
        }
    }

    pub(crate) fn tools_are_present(&self) -> bool {
        self.tools_if_present().is_whole()
    }
}

/// The version of the macOS SDK, on macOS.
pub(crate) fn sdk_version() -> Result<Option<String>> {
    if !cfg!(target_os = "macos") {
        return Ok(None);
    }
    process::capture(
        "asking for the macOS SDK's version",
        Command::new("xcrun").args(["--sdk", "macosx", "--show-sdk-version"]),
    )
    .map(|v| Some(v.trim().to_owned()))
    .map_err(|_| Error::MissingTool {
        tool: "the macOS SDK",
        why: "jaccl needs SDK 26.2 or newer",
        remedy: "xcode-select --install".into(),
    })
}

/// Hashes every file of a folder of ours, names and contents.
pub(crate) fn folder_hash(folder: &Path) -> Result<String> {
    Ok(crate::tree::Listing::of_folder(folder)?
        .tree_id()
        .to_string())
}
