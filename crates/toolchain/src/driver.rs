//! CMake in a child process of ours.
//!
//! The `cmake` crate is made for build scripts: it prints on standard output, reads its
//! settings from the environment and panics when CMake fails. So it runs in a process of
//! its own, whose environment is the build's, whose output is the log, and that can be
//! ended at any time.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use serde::{Deserialize, Serialize};
use xshell::cmd;

use crate::{
    Toolchain,
    compiler::TRIPLE,
    error::{Error, IoContext, Result},
    process::{cargo, shell_in},
};

/// The first argument that makes a program drive CMake; the second is the spec's file.
const ASKED: &str = "__cmake";

/// Which program drives CMake.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Driver {
    /// `rails-cmake` of this crate, which cargo compiles first when it must.
    #[default]
    Cargo,
    /// This `rails-cmake`.
    Program(PathBuf),
    /// A program whose `main` begins with [`run_if_asked`], usually the running one.
    Hosted(PathBuf),
}

/// What CMake is to do, as one process hands it to the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The folder of our CMakeLists.txt.
    pub recipe: PathBuf,
    /// The work folder; CMake's own is `build` in it.
    pub work: PathBuf,
    /// CMake's variables.
    pub defines: Vec<(String, String)>,
}

impl Spec {
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::malformed(file, e))?;
        fs::write(file, text + "\n").at("write", file)
    }
}

/// Drives CMake and gives the exit code, when the process was started for that; `None`
/// otherwise. The first statement of the `main` of a [`Driver::Hosted`] program.
pub fn run_if_asked() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let asked = arguments.next()? == ASKED;
    let spec = arguments.next().filter(|_| asked)?;
    Some(drive(&spec))
}

/// Does what the spec in a file says.
pub fn drive(spec: &OsStr) -> ExitCode {
    let spec: Spec = match fs::read(spec)
        .map_err(|e| e.to_string())
        .and_then(|text| serde_json::from_slice(&text).map_err(|e| e.to_string()))
    {
        Ok(spec) => spec,
        Err(problem) => {
            eprintln!("{}: {problem}", spec.display());
            return ExitCode::from(2);
        }
    };
    // CMake has said what is wrong; where the crate panics helps nobody.
    std::panic::set_hook(Box::new(|_| {}));
    match std::panic::catch_unwind(|| spec.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

impl Spec {
    fn run(&self) {
        let mut config = cmake::Config::new(&self.recipe);
        config
            .out_dir(&self.work)
            .target(TRIPLE)
            .host(TRIPLE)
            .generator("Ninja")
            .profile("Release")
            .no_default_flags(true)
            .configure_arg("-Wno-dev")
            // The crate sets variables for languages that the recipe does not use.
            .configure_arg("--no-warn-unused-cli")
            .build_target("install");
        for (name, value) in &self.defines {
            config.define(name, value);
        }
        config.build();
    }
}

impl Toolchain {
    /// The command that drives CMake with the spec in a file.
    ///
    /// # Errors
    /// When cargo cannot compile the driver.
    pub(crate) fn driver(&self, spec: &Path) -> Result<Command> {
        let mut command = match &self.driver {
            Driver::Program(program) => Command::new(program),
            Driver::Hosted(program) => {
                let mut command = Command::new(program);
                command.arg(ASKED);
                command
            }
            Driver::Cargo => Command::new(self.compile_driver()?),
        };
        command.arg(spec);
        Ok(command)
    }

    fn compile_driver(&self) -> Result<PathBuf> {
        const WHAT: &str = "compiling the program that drives CMake";
        self.progress.step("Compiling", "rails-cmake");
        let shell = shell_in(Path::new(env!("CARGO_MANIFEST_DIR")))?;
        let cargo = cargo();
        let build = cmd!(
            shell,
            "{cargo} build --quiet --bin rails-cmake --message-format json-render-diagnostics"
        );
        let messages = launch::capture(&self.launcher, WHAT, build)?;
        self.progress.finish();
        executable(&messages).ok_or_else(|| Error::Command {
            what: WHAT.into(),
            status: "no program".into(),
            tail: messages,
            log: None,
        })
    }
}

/// The program that cargo's messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    cargo_metadata::Message::parse_stream(messages.as_bytes())
        .filter_map(|message| match message {
            Ok(cargo_metadata::Message::CompilerArtifact(artifact)) => artifact.executable,
            _ => None,
        })
        .map(PathBuf::from)
        .last()
}
