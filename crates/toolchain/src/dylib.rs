//! libjaccl for a Mac, from any machine.
//!
//! On a Mac its own compiler makes it. Elsewhere zig does, which the Python index has: a
//! Clang with Apple's C headers and a linker that signs. Two things come from no Apple
//! file. The verbs headers are rdma-core's; a wheel's checks hold the offsets that it
//! calls at against those of the official library. And libc++ is bound through a text stub
//! that lists the symbols which the libraries of the base wheel bind, so that the linker
//! refuses what that macOS may not have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use wheel::{Dylib, macos};

use crate::{
    Toolchain,
    compiler::{Compiler, Compilers, Identity, Program},
    error::{Error, IoContext, Result},
    manifest::Component,
    pip::PipSet,
    platform::{Platform, System},
    store::{Kind, sha256},
};

/// Zig, with the hash of every file that pip may download for it.
const ZIG: &str = include_str!("../pins/zig.txt");

/// CMake's description of zig, in the recipe's folder.
pub(crate) const TOOLCHAIN_FILE: &str = "zig.cmake";

/// The library whose place a libjaccl takes, as far as it matters to compilers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DylibTarget {
    /// The oldest macOS that it loads on, such as `26.2`.
    pub minimum_macos: String,
    /// The symbols of libc++ that may be bound.
    pub libcxx: BTreeSet<String>,
    /// The version of libc++ that the base was linked against.
    pub libcxx_version: String,
}

impl DylibTarget {
    /// What takes the place of `libjaccl` beside `libmlx`.
    pub fn of(libjaccl: &Dylib, libmlx: &Dylib) -> Self {
        let libcxx = |it: &&wheel::macho::Dependency| it.path.ends_with("/libc++.1.dylib");
        DylibTarget {
            minimum_macos: libjaccl.minimum_macos.to_string(),
            libcxx: macos::libcxx_symbols(&[libjaccl, libmlx]),
            libcxx_version: (libjaccl.dependencies.iter().find(libcxx))
                .map_or_else(|| "1".to_owned(), |it| it.current.to_string()),
        }
    }

    /// CMake's variables.
    pub(crate) fn options(&self, sdk: Option<&str>) -> BTreeMap<String, String> {
        let mut options = BTreeMap::from([
            ("RAILS_COMPONENT", "dylib".to_owned()),
            ("CMAKE_BUILD_TYPE", "Release".to_owned()),
            ("FETCHCONTENT_FULLY_DISCONNECTED", "ON".to_owned()),
            // Below it jaccl is left out.
            (
                "MACOS_SDK_VERSION",
                sdk.unwrap_or(crate::macos::WITH_JACCL).to_owned(),
            ),
        ]);
        options.extend([self.deployment()]);
        let named = options
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        named.collect()
    }

    /// What makes a library load on the oldest macOS: to Apple's compilers CMake tells it;
    /// zig's target has it, and the stub is what may change besides.
    pub(crate) fn deployment(&self) -> (&'static str, String) {
        match Component::Dylib.is_cross() {
            true => ("RAILS_LIBCXX_SHA256", sha256(self.stub())),
            false => ("CMAKE_OSX_DEPLOYMENT_TARGET", self.minimum_macos.clone()),
        }
    }

    /// A text stub (`.tbd`, version 4) of libc++, as linkers for macOS read it.
    fn stub(&self) -> String {
        let symbols: Vec<String> = self.libcxx.iter().map(|it| format!("'{it}'")).collect();
        format!(
            "--- !tapi-tbd\ntbd-version: 4\ntargets: [ arm64-macos ]\n\
             install-name: /usr/lib/libc++.1.dylib\ncurrent-version: {}\nexports:\n  \
             - targets: [ arm64-macos ]\n    symbols: [ {} ]\n...\n",
            self.libcxx_version,
            symbols.join(", ")
        )
    }

    /// Writes the stub below `work`.
    pub(crate) fn write_stub(&self, work: &Path) -> Result<PathBuf> {
        let file = work.join("libc++.1.tbd");
        // Ninja links again after a change of it.
        if fs::read_to_string(&file).ok() != Some(self.stub()) {
            fs::write(&file, self.stub()).at("write", &file)?;
        }
        Ok(file)
    }
}

/// Zig in the store.
pub(crate) struct Zig {
    key: String,
    program: PathBuf,
}

impl Zig {
    /// Zig as the two compilers of a build. Without a target they are the same compilers,
    /// for a key that another input gives a target.
    pub fn compilers(&self, target: Option<&DylibTarget>) -> Compilers {
        let version = ZIG
            .lines()
            .find_map(|line| line.split_once("==")?.1.split(' ').next());
        let version = format!("zig {}", version.unwrap_or_default());
        let compiler = |mode: &str| Compiler {
            program: Program {
                path: self.program.clone(),
                launcher: None,
                mode: Some(mode.to_owned()),
                version: version.clone(),
            },
            identity: Identity {
                arguments: (target.into_iter())
                    .flat_map(|target| {
                        let named = format!("aarch64-macos.{}", target.minimum_macos);
                        ["-target".into(), named]
                    })
                    .collect(),
                target: "aarch64-macos".into(),
                description: vec![version.clone()],
                // pip held the program against its hash, which is in the key.
                sha256: self.key.clone(),
                linker: None,
                assembler: None,
                glibc: None,
                libraries: BTreeMap::new(),
            },
        };
        Compilers {
            c: compiler("cc"),
            cxx: compiler("c++"),
        }
    }
}

pub(crate) fn zig_set() -> PipSet {
    PipSet::new("zig, which compiles for macOS", ZIG)
}

fn program(root: &Path) -> PathBuf {
    root.join("ziglang/zig")
}

impl Toolchain {
    /// Installs zig when the store does not have it.
    pub(crate) fn zig(&self) -> Result<()> {
        let is_pinned =
            |it: &Platform| (it.system, it.arch) == (System::Linux, Platform::HERE.arch);
        if !Platform::PINNED.iter().any(is_pinned) {
            return Err(Error::MissingTool {
                tool: "zig",
                why: "the one that is pinned is for Linux on x86-64 and aarch64 alone",
                remedy: "build the wheel on a Mac, or on such a machine".into(),
            });
        }
        self.pip_install(&zig_set(), |root| program(root).is_file())?;
        Ok(())
    }

    /// Whether the store has zig.
    pub(crate) fn zig_is_present(&self) -> bool {
        self.zig_if_present().is_ok_and(|zig| zig.program.is_file())
    }

    /// Where zig is or would be.
    pub(crate) fn zig_if_present(&self) -> Result<Zig> {
        let key = zig_set().key;
        let root = self.store().entry(Kind::Tools, &key)?;
        Ok(Zig {
            key,
            program: program(&root),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stub_lists_what_may_be_bound() {
        let target = DylibTarget {
            minimum_macos: "26.2".into(),
            libcxx: ["__Znwm", "__ZdlPv"].map(str::to_owned).into(),
            libcxx_version: "2100.43".into(),
        };
        let stub = target.stub();
        assert!(stub.starts_with("--- !tapi-tbd\n"), "{stub}");
        assert!(stub.contains("symbols: [ '__ZdlPv', '__Znwm' ]"), "{stub}");
        assert!(stub.contains("current-version: 2100.43\n"), "{stub}");
    }
}
