//! Generates the types of the verbs ABI from `infiniband/verbs.h`, so that their
//! layout is the C compiler's and not a transcription.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(target_os = "linux")]
    linux::generate_bindings();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{env, path::PathBuf};

    /// What the provider fills in, reads or answers with.
    const TYPES: &[&str] = &[
        "ibv_context",
        "ibv_device",
        "ibv_pd",
        "ibv_mr",
        "ibv_cq",
        "ibv_qp",
        "ibv_qp_attr",
        "ibv_qp_init_attr",
        "ibv_qp_attr_mask",
        "ibv_port_attr",
        "ibv_gid",
        "ibv_send_wr",
        "ibv_recv_wr",
        "ibv_sge",
        "ibv_wc",
        "ibv_send_flags",
        "ibv_comp_channel",
    ];

    #[allow(unsafe_code)]
    pub fn generate_bindings() {
        if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
            return;
        }
        let verbs = toolchain::build_script::verbs().unwrap_or_else(|error| panic!("{error}"));
        if env::var_os("LIBCLANG_PATH").is_none() {
            // SAFETY: a build script has one thread here.
            unsafe { env::set_var("LIBCLANG_PATH", &verbs.clang.libclang) };
        }
        let header = verbs.include.join("infiniband/verbs.h");
        let bindings = TYPES
            .iter()
            .fold(bindgen::builder(), |builder, name| {
                builder.allowlist_type(name)
            })
            .header(header.display().to_string())
            .clang_arg(format!("-I{}", verbs.include.display()))
            .clang_args(&verbs.clang.args)
            .allowlist_var("IBV_LINK_LAYER_ETHERNET")
            .prepend_enum_name(false)
            .derive_default(false)
            .generate_comments(false)
            .layout_tests(false)
            .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
            .generate()
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", header.display()));
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let file = out.join("verbs.rs");
        bindings
            .write_to_file(&file)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
    }
}
