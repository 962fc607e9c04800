//! Binds to mlx-c of the MLX build that the toolchain names, and tells
//! dependents where that build lies (the contract is in `src/lib.rs`).

use std::{
    env,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mlx = toolchain::build_script::mlx().unwrap_or_else(|error| panic!("{}", error.report()));
    let header = mlx.prefix.join("include/mlx/c/mlx.h");
    println!("cargo::rerun-if-changed={}", header.display());

    link(&mlx.prefix);
    generate(&mlx, &header);
}

/// Links to the shared library and publishes the `DEP_MLX_*` contract.
fn link(prefix: &Path) {
    let include = prefix.join("include");
    let lib = prefix.join("lib");
    println!("cargo::rustc-link-search=native={}", lib.display());
    println!("cargo::rustc-link-lib=dylib=mlxc");
    println!("cargo::metadata=prefix={}", prefix.display());
    println!("cargo::metadata=include={}", include.display());
    println!("cargo::metadata=lib={}", lib.display());

    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags");
    }
}

/// Writes `bindings.rs` from mlx-c's umbrella header and ours.
fn generate(mlx: &toolchain::build_script::Mlx, header: &Path) {
    // SAFETY: a build script is a process of its own and this one has started no
    // thread, so nothing reads the environment while it changes. bindgen takes
    // libclang's place from nowhere else.
    #[allow(unsafe_code)]
    unsafe {
        env::set_var("LIBCLANG_PATH", &mlx.clang.libclang);
    }

    let bindings = bindgen::Builder::default()
        .header(header.to_string_lossy())
        .header(
            mlx.prefix
                .join("include/rails/build_key.h")
                .to_string_lossy(),
        )
        .clang_arg(format!("-I{}", mlx.prefix.join("include").display()))
        .clang_args(&mlx.clang.args)
        .allowlist_function("_?mlx_.*")
        .allowlist_function("rails_build_key")
        .allowlist_type("mlx_.*")
        .opaque_type("_IO_FILE")
        .prepend_enum_name(false)
        .derive_debug(false)
        .layout_tests(true)
        .generate()
        .unwrap_or_else(|error| panic!("bindgen could not read {}: {error}", header.display()));

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindings
        .write_to_file(out.join("bindings.rs"))
        .unwrap_or_else(|error| {
            panic!("cannot write bindings.rs below {}: {error}", out.display())
        });
}
