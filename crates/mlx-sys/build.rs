//! Generates bindings to the pinned mlx-c, links them to the MLX build that the toolchain
//! finds, and passes the build's location on to dependents (the contract is in
//! `src/lib.rs`).

use std::{
    env,
    path::{Path, PathBuf},
};

use toolchain::{
    build_script::{self, Mlx},
    platform::System,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mlx = build_script::mlx(&out).unwrap_or_else(|error| panic!("{}", error.report()));
    match &mlx.prefix {
        Some(prefix) => link(prefix),
        None => refuse_to_link(&mlx),
    }
    generate(&mlx, &out);
}

/// Without a build everything compiles and linking fails. The linker prints the name of
/// the missing library, so that name contains the remedy.
fn refuse_to_link(mlx: &Mlx) {
    println!(
        "cargo::warning={} is not built, so nothing that uses it can be linked. Run `{}`",
        mlx.what, mlx.remedy
    );
    println!("cargo::rustc-link-lib=dylib=mlxc-is-not-built.-Run-cargo-xtask-build");
}

/// Links to the shared libraries and publishes the `DEP_MLX_*` contract.
fn link(prefix: &Path) {
    let include = prefix.join("include");
    let lib = prefix.join("lib");
    println!("cargo::rustc-link-search=native={}", lib.display());
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let linked = build_script::linked(System::of_target(&os), prefix)
        .unwrap_or_else(|error| panic!("{}", error.report()));
    for library in linked {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    println!("cargo::metadata=prefix={}", prefix.display());
    println!("cargo::metadata=include={}", include.display());
    println!("cargo::metadata=lib={}", lib.display());

    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    if os == "linux" {
        println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags");
    }
}

/// Writes `bindings.rs` from the umbrella header of mlx-c and that of this crate.
fn generate(mlx: &Mlx, out: &Path) {
    // SAFETY: a build script is a process of its own and this one has started no thread,
    // so no other thread reads the environment while it changes. bindgen takes the
    // location of libclang only from there.
    #[allow(unsafe_code)]
    unsafe {
        env::set_var("LIBCLANG_PATH", &mlx.clang.libclang);
    }

    let includes = mlx.include.iter();
    let builder = mlx
        .headers
        .iter()
        .fold(bindgen::Builder::default(), |builder, header| {
            builder.header(header.to_string_lossy())
        });
    let bindings = builder
        .clang_args(includes.map(|folder| format!("-I{}", folder.display())))
        .clang_args(&mlx.clang.args)
        .allowlist_function("_?mlx_.*")
        .allowlist_function("rails_build_key")
        .allowlist_type("mlx_.*")
        .opaque_type("_IO_FILE")
        .prepend_enum_name(false)
        .derive_debug(false)
        .layout_tests(true)
        .generate()
        .unwrap_or_else(|error| panic!("bindgen could not read {:?}: {error}", mlx.headers));
    println!("cargo::rustc-check-cfg=cfg(attention_takes_force_fused)");
    if bindings.to_string().contains("force_fused: bool") {
        println!("cargo::rustc-cfg=attention_takes_force_fused");
    }
    bindings
        .write_to_file(out.join("bindings.rs"))
        .unwrap_or_else(|error| {
            panic!("cannot write bindings.rs below {}: {error}", out.display())
        });
}
