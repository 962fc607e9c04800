//! Lets the rank find MLX without help from the environment.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let lib = env::var("DEP_MLX_CORE_LIB").expect("mlx-core publishes DEP_MLX_CORE_LIB");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // RUNPATH rather than RPATH: the launcher's LD_LIBRARY_PATH must win, so
        // that one rank serves the stock and the patched build of a pin.
        println!("cargo::rustc-link-arg=-Wl,--enable-new-dtags");
    }
}
