//! What the build scripts of `mlx-sys` and `softrail-provider` ask of the toolchain.
//!
//! Both print the `cargo:rerun-if-...` lines that belong to their answer.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use pins::{DEFAULT_PIN, Series};
use wheel::Dylib;

use crate::{
    Toolchain,
    build::{HEADERS, Request},
    compiler::Compilers,
    environment,
    error::{Error, IoContext, Result},
    platform::System,
    store::Kind,
};

/// Names a prefix to bind to instead of a build of the store.
pub const PREFIX_ENV: &str = "MLX_RAILS_PREFIX";
/// Names the pin; [`DEFAULT_PIN`] when not set.
pub const MLX_ENV: &str = "MLX_RAILS_MLX";
/// Names the series; `patched` when not set.
pub const SERIES_ENV: &str = "MLX_RAILS_SERIES";

/// Where bindgen finds libclang, and the arguments it needs to find the C
/// compiler's own headers.
#[derive(Debug, Clone)]
pub struct Clang {
    /// The folder that holds libclang, for `LIBCLANG_PATH`.
    pub libclang: PathBuf,
    /// Arguments for bindgen's `clang_args`.
    pub args: Vec<String>,
}

/// What bindings to MLX are made from, and the build they are linked to.
#[derive(Debug, Clone)]
pub struct Mlx {
    /// The build's prefix, which holds `lib/libmlxc.so` (or `.dylib`) and `include/`;
    /// `None` when the store has no such build.
    pub prefix: Option<PathBuf>,
    /// The headers: mlx-c's umbrella header, and ours.
    pub headers: Vec<PathBuf>,
    /// The folders that they include from.
    pub include: Vec<PathBuf>,
    /// What was looked for, in words: `MLX 0.31.2 (patched)`.
    pub what: String,
    /// The command that builds it.
    pub remedy: String,
    /// For bindgen.
    pub clang: Clang,
}

/// The header of the verbs ABI.
#[derive(Debug, Clone)]
pub struct Verbs {
    /// Holds `infiniband/verbs.h`.
    pub include: PathBuf,
    /// For bindgen.
    pub clang: Clang,
}

/// The MLX to bind to. Nothing of it is compiled here: cargo does not say whether a build
/// script runs for `check` or for `build`, and an editor that checks the workspace must
/// not start minutes of compiling in silence. Without a finished build there are the
/// headers of the pinned mlx-c, fetched and linked into `scratch` when they must be, from
/// which bindings can be made and checked.
///
/// # Errors
/// As [`Toolchain::fetch`], [`Toolchain::tools`] and [`Toolchain::find`]; unknown values
/// of the variables above.
pub fn mlx(scratch: &Path) -> Result<Mlx> {
    for variable in environment::obeyed() {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let toolchain = Toolchain::open()?;
    if let Some(prefix) = env::var_os(PREFIX_ENV).filter(|prefix| !prefix.is_empty()) {
        let prefix = PathBuf::from(prefix);
        let include = prefix.join("include");
        rerun_if_changed(&prefix.join("lib"));
        rerun_if_changed(&include);
        return Ok(Mlx {
            headers: headers(&include, &include),
            what: prefix.display().to_string(),
            remedy: format!("unset {PREFIX_ENV}"),
            include: vec![include],
            prefix: Some(prefix),
            clang: clang(&toolchain)?,
        });
    }
    let pin = toolchain.pin(&env::var(MLX_ENV).unwrap_or_else(|_| DEFAULT_PIN.into()))?;
    let series = match env::var(SERIES_ENV) {
        Ok(name) => name.parse().map_err(|problem| Error::Input {
            input: SERIES_ENV.into(),
            problem,
            remedy: "unset it for patched".into(),
        })?,
        Err(_) => Series::Patched,
    };
    let request = Request::mlx(&pin, series);
    // A build that appears, or goes, is seen by its folder.
    let builds = toolchain.store().entry(Kind::Build, "")?;
    fs::create_dir_all(&builds).at("create", &builds)?;
    for input in [&pin.folder, &builds] {
        rerun_if_changed(input);
    }
    for (_, recipe) in toolchain.recipes(request.component) {
        rerun_if_changed(&recipe);
    }
    let build = toolchain.find(&request)?;
    let c = scratch.join("mlx-c");
    toolchain.mlx_c(&pin, c.clone())?;
    let include = vec![c, toolchain.root.join(HEADERS)];
    Ok(Mlx {
        prefix: build.map(|build| build.prefix),
        headers: headers(&include[0], &include[1]),
        include,
        what: format!("MLX {} ({series})", pin.version),
        remedy: format!("cargo xtask build --mlx {} --series {series}", pin.version),
        clang: clang(&toolchain)?,
    })
}

/// The libraries in `prefix` that a program for `system` which uses MLX is linked to.
///
/// # Errors
/// When libmlxc cannot be read, on macOS.
pub fn linked(system: System, prefix: &Path) -> Result<&'static [&'static str]> {
    let has_key = match system {
        System::Linux => false,
        System::MacOs => {
            let name = system.shared_library("mlxc");
            let file = prefix.join("lib").join(&name);
            let content = fs::read(&file).at("read", &file)?;
            let libmlxc = Dylib::parse(&name, content)?;
            libmlxc.exports.contains("_rails_build_key")
        }
    };
    Ok(system.linked_of_mlx(has_key))
}

fn headers(mlx_c: &Path, ours: &Path) -> Vec<PathBuf> {
    vec![mlx_c.join("mlx/c/mlx.h"), ours.join("rails/build_key.h")]
}

/// The verbs header, fetched first when the store does not have it.
///
/// # Errors
/// As [`Toolchain::fetch`] and [`Toolchain::tools`].
pub fn verbs() -> Result<Verbs> {
    for variable in environment::obeyed() {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let toolchain = Toolchain::open()?;
    rerun_if_changed(&toolchain.root.join("crates/toolchain/pins"));
    let include = toolchain.verbs()?;
    rerun_if_changed(&include);
    Ok(Verbs {
        include,
        clang: clang(&toolchain)?,
    })
}

pub(crate) fn clang(toolchain: &Toolchain) -> Result<Clang> {
    let compilers = Compilers::detect(&toolchain.environment)?;
    let headers = compilers.c.builtin_headers(&toolchain.environment);
    Ok(Clang {
        libclang: toolchain.tools()?.libclang(),
        args: headers
            .map(|folder| format!("-I{}", folder.display()))
            .into_iter()
            .collect(),
    })
}

fn rerun_if_changed(path: &Path) {
    println!("cargo:rerun-if-changed={}", path.display());
}
