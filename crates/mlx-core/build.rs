//! Adds a run path to MLX for this crate's tests, and passes MLX's location to the build
//! scripts of executables as `DEP_MLX_CORE_LIB`: cargo passes neither link arguments nor
//! `DEP_MLX_*` to dependents of dependents.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // `None` if MLX is not built; nothing is linked then.
    let Ok(lib) = env::var("DEP_MLX_LIB") else {
        return;
    };
    println!("cargo::metadata=lib={lib}");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // RPATH rather than RUNPATH, for the reason given in `mlx-sys`.
        println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags");
    }
}
