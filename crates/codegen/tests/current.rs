//! The committed bindings equal those generated from the current headers.
#![allow(unsafe_code)]

use std::{env, path::Path, sync::OnceLock};

use toolchain::build_script::{self, Verbs};

/// The header and libclang, both fetched first if the store does not have them.
fn inputs() -> &'static Verbs {
    static INPUTS: OnceLock<Verbs> = OnceLock::new();
    INPUTS.get_or_init(|| {
        let verbs = build_script::verbs().unwrap_or_else(|error| panic!("{error}"));
        if env::var_os("LIBCLANG_PATH").is_none() {
            // SAFETY: tests read the environment through std only, which locks it, and
            // libclang is loaded after this.
            unsafe { env::set_var("LIBCLANG_PATH", &verbs.clang.libclang) };
        }
        verbs
    })
}

#[track_caller]
fn is_current(file: &str, expected: Result<String, bindgen::BindgenError>) {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let expected = expected.unwrap_or_else(|error| panic!("{error}"));
    codegen::ensure(&crates.join(file), &expected).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_types_of_verbs() {
    let expected = codegen::verbs(inputs());
    is_current("softrail-provider/src/bindings/verbs.rs", expected);
}

#[test]
fn the_functions_of_jaccls_shim() {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../jaccl/shim/jaccl_shim.h");
    let expected = codegen::jaccl_shim(inputs(), &header);
    is_current("jaccl/src/bindings.rs", expected);
}
