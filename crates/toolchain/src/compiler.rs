//! The compilers of the machine: found as `cc` finds them, and told apart by content.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{
    environment::Environment,
    error::{Error, IoContext, Result},
    platform::Platform,
    process,
    store::sha256,
};

/// The name of the platform that this crate was compiled for, as compilers call it.
pub(crate) const TRIPLE: &str = env!("TARGET_TRIPLE");

/// Libraries of the compiler that a build is linked against.
const LIBRARIES: [&str; 2] = ["libstdc++.so", "libc++.so"];

/// Needs C++20: jaccl and its shim use concepts.
const CXX20: &str = "#include <concepts>\n\
     template <typename T> concept counted = requires(T t) { { t.size() } -> std::integral; };\n\
     struct Three { int size() const { return 3; } };\n\
     static_assert(counted<Three> && !counted<int>);\n";

/// A language that a build is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    C,
    Cxx,
}

impl Language {
    fn tool(self) -> &'static str {
        match self {
            Language::C => "a C compiler",
            Language::Cxx => "a C++ compiler",
        }
    }
}

/// The two compilers of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compilers {
    /// For C: the build's key, and on macOS the preamble that MLX compiles at run time.
    pub c: Compiler,
    /// For C++: everything else.
    pub cxx: Compiler,
}

/// A compiler, and all of it that may change what it writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiler {
    /// How this machine starts it and what it calls itself.
    pub program: Program,
    /// What is part of a build's key.
    pub identity: Identity,
}

/// A compiler as this machine starts it. No part of a build's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The absolute path.
    pub path: PathBuf,
    /// The compiler cache that starts it, as in `CXX="ccache g++"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<PathBuf>,
    /// The word that comes first, of a program that is several compilers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The first line of its `--version`.
    pub version: String,
}

impl Program {
    /// As CMake's variable for a compiler wants it.
    pub(crate) fn for_cmake(&self) -> OsString {
        let mut text = self.path.clone().into_os_string();
        if let Some(mode) = &self.mode {
            text.push(";");
            text.push(mode);
        }
        text
    }
}

/// What tells a compiler from another, wherever it lies and whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The words after its name in `CC` or `CXX`, then `CFLAGS` or `CXXFLAGS`.
    pub arguments: Vec<String>,
    /// What it compiles for, without the version of a running kernel.
    pub target: String,
    /// What it says about itself, without paths.
    pub description: Vec<String>,
    /// The SHA-256 of the program.
    pub sha256: String,
    /// The first line of its linker's version.
    pub linker: Option<String>,
    /// The first line of its assembler's version.
    pub assembler: Option<String>,
    /// The version of glibc whose headers it reads, where it reads glibc's.
    pub glibc: Option<String>,
    /// The SHA-256 of each C++ library that it knows.
    pub libraries: BTreeMap<String, String>,
}

impl Compilers {
    /// Finds both compilers: `CC` and `CXX`, with wrappers and flags in them, else what
    /// the system calls `cc` and `c++`.
    ///
    /// # Errors
    /// [`Error::MissingTool`] with the command that installs one.
    pub fn detect(environment: &Environment) -> Result<Self> {
        let detect = |language| Compiler::detect(language, environment);
        let found = detect(Language::C).and_then(|c| {
            let cxx = detect(Language::Cxx)?;
            Ok(Compilers { c, cxx })
        });
        // An answer that was not waited for is missing in what was found.
        environment.launcher().cancel().check()?;
        found
    }

    /// Compiles a few lines of C++20.
    ///
    /// # Errors
    /// [`Error::MissingTool`] that names the compiler when it does not know them.
    pub fn try_cxx20(&self, environment: &Environment) -> Result<()> {
        let folder = tempfile::tempdir().at("create a folder in", env::temp_dir())?;
        let source = folder.path().join("cxx20.cpp");
        fs::write(&source, CXX20).at("write", &source)?;
        let mut command = self.cxx.command(environment);
        command.args(["-std=c++20", "-fsyntax-only"]).arg(&source);
        process::ask(environment.launcher(), "compiling C++20", command)
            .map(|_| ())
            .map_err(|error| {
                error.unless_interrupted(|| Error::MissingTool {
                    tool: "a C++20 compiler",
                    why: "MLX and jaccl use concepts, which the C++ compiler of this machine does \
                      not compile",
                    remedy: format!(
                        "GCC 10 or newer, or Clang 10 or newer, in place of {} ({}); {}",
                        self.cxx.program.path.display(),
                        self.cxx.program.version,
                        Platform::HERE.system.compiler_remedy(),
                    ),
                })
            })
    }
}

impl Compiler {
    fn detect(language: Language, environment: &Environment) -> Result<Self> {
        let missing = || Error::MissingTool {
            tool: language.tool(),
            why: "MLX is compiled from source",
            remedy: Platform::HERE.system.compiler_remedy().into(),
        };
        // Warnings are cc's idea of flags for somebody who sets none.
        let no_flags = ["CFLAGS", "CXXFLAGS"].map(|name| (name, OsStr::new("")));
        let tool = cc::Build::new()
            .set_envs_snapshot(no_flags.into_iter().chain(environment.variables()))
            .cpp(language == Language::Cxx)
            .cargo_metadata(false)
            .cargo_warnings(false)
            .target(TRIPLE)
            .host(TRIPLE)
            .opt_level(0)
            .no_default_flags(true)
            .try_get_compiler()
            .map_err(|_| missing())?;
        let path = which(tool.path(), environment).ok_or_else(missing)?;
        // The command is [launcher] compiler [arguments].
        let command = tool.to_command();
        let launched = command.get_program() != tool.path();
        let launcher = match launched {
            true => Some(which(Path::new(command.get_program()), environment).ok_or_else(missing)?),
            false => None,
        };
        let arguments = command
            .get_args()
            .skip(usize::from(launched))
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        let asking = Asking {
            path: &path,
            arguments: &arguments,
            environment,
        };
        let version = asking.one_line("--version").ok_or_else(missing)?;
        let target = asking.one_line("-dumpmachine").ok_or_else(missing)?;
        Ok(Compiler {
            identity: Identity {
                target: without_kernel(&target),
                description: description(&asking.both("-v")),
                sha256: content(&path)?,
                linker: asking.linker(),
                assembler: asking.assembler(),
                glibc: asking.glibc(),
                libraries: asking.libraries()?,
                arguments,
            },
            program: Program {
                path,
                launcher,
                mode: None,
                version,
            },
        })
    }

    /// The compiler with its arguments, in the environment of a build.
    pub(crate) fn command(&self, environment: &Environment) -> Command {
        let mut command = Command::new(&self.program.path);
        environment
            .apply(&mut command)
            .args(&self.identity.arguments);
        command
    }

    /// Where the compiler keeps the headers that belong to it (stddef.h ...),
    /// which the packaged libclang lacks.
    pub fn builtin_headers(&self, environment: &Environment) -> Option<PathBuf> {
        let mut command = self.command(environment);
        command.arg("-print-file-name=include");
        process::ask(environment.launcher(), "asking the compiler", command)
            .ok()
            .map(|p| PathBuf::from(p.trim()))
            .filter(|p| p.join("stddef.h").is_file())
    }
}

/// Questions to a compiler.
struct Asking<'a> {
    path: &'a Path,
    arguments: &'a Vec<String>,
    environment: &'a Environment,
}

impl Asking<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.path);
        self.environment.apply(&mut command).args(self.arguments);
        command
    }

    /// What it prints, on both streams, whatever its exit status.
    fn both(&self, question: &str) -> String {
        let mut command = self.command();
        command.arg(question);
        process::ask_both(self.environment.launcher(), "asking the compiler", command)
            .unwrap_or_default()
    }

    /// What a command of this compiler's prints on success.
    fn answer(&self, command: Command) -> Option<String> {
        process::ask(self.environment.launcher(), "asking the compiler", command).ok()
    }

    fn first_line(&self, command: Command) -> Option<String> {
        let said = self.answer(command)?;
        said.lines().next().map(|line| line.trim().to_owned())
    }

    /// The first line that it prints on success.
    fn one_line(&self, question: &str) -> Option<String> {
        let mut command = self.command();
        command.arg(question);
        self.first_line(command)
    }

    /// GNU's linkers answer `--version`, Apple's `-v`.
    fn linker(&self) -> Option<String> {
        let mut command = self.command();
        if let Some(flags) = self.environment.linker_flags() {
            command.args(flags.to_string_lossy().split_whitespace());
        }
        command.arg("-Wl,--version");
        self.first_line(command).or_else(|| {
            let said = self.both("-Wl,-v");
            said.lines()
                .find(|line| line.contains("PROJECT:") || line.contains("PROGRAM:"))
                .map(str::to_owned)
        })
    }

    fn assembler(&self) -> Option<String> {
        let program = self.one_line("-print-prog-name=as")?;
        let mut command = Command::new(program);
        self.environment.apply(&mut command).arg("--version");
        self.first_line(command)
    }

    /// A newer glibc gives symbols of other versions. Its bug fixes, which change the
    /// library but no header, change no build.
    fn glibc(&self) -> Option<String> {
        let mut command = self.command();
        command.args(["-E", "-dM", "-include", "limits.h", "-x", "c", "/dev/null"]);
        let macros = self.answer(command)?;
        let value = |name: &str| {
            let mut lines = macros.lines();
            lines.find_map(|line| {
                line.strip_prefix("#define ")?
                    .strip_prefix(name)?
                    .strip_prefix(' ')
            })
        };
        Some(format!(
            "{}.{}",
            value("__GLIBC__")?,
            value("__GLIBC_MINOR__")?
        ))
    }

    fn libraries(&self) -> Result<BTreeMap<String, String>> {
        let mut libraries = BTreeMap::new();
        for name in LIBRARIES {
            let path = self.one_line(&format!("-print-file-name={name}"));
            // The bare name comes back for a library that the compiler does not know.
            if let Some(path) = path.filter(|path| Path::new(path).is_absolute()) {
                libraries.insert(name.to_owned(), content(Path::new(&path))?);
            }
        }
        Ok(libraries)
    }
}

fn content(file: &Path) -> Result<String> {
    fs::read(file).map(sha256).at("read", file)
}

/// A program's absolute path. Links stay as they are: a compiler cache that is called
/// `c++` looks at its name.
fn which(program: &Path, environment: &Environment) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return std::path::absolute(program).ok().filter(|p| p.is_file());
    }
    let path = environment
        .variables()
        .find(|(name, _)| *name == "PATH")
        .map_or_else(OsString::new, |(_, path)| path.to_owned());
    find_in(&path, program)
}

fn find_in(path: &OsStr, program: &Path) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// `arm64-apple-darwin25.2.0` names the kernel that runs, which changes with every update
/// of macOS and changes nothing in a library.
fn without_kernel(target: &str) -> String {
    match target.split_once("-darwin") {
        Some((before, _)) => format!("{before}-darwin"),
        None => target.to_owned(),
    }
}

/// The lines of `-v` that say what the compiler is and not where it lies.
fn description(said: &str) -> Vec<String> {
    const WANTED: [&str; 3] = ["Configured with:", "Thread model:", "Supported LTO"];
    said.lines()
        .map(str::trim)
        .filter(|line| {
            WANTED.iter().any(|start| line.starts_with(start)) || line.contains(" version ")
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_of_macos_is_no_other_target() {
        assert_eq!(
            without_kernel("arm64-apple-darwin25.2.0"),
            without_kernel("arm64-apple-darwin25.3.0")
        );
        assert_eq!(without_kernel("x86_64-linux-gnu"), "x86_64-linux-gnu");
    }

    #[test]
    fn a_description_has_no_paths_of_the_installation() {
        let apple = "Apple clang version 17.0.0 (clang-1700.6.3.2)\n\
                     Target: arm64-apple-darwin25.2.0\nThread model: posix\n\
                     InstalledDir: /Library/Developer/CommandLineTools/usr/bin\n";
        assert_eq!(
            description(apple),
            [
                "Apple clang version 17.0.0 (clang-1700.6.3.2)",
                "Thread model: posix"
            ]
        );
    }
}
