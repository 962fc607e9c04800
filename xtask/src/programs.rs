//! Compiling the programs of a benchmark and finding out where cargo put them.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::Value;
use toolchain::{build::Build, build_script::PREFIX_ENV};
use xshell::cmd;

use crate::session::Session;

pub struct Programs {
    /// `rail-rank`, linked against the build.
    pub rank: PathBuf,
    /// The emulated RDMA provider.
    pub provider: PathBuf,
}

impl Programs {
    /// Optimised, because they are what is measured.
    pub fn compile(session: &Session, build: &Build) -> anyhow::Result<Self> {
        let shell = &session.shell;
        let messages = cmd!(
            shell,
            "cargo build --release --package rail-rank --package softrail-provider --message-format json-render-diagnostics"
        )
        .env(PREFIX_ENV, &build.prefix)
        .quiet()
        .read();
        let messages = session.unless_interrupted(messages.context("rail-rank did not compile"))?;
        let artifacts: Vec<Value> = messages
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|message: &Value| message["reason"] == "compiler-artifact")
            .collect();
        Ok(Programs {
            rank: executable(&artifacts, "rail-rank")?,
            provider: shared_library(&artifacts, "softrail_provider")?,
        })
    }
}

fn executable(artifacts: &[Value], name: &str) -> anyhow::Result<PathBuf> {
    artifacts
        .iter()
        .filter(|artifact| artifact["target"]["name"] == name)
        .find_map(|artifact| artifact["executable"].as_str())
        .map(PathBuf::from)
        .with_context(|| format!("cargo built no program {name}"))
}

fn shared_library(artifacts: &[Value], name: &str) -> anyhow::Result<PathBuf> {
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
        .with_context(|| format!("cargo built no shared library {name}"))
}
