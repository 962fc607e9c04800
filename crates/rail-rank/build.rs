//! Lets the rank find MLX without help from the environment.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // None where MLX is not built, and then nothing is linked.
    let Ok(lib) = env::var("DEP_MLX_CORE_LIB") else {
        return;
    };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // RPATH rather than RUNPATH, as `mlx-sys` explains.
        println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags");
    }
}
