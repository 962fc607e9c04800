//! Compiling the programs that ranks are, and finding out where cargo put them.

use std::{ffi::OsStr, path::PathBuf};

use anyhow::anyhow;
use serde_json::Value;
use toolchain::{build::Build, build_script::PREFIX_ENV};
use xshell::cmd;

use crate::{
    exit::{Context, Failure, Result},
    output,
    session::Session,
};

pub struct Programs {
    /// `rail-rank`, linked against the build.
    pub rank: PathBuf,
    /// The emulated RDMA provider.
    pub provider: PathBuf,
}

impl Programs {
    /// Compiles what a benchmark runs, against a build of MLX.
    pub fn compile(session: &Session, build: &Build) -> Result<Self> {
        let prefix = [(PREFIX_ENV, build.prefix.as_os_str())];
        let artifacts = compile(session, "rail-rank", &prefix)?;
        Ok(Programs {
            rank: executable(&artifacts, "rail-rank")?,
            provider: provider(session)?,
        })
    }
}

/// Compiles what drives jaccl alone. It links no MLX.
pub fn of_verify(session: &Session) -> Result<rail_verify::group::Programs> {
    let artifacts = compile(session, "rail-verify", &[])?;
    Ok(rail_verify::group::Programs {
        rank: executable(&artifacts, "jaccl-rank")?,
        provider: provider(session)?,
    })
}

/// By itself: beside another package its dependencies would have the features that the
/// other wants, and it has one file for all, so that every verb would compile it anew.
pub fn provider(session: &Session) -> Result<PathBuf> {
    let artifacts = compile(session, "softrail-provider", &[])?;
    shared_library(&artifacts, "softrail_provider")
}

/// Optimised, because what runs is measured or waited for.
fn compile(session: &Session, package: &str, environment: &[(&str, &OsStr)]) -> Result<Vec<Value>> {
    let (shell, offline) = (&session.shell, session.offline.then_some("--offline"));
    let command = cmd!(
        shell,
        "cargo build --locked {offline...} --release --package {package}
         --message-format json-render-diagnostics"
    )
    .envs(environment.iter().copied())
    .quiet();
    output::command(&command);
    let messages = command.read();
    let messages =
        session.unless_interrupted(messages.with_context(|| "our programs did not compile"))?;
    Ok(messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|message: &Value| message["reason"] == "compiler-artifact")
        .collect())
}

fn executable(artifacts: &[Value], name: &str) -> Result<PathBuf> {
    artifacts
        .iter()
        .filter(|artifact| artifact["target"]["name"] == name)
        .find_map(|artifact| artifact["executable"].as_str())
        .map(PathBuf::from)
        .ok_or_else(|| Failure::ours(anyhow!("cargo built no program {name}")))
}

fn shared_library(artifacts: &[Value], name: &str) -> Result<PathBuf> {
    artifacts
        .iter()
        .filter(|artifact| artifact["target"]["name"] == name)
        .flat_map(|artifact| artifact["filenames"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .map(PathBuf::from)
        .find(|file| {
            file.extension()
                .is_some_and(|end| end == "so" || end == "dylib")
        })
        .ok_or_else(|| Failure::ours(anyhow!("cargo built no shared library {name}")))
}
