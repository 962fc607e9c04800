//! What is present, what is missing, and how to get it.

use std::{env, fs, path::Path};

use pins::{Pin, Series};
use serde::Serialize;

use crate::{
    Toolchain,
    build::Request,
    compiler::Compilers,
    error::{Error, IoContext},
    macos,
    manifest::Component,
    platform::{Platform, System},
    store::Kind,
    tools,
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
    /// It is there and was changed.
    Broken,
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
            Check::of(
                "git",
                patch_series::git::version(&self.launcher).map_err(Error::from),
            ),
            Check::of(
                "cargo",
                tools::version_of(
                    &self.launcher,
                    "cargo",
                    "sources come through cargo",
                    "https://rustup.rs",
                ),
            ),
            Check::of(
                "C++ compiler",
                Compilers::detect(&self.environment).and_then(|compilers| {
                    compilers.try_cxx20(&self.environment)?;
                    let cxx = &compilers.cxx;
                    Ok(format!("{} ({})", cxx.program.version, cxx.identity.target))
                }),
            ),
            Check::of(
                "bash",
                tools::version_of(
                    &self.launcher,
                    "bash",
                    "MLX's own build runs scripts with it",
                    Platform::HERE.system.bash_remedy(),
                ),
            ),
            Check::of("Python", self.python_in_words()),
            Check::of("store", self.writable_store()),
            self.tool_set(),
            self.wheel_builder(),
        ];
        if Component::Dylib.is_cross() {
            checks.push(self.cross_compiler());
        }
        match Pin::versions(&self.patches_folder()) {
            Ok(versions) => {
                for version in versions {
                    checks.extend(self.pin_checks(&version));
                }
            }
            Err(error) => checks.push(Check::missing("pins", &error.into())),
        }
        checks.push(shared_memory());
        match Platform::HERE.system {
            System::Linux => checks.push(rdma_devices()),
            System::MacOs => checks.extend(self.mac()),
        }
        checks
    }

    fn mac(&self) -> Vec<Check> {
        let sdk = tools::sdk_version(&self.environment)
            .and_then(|version| macos::checked_sdk(&version.unwrap_or_default()));
        vec![
            Check::of(
                "Command Line Tools",
                macos::developer_folder(&self.launcher),
            ),
            Check::of("macOS SDK", sdk),
            Check::of("Metal compiler", macos::metal_in_words(&self.environment)),
            Check::present("RDMA over Thunderbolt", macos::rdma_status(&self.launcher)),
        ]
    }

    fn writable_store(&self) -> Result<String, Error> {
        self.scratch()?;
        Ok(self.store().root()?.display().to_string())
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

    fn cross_compiler(&self) -> Check {
        if self.zig_is_present() {
            Check::present("zig", "compiles jaccl for a Mac")
        } else {
            Check::on_demand(
                "zig",
                "pip installs it into the store, about 100 MB",
                "cargo xtask wheel --platform macos",
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
        let is_fetched = self.store().holds(Kind::Source, &pin.mlx.tree.to_string());
        let mut checks = vec![if is_fetched {
            Check::present(&source, format!("tree {}", pin.mlx.tree))
        } else {
            Check::on_demand(&source, "not fetched yet", &fetch)
        }];
        for series in Series::ALL {
            checks.push(self.build_check(&pin, series));
        }
        checks
    }

    fn build_check(&self, pin: &Pin, series: Series) -> Check {
        let version = &pin.version;
        let name = format!("MLX {version} build ({series})");
        let command = format!("cargo xtask build --mlx {version} --series {series}");
        let request = Request::mlx(pin, series);
        let inputs = match self.recorded_inputs(&request) {
            Ok(inputs) => inputs,
            Err(error) => return Check::missing(&name, &error),
        };
        let newest = self.newest_build(request.component, version, series, &[]);
        match (self.find(&request), inputs, newest) {
            (Err(error), ..) => Check::missing(&name, &error),
            (Ok(Some(build)), ..) => Check::present(&name, format!("build {}", build.manifest.key)),
            (Ok(None), Some(inputs), Some(stale)) => Check::on_demand(
                &name,
                format!(
                    "build {} is stale: {} changed since",
                    stale.key,
                    inputs.changes_since(&stale.inputs).join(", ")
                ),
                &command,
            ),
            _ => {
                let takes = match request.component {
                    Component::MlxOfWheel => "about 2 minutes",
                    _ => "5 to 10 minutes on 2 cores",
                };
                Check::on_demand(&name, format!("not built yet, {takes}"), &command)
            }
        }
    }
}

fn shared_memory() -> Check {
    let folder = Platform::HERE.system.shared_memory();
    let detail = match folder.filter(|folder| folder.is_dir()) {
        Some(folder) => format!("emulated cables live in {}", folder.display()),
        None => format!("emulated cables live in {}", env::temp_dir().display()),
    };
    Check::present("shared memory", detail)
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
