//! Generates the committed bindings.
//!
//! `cargo test -p codegen` generates each file again and compares it with the one in the
//! checkout. If they differ it writes the new file and fails, so running the test also
//! updates the files (rust-analyzer's pattern).
//!
//! It uses libclang and the verbs header, both from the toolchain's store, which is why
//! no other crate generates these for itself.

#![forbid(unsafe_code)]

use std::{fs, path::Path};

use bindgen::{Builder, Formatter};
use toolchain::build_script::Verbs;

/// The types that the provider fills in, reads or returns.
const VERBS_TYPES: &[&str] = &[
    "ibv_context",
    "verbs_context",
    "ibv_device",
    "ibv_device_attr",
    "ibv_device_attr_ex",
    "ibv_pd",
    "ibv_mr",
    "ibv_cq",
    "ibv_qp",
    "ibv_qp_ex",
    "ibv_qp_attr",
    "ibv_qp_init_attr",
    "ibv_qp_init_attr_ex",
    "ibv_qp_init_attr_mask",
    "ibv_qp_create_send_ops_flags",
    "ibv_qp_attr_mask",
    "ibv_port_attr",
    "ibv_gid",
    "ibv_gid_entry",
    "ibv_gid_type",
    "ibv_send_wr",
    "ibv_recv_wr",
    "ibv_sge",
    "ibv_wc",
    "ibv_send_flags",
    "ibv_wc_flags",
    "ibv_comp_channel",
    "ibv_access_flags",
    "ibv_async_event",
    "ibv_event_type",
    "ibv_fork_status",
    "ibv_rate",
];

/// The types of `infiniband/verbs.h`, for `softrail-provider`.
///
/// Types of the C library in them are those of the crate `libc`, because they differ
/// between systems and processors. The rest is fixed by the C ABI of 64-bit systems.
///
/// # Errors
/// The errors of libclang for the header.
pub fn verbs(verbs: &Verbs) -> Result<String, bindgen::BindgenError> {
    let header = verbs.include.join("infiniband/verbs.h");
    let builder = VERBS_TYPES
        .iter()
        .fold(builder(verbs), |builder, name| builder.allowlist_type(name));
    let bindings = builder
        .header(header.display().to_string())
        .clang_arg(format!("-I{}", verbs.include.display()))
        .allowlist_var("IBV_LINK_LAYER_ETHERNET|IBV_ACCESS_OPTIONAL_FIRST")
        .blocklist_type("_*pthread_.*|__atomic_wide_counter.*|timespec|__(time|syscall_slong)_t")
        .raw_line("use libc::{pthread_cond_t, pthread_mutex_t, timespec};")
        .generate()?;
    Ok(bindings.to_string())
}

/// The functions of `jaccl_shim.h` as one table, filled when a library is opened, for
/// `jaccl`.
///
/// # Errors
/// The errors of libclang for the header.
pub fn jaccl_shim(verbs: &Verbs, header: &Path) -> Result<String, bindgen::BindgenError> {
    let bindings = builder(verbs)
        .header(header.display().to_string())
        .allowlist_function("(jaccl_shim|rails)_.*")
        .allowlist_type("jaccl_shim_.*")
        .dynamic_library_name("Shim")
        .dynamic_link_require_all(true)
        .generate()?;
    Ok(bindings.to_string())
}

fn builder(verbs: &Verbs) -> Builder {
    bindgen::builder()
        .clang_args(&verbs.clang.args)
        .prepend_enum_name(false)
        .derive_default(false)
        .generate_comments(false)
        .layout_tests(false)
        .disable_header_comment()
        .raw_line("// Generated: `cargo test -p codegen` writes this file anew.")
        // Another release of rustfmt would change the file; the version of this formatter
        // is in Cargo.lock.
        .formatter(Formatter::Prettyplease)
}

/// Compares a file of the checkout with the generated content, and updates it.
///
/// # Errors
/// If it differed, or cannot be written.
pub fn ensure(file: &Path, expected: &str) -> Result<(), String> {
    if fs::read_to_string(file).is_ok_and(|is| is == expected) {
        return Ok(());
    }
    fs::write(file, expected)
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    Err(format!(
        "{} was not current and has been written anew; commit it",
        file.display()
    ))
}
