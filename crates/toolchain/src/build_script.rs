//! What the build scripts of `mlx-sys` and `softrail` ask of the toolchain.
//!
//! Both print the `cargo:rerun-if-...` lines that belong to their answer.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::{
    DEFAULT_PIN, Toolchain,
    build::Request,
    error::{Error, Result},
    series::Series,
    store::STORE_ENV,
    tools::Compiler,
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

/// A finished MLX build.
#[derive(Debug, Clone)]
pub struct Mlx {
    /// Holds `lib/libmlxc.so` (or `.dylib`) and `include/mlx/c/mlx.h`.
    pub prefix: PathBuf,
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

/// The MLX to bind to, built first when the store does not have it.
///
/// # Errors
/// As [`Toolchain::build`]; unknown values of the variables above.
pub fn mlx() -> Result<Mlx> {
    for variable in [PREFIX_ENV, MLX_ENV, SERIES_ENV, STORE_ENV, "CXX"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let toolchain = Toolchain::open()?;
    let prefix = match env::var_os(PREFIX_ENV) {
        Some(prefix) => PathBuf::from(prefix),
        None => {
            let pin = toolchain.pin(&env::var(MLX_ENV).unwrap_or_else(|_| DEFAULT_PIN.into()))?;
            let series = match env::var(SERIES_ENV) {
                Ok(name) => name.parse().map_err(|problem| Error::Input {
                    input: SERIES_ENV.into(),
                    problem,
                    remedy: "unset it for patched".into(),
                })?,
                Err(_) => Series::Patched,
            };
            for input in [pin.folder.clone(), toolchain.root.join("crates/toolchain")] {
                rerun_if_changed(&input);
            }
            toolchain.build(&Request::mlx(&pin, series))?.prefix
        }
    };
    rerun_if_changed(&prefix.join("lib"));
    Ok(Mlx {
        prefix,
        clang: clang(&toolchain)?,
    })
}

/// The verbs header, fetched first when the store does not have it.
///
/// # Errors
/// As [`Toolchain::fetch`] and [`Toolchain::tools`].
pub fn verbs() -> Result<Verbs> {
    println!("cargo:rerun-if-env-changed={STORE_ENV}");
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
    let headers = Compiler::detect()?.builtin_headers();
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
