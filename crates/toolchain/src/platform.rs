//! Everything in this crate that differs between operating systems.
//!
//! The functions take the platform as a value rather than ask `cfg!`, so that a test on
//! one system covers the paths and names of the others.

use std::{
    env,
    path::{Path, PathBuf},
};

/// An operating system with its processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Platform {
    /// The operating system.
    pub system: System,
    /// The processor, as Rust names it: `x86_64`, `aarch64`.
    pub arch: &'static str,
}

/// An operating system that builds are made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum System {
    /// Linux, and whatever is like it.
    Linux,
    /// macOS.
    MacOs,
}

impl Platform {
    /// The platform that this crate was compiled for.
    pub const HERE: Platform = Platform {
        system: if cfg!(target_os = "macos") {
            System::MacOs
        } else {
            System::Linux
        },
        arch: env::consts::ARCH,
    };

    /// The platforms that the tool set is pinned for.
    pub const PINNED: [Platform; 3] = [
        Platform {
            system: System::Linux,
            arch: "x86_64",
        },
        Platform {
            system: System::Linux,
            arch: "aarch64",
        },
        Platform {
            system: System::MacOs,
            arch: "aarch64",
        },
    ];

    /// `linux-x86_64`, `macos-aarch64`.
    pub fn name(self) -> String {
        let system = match self.system {
            System::Linux => "linux",
            System::MacOs => "macos",
        };
        format!("{system}-{}", self.arch)
    }
}

impl System {
    /// The system that cargo calls `os` in `CARGO_CFG_TARGET_OS`.
    pub fn of_target(os: &str) -> Self {
        match os {
            "macos" => System::MacOs,
            _ => System::Linux,
        }
    }

    /// The libraries of a build that a program which uses MLX is linked to. Exactly one of
    /// them exports `rails_build_key`, because linkers differ in which of two they take: the
    /// one that holds jaccl, unless libmlxc `has_key`. It does where jaccl is the library that
    /// goes into a wheel, which is a build with a key of its own.
    pub fn linked_of_mlx(self, has_key: bool) -> &'static [&'static str] {
        match (self, has_key) {
            (System::Linux, _) => &["mlxc", "mlx"],
            (System::MacOs, false) => &["mlxc", "jaccl"],
            (System::MacOs, true) => &["mlxc"],
        }
    }

    /// The files below the prefix of a build of MLX that a program which uses it is compiled
    /// against, linked to or runs with.
    pub fn needed_of_mlx(self) -> Vec<String> {
        let libraries: &[_] = match self {
            System::Linux => &["mlxc", "mlx"],
            System::MacOs => &["mlxc", "mlx", "jaccl"],
        };
        let libraries = libraries.iter().map(|it| self.shared_library(it));
        let mut needed: Vec<String> = libraries.map(|it| format!("lib/{it}")).collect();
        needed.extend(["include/mlx/c/mlx.h", "include/rails/build_key.h"].map(str::to_owned));
        if self == System::MacOs {
            // libmlx looks for its kernels beside itself.
            needed.push("lib/mlx.metallib".into());
        }
        needed
    }

    /// The file name of the shared library `stem`, for example `libmlxc.so`.
    pub fn shared_library(self, stem: &str) -> String {
        match self {
            System::Linux => format!("lib{stem}.so"),
            System::MacOs => format!("lib{stem}.dylib"),
        }
    }

    /// Whether a build takes BLAS from our tool set and the verbs headers from our pin.
    /// macOS has both: Accelerate, and `infiniband/verbs.h` in its SDK.
    pub fn brings_blas_and_verbs(self) -> bool {
        self == System::MacOs
    }

    /// The user's folder for caches, below `home`.
    pub fn caches(self, home: &Path) -> PathBuf {
        home.join(match self {
            System::Linux => ".cache",
            System::MacOs => "Library/Caches",
        })
    }

    /// The folder that holds shared memory, where the system shows it as files.
    pub fn shared_memory(self) -> Option<&'static Path> {
        match self {
            System::Linux => Some(Path::new("/dev/shm")),
            System::MacOs => None,
        }
    }

    /// How to get a C and a C++ compiler.
    pub fn compiler_remedy(self) -> &'static str {
        match self {
            System::Linux => {
                "apt-get install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora), or set CC and CXX"
            }
            System::MacOs => "xcode-select --install, or set CC and CXX",
        }
    }

    /// How to get bash.
    pub fn bash_remedy(self) -> &'static str {
        match self {
            System::Linux => "apt-get install bash (Debian, Ubuntu), dnf install bash (Fedora)",
            System::MacOs => "macOS has it as /bin/bash; put /bin into PATH",
        }
    }

    /// How to get a Python that has pip, or `venv` with which to make one.
    pub fn pip_remedy(self) -> &'static str {
        match self {
            System::Linux => {
                "apt-get install python3-venv (Debian, Ubuntu), dnf install python3-pip (Fedora), \
                 or set MLX_RAILS_PYTHON to a Python that has pip"
            }
            System::MacOs => {
                "xcode-select --install, or set MLX_RAILS_PYTHON to a Python that has pip"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_has_its_own_names() {
        let (linux, mac) = (System::Linux, System::MacOs);
        assert_eq!(linux.shared_library("mlxc"), "libmlxc.so");
        assert_eq!(mac.shared_library("mlxc"), "libmlxc.dylib");
        assert_eq!(
            mac.caches(Path::new("/Users/ada")),
            Path::new("/Users/ada/Library/Caches")
        );
        assert_eq!(
            linux.caches(Path::new("/home/ada")),
            Path::new("/home/ada/.cache")
        );
        assert!(
            Platform::PINNED
                .map(Platform::name)
                .contains(&"macos-aarch64".to_owned())
        );
    }

    #[test]
    fn a_program_finds_all_that_it_is_linked_to() {
        for (os, has_key, linked) in [
            ("linux", false, &["mlxc", "mlx"][..]),
            ("macos", false, &["mlxc", "jaccl"]),
            ("macos", true, &["mlxc"]),
        ] {
            let system = System::of_target(os);
            assert_eq!(system.linked_of_mlx(has_key), linked);
            let needed = system.needed_of_mlx();
            for library in linked {
                let file = format!("lib/{}", system.shared_library(library));
                assert!(needed.contains(&file), "{file}");
            }
            assert!(needed.contains(&"include/mlx/c/mlx.h".to_owned()));
        }
    }

    #[test]
    fn no_remedy_of_macos_names_a_package_manager_of_linux() {
        let mac = System::MacOs;
        for remedy in [mac.compiler_remedy(), mac.pip_remedy()] {
            assert!(
                !remedy.contains("apt-get") && !remedy.contains("dnf"),
                "{remedy}"
            );
        }
    }
}
