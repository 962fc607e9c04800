//! What is present, what is missing, and how to get it.

use std::{env, fs, path::Path};

use serde::Serialize;

use crate::{
    Toolchain,
    error::{Error, IoContext},
    manifest::Component,
    pin::Pin,
    pip,
    series::Series,
    store::Kind,
    tools::{self, Compiler},
};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is there.
    Present,
    /// It is not there, and the next command that needs it gets it.
    OnDemand,
    /// It is not there, and only the user can get it.
    Missing,
}

/// One line of the doctor's report.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked for.
    pub name: String,
    /// Whether it was found.
    pub status: Status,
    /// What was found, or why it is missed.
    pub detail: String,
    /// The exact command that gets it, when it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn present(name: &str, detail: impl Into<String>) -> Self {
        Check {
            name: name.into(),
            status: Status::Present,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn on_demand(name: &str, detail: impl Into<String>, command: &str) -> Self {
        Check {
            name: name.into(),
            status: Status::OnDemand,
            detail: detail.into(),
            remedy: Some(command.into()),
        }
    }

    fn missing(name: &str, error: &Error) -> Self {
        let (detail, remedy) = match error {
            Error::MissingTool { why, remedy, .. } => ((*why).to_owned(), Some(remedy.clone())),
            other => (other.to_string(), other.help()),
        };
        Check {
            name: name.into(),
            status: Status::Missing,
            detail,
            remedy,
        }
    }

    fn of(name: &str, found: Result<String, Error>) -> Self {
        match found {
            Ok(detail) => Check::present(name, detail),
            Err(error) => Check::missing(name, &error),
        }
    }
}

impl Toolchain {
    /// Looks at the machine and the store, and tries whether the store can be
    /// written; reaches nothing.
    pub fn doctor(&self) -> Vec<Check> {
        let mut checks = vec![
            Check::of("git", tools::git_version()),
            Check::of(
                "cargo",
                tools::version_of("cargo", "sources come through cargo", "https://rustup.rs"),
            ),
            Check::of(
                "C++ compiler",
                Compiler::detect().map(|c| format!("{} ({})", c.version, c.target)),
            ),
            Check::of("pip", pip::pip_version().map(|v| v.trim().to_owned())),
            Check::of("store", self.writable_store()),
            self.tool_set(),
            self.wheel_builder(),
        ];
        match Pin::versions(&self.patches_folder()) {
            Ok(versions) => {
                for version in versions {
                    checks.extend(self.pin_checks(&version));
                }
            }
            Err(error) => checks.push(Check::missing("pins", &error)),
        }
        checks.push(shared_memory());
        checks.push(rdma_devices());
        checks
    }

    fn writable_store(&self) -> Result<String, Error> {
        self.store
            .scratch()
            .map(|_| self.store.root().display().to_string())
    }

    fn tool_set(&self) -> Check {
        const NAME: &str = "CMake, Ninja, libclang, OpenBLAS, json, fmt";
        if self.tools_are_present() {
            Check::present(NAME, format!("tool set {}", self.tools_if_present().key))
        } else {
            Check::on_demand(
                NAME,
                "pip installs them into the store, about 65 MB",
                "cargo xtask build",
            )
        }
    }

    fn wheel_builder(&self) -> Check {
        if self.maturin_is_present() {
            Check::present("maturin", "packs the rail-matrix wheel")
        } else {
            Check::on_demand(
                "maturin",
                "pip installs it into the store, about 10 MB",
                "cargo xtask wheel --rail-matrix",
            )
        }
    }

    fn pin_checks(&self, version: &str) -> Vec<Check> {
        let source = format!("MLX {version} source");
        let pin = match self.pin(version) {
            Ok(pin) => pin,
            Err(error) => return vec![Check::missing(&source, &error)],
        };
        let fetch = format!("cargo xtask fetch --mlx {version}");
        let mut checks = vec![if self
            .store
            .entry(Kind::Source, &pin.mlx.tree.to_string())
            .is_dir()
        {
            Check::present(&source, format!("tree {}", pin.mlx.tree))
        } else {
            Check::on_demand(&source, "not fetched yet", &fetch)
        }];
        for series in [Series::Stock, Series::Patched] {
            let name = format!("MLX {version} build ({series})");
            let command = format!("cargo xtask build --mlx {version} --series {series}");
            checks.push(
                match self.newest_build(Component::Mlx, version, series, None) {
                    Some(m) => Check::present(&name, format!("build {}", m.key)),
                    None => Check::on_demand(
                        &name,
                        "not built yet, 5 to 10 minutes on 2 cores",
                        &command,
                    ),
                },
            );
        }
        checks
    }
}

fn shared_memory() -> Check {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() {
        Check::present("shared memory", "emulated cables live in /dev/shm")
    } else {
        Check::present(
            "shared memory",
            format!(
                "no /dev/shm; emulated cables live in {}",
                env::temp_dir().display()
            ),
        )
    }
}

/// Real devices are never needed: every command works over emulated cables.
fn rdma_devices() -> Check {
    let folder = Path::new("/sys/class/infiniband");
    let mut names: Vec<String> = fs::read_dir(folder)
        .at("read", folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Check::present(
        "RDMA devices",
        if names.is_empty() {
            "none; emulated cables are used".into()
        } else {
            names.join(", ")
        },
    )
}
