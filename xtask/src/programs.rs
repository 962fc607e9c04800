//! Compiles the programs of ranks, and finds out where cargo put them.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::anyhow;
use cargo_metadata::Artifact;
use pins::{Pin, Series};
use rail_bench::{
    engine::{Engine, EngineProgram},
    hosts::LIBRARIES,
};
use remote::Part;
use toolchain::{build::Build, build_script::PREFIX_ENV};
use xshell::cmd;

use crate::{
    cargo,
    exit::{Context, Failure, Result},
    say,
    session::Session,
};

pub struct Programs {
    /// The engines.
    pub engines: Vec<EngineProgram>,
    /// What each engine needs on another machine, in their order.
    pub parts: Vec<Vec<Part>>,
    /// The emulated RDMA provider.
    pub provider: PathBuf,
}

impl Programs {
    /// Compiles or installs the programs of a benchmark for a build of MLX.
    pub fn compile(
        session: &Session,
        (pin, series): (&Pin, Series),
        build: &Build,
        engines: &[Engine],
    ) -> Result<Self> {
        let mut programs = Programs {
            engines: vec![],
            parts: vec![],
            provider: provider(session)?,
        };
        for engine in engines {
            let (program, parts) = match engine {
                Engine::Rust => rust_engine(session, build)?,
                Engine::MlxLm => mlx_lm_engine(session, pin, series)?,
            };
            programs.engines.push(program);
            programs.parts.push(parts);
        }
        Ok(programs)
    }
}

fn rust_engine(session: &Session, build: &Build) -> Result<(EngineProgram, Vec<Part>)> {
    let rank = rank(session, build)?;
    let mut parts = vec![Part::new("rail-rank", &rank)];
    let folder = build.prefix.join("lib");
    let unreadable = || format!("cannot read {}", folder.display());
    let files = fs::read_dir(&folder).map_err(Failure::ours);
    for file in files.with_context(unreadable)?.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if [".so", ".dylib", ".metallib"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            let [.., libraries] = LIBRARIES;
            parts.push(Part::new(format!("{libraries}/{name}"), file.path()));
        }
    }
    let key = build.manifest.key.clone();
    Ok((EngineProgram::rust(rank, key), parts))
}

fn mlx_lm_engine(
    session: &Session,
    pin: &Pin,
    series: Series,
) -> Result<(EngineProgram, Vec<Part>)> {
    let environment = session.toolchain.mlx_lm(pin, series)?;
    let folder = session.toolchain.root().join("target/ranks/mlx-lm");
    // The environment names the folder of packages by its place beside it.
    let folders = environment.folders.iter().map(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        Part::new(name, folder)
    });
    let mut parts: Vec<_> = folders.collect();
    parts.push(Part::new("engine", &folder));
    let program = EngineProgram::mlx_lm(environment.python, environment.build, &folder)
        .map_err(Failure::ours)
        .with_context(|| format!("cannot write the engine to {}", folder.display()))?;
    Ok((program, parts))
}

/// Compiles `rail-rank` against a build. Cargo has one file for it, which the next build
/// replaces, while a benchmark starts ranks as long as it runs. So the rank gets a copy
/// whose name contains the build.
fn rank(session: &Session, build: &Build) -> Result<PathBuf> {
    let ranks = session.toolchain.root().join("target/ranks");
    let folder = ranks.join(&build.manifest.key);
    let at = || format!("cannot copy the rank to {}", folder.display());
    fs::create_dir_all(&folder)
        .map_err(Failure::ours)
        .with_context(at)?;
    // From compiling to copying, so that no rank of another benchmark comes in between.
    let _lock = lock(session, &ranks.join("lock")).with_context(at)?;
    let shell = &session.shell;
    let artifacts = cargo::build(
        session,
        cmd!(shell, "cargo build --release --package rail-rank").env(PREFIX_ENV, &build.prefix),
    )?;
    let program = executable(&artifacts, "rail-rank")?;
    copy(&program, &folder.join("rail-rank"))
        .map_err(Failure::ours)
        .with_context(at)
}

/// Waits for other processes of this user that do the same.
fn lock(session: &Session, path: &Path) -> Result<File> {
    let file = File::create(path).map_err(Failure::ours)?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if !said {
                    say!("waiting for another `cargo xtask bench` to compile its rank");
                    said = true;
                }
                session.launcher.cancel().check()?;
                thread::sleep(Duration::from_millis(50));
            }
            Err(TryLockError::Error(error)) => return Err(Failure::ours(error)),
        }
    }
}

/// Copies a program in one step, because ranks of another benchmark may be running the
/// old file.
fn copy(program: &Path, to: &Path) -> io::Result<PathBuf> {
    let unfinished = to.with_extension(format!("{}.new", std::process::id()));
    fs::copy(program, &unfinished)?;
    fs::rename(&unfinished, to)?;
    Ok(to.to_owned())
}

/// Compiles the programs that use jaccl alone. They do not link MLX.
pub fn of_verify(session: &Session) -> Result<rail_verify::group::Programs> {
    let shell = &session.shell;
    let build = cmd!(shell, "cargo build --release --package rail-verify");
    Ok(rail_verify::group::Programs {
        rank: executable(&cargo::build(session, build)?, "jaccl-rank")?.into(),
        provider: provider(session)?,
        hosts: None,
    })
}

/// Compiles the program that runs ranks on other machines.
pub fn agent(session: &Session) -> Result<PathBuf> {
    let shell = &session.shell;
    let build = cmd!(
        shell,
        "cargo build --release --package remote --bin rails-agent"
    );
    executable(&cargo::build(session, build)?, "rails-agent")
}

/// Compiles one package by itself. Beside another package, its dependencies would get the
/// features that the other package needs, and cargo would compile it anew for every verb.
/// All packages are optimised, because their programs are measured or waited for.
pub fn provider(session: &Session) -> Result<PathBuf> {
    let shell = &session.shell;
    let build = cmd!(shell, "cargo build --release --package softrail-provider");
    shared_library(&cargo::build(session, build)?, "softrail_provider")
}

/// The verbs library that counts and passes through to another one.
pub fn meter(session: &Session) -> Result<PathBuf> {
    let shell = &session.shell;
    let build = cmd!(shell, "cargo build --release --package meter-verbs");
    shared_library(&cargo::build(session, build)?, "rails_meter")
}

/// What ranks on other machines load in the place of the system's verbs library.
pub fn in_place_of_verbs(emulator: Option<&Path>, meter: Option<&Path>) -> Vec<Part> {
    let [first, second, _] = LIBRARIES;
    let part = |(folder, library): (&str, Option<&Path>)| {
        let name = format!("{folder}/{}", softrail::LIBRARY);
        library.map(|library| Part::new(name, library))
    };
    [(first, meter), (second, emulator)]
        .into_iter()
        .filter_map(part)
        .collect()
}

/// The emulator as the tests compile it, without the time for optimising it.
pub fn provider_of_tests(session: &Session) -> Result<PathBuf> {
    let shell = &session.shell;
    let build = cmd!(shell, "cargo build --package softrail-provider");
    shared_library(&cargo::build(session, build)?, "softrail_provider")
}

/// The command for the nodes of a rig. `rails-ping` belongs to this project, and is
/// compiled first.
pub fn of_rig(session: &Session, command: &[String], provider: &Path) -> Result<Vec<String>> {
    let mut command = command.to_vec();
    if command
        .first()
        .is_some_and(|program| program == "rails-ping")
    {
        let program = session.toolchain.rails_ping(provider)?;
        command[0] = program.display().to_string();
    }
    Ok(command)
}

fn executable(artifacts: &[Artifact], name: &str) -> Result<PathBuf> {
    artifacts
        .iter()
        .filter(|artifact| artifact.target.name == name)
        .find_map(|artifact| artifact.executable.clone())
        .map(PathBuf::from)
        .ok_or_else(|| Failure::ours(anyhow!("cargo built no program {name}")))
}

fn shared_library(artifacts: &[Artifact], name: &str) -> Result<PathBuf> {
    artifacts
        .iter()
        .filter(|artifact| artifact.target.name == name)
        .flat_map(|artifact| &artifact.filenames)
        .find(|file| matches!(file.extension(), Some("so" | "dylib")))
        .map(PathBuf::from)
        .ok_or_else(|| Failure::ours(anyhow!("cargo built no shared library {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_at_real_cables_load_the_systems_verbs_library() {
        let [emulator, meter] = ["e", "m"].map(Path::new);
        let names = |emulator, meter| {
            let parts = in_place_of_verbs(emulator, meter).into_iter();
            let parts = parts.map(|it| (it.name.replace(softrail::LIBRARY, "verbs"), it.local));
            parts.collect::<Vec<_>>()
        };
        assert_eq!(names(None, None), []);
        let before = |folder: &str, library: &Path| (format!("{folder}/verbs"), library.to_owned());
        assert_eq!(names(None, Some(meter)), [before("meter", meter)]);
        let both = [before("meter", meter), before("cables", emulator)];
        assert_eq!(names(Some(emulator), Some(meter)), both);
    }
}
