//! Raw bindings to mlx-c, the C interface of MLX, made by bindgen from the pinned
//! headers. `mlx-core` is the safe face of them.
//!
//! # The build
//! The build script asks `toolchain` for a finished build in the store and links its
//! `lib/libmlxc`, a shared library that holds mlx-c, MLX and jaccl. It builds none: an
//! editor's `cargo check` would wait for minutes. Where the store has none, everything
//! compiles, a warning names the command that builds it, and linking fails.
//!
//! # The `DEP_MLX_*` contract
//! A crate that depends on this one directly finds in its build script, where there is a
//! build:
//!
//! | variable          | what                                              |
//! |-------------------|---------------------------------------------------|
//! | `DEP_MLX_PREFIX`  | the build's prefix                                |
//! | `DEP_MLX_INCLUDE` | `$PREFIX/include`, which holds `mlx/c/mlx.h`      |
//! | `DEP_MLX_LIB`     | `$PREFIX/lib`, which holds `libmlxc`              |
//!
//! Cargo does not hand link arguments on to dependents, so a crate that links
//! an executable (tests included) adds `DEP_MLX_LIB` to its run path itself. Ours
//! do so as RPATH, not RUNPATH: no leftover `LD_LIBRARY_PATH` can then run another
//! MLX than the one that was linked.
//!
//! # Which build is loaded
//! `rails_build_key` returns the key of the build that the loaded `libmlxc` comes from:
//! a static, NUL-terminated string, equal to `key` of the build's `manifest.json`. A
//! process compares it with the build that it was meant to run.
//!
//! # Environment
//! `MLX_RAILS_STORE`, `MLX_RAILS_PREFIX`, `MLX_RAILS_MLX` and
//! `MLX_RAILS_SERIES` choose the build; see `toolchain::build_script`.
//!
//! # Using it
//! Every object is an opaque handle with a `_new` and a `_free`; functions
//! return 0, or else a message has gone to the handler of
//! `mlx_set_error_handler`, whose default ends the process.

#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_code,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    rustdoc::all
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
