//! Generates the types of the verbs ABI from `infiniband/verbs.h`, so that their
//! layout is the C compiler's and not a transcription.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("CARGO_CFG_TARGET_OS").expect("cargo sets it");
    generate_bindings(&target);
    if target == "linux" {
        version_symbols();
    }
}

/// What the provider fills in, reads or answers with.
const TYPES: &[&str] = &[
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

#[allow(unsafe_code)]
fn generate_bindings(target: &str) {
    let verbs = toolchain::build_script::verbs().unwrap_or_else(|error| panic!("{}", error.report()));
    if env::var_os("LIBCLANG_PATH").is_none() {
        // SAFETY: a build script has one thread here.
        unsafe { env::set_var("LIBCLANG_PATH", &verbs.clang.libclang) };
    }
    let mut arguments = verbs.clang.args;
    let mut include = verbs.include;
    if target == "macos" {
        match sdk() {
            Some(sdk) => include = sdk,
            // What is only checked for macOS on another system has no SDK, and takes
            // the types as they are here.
            None => arguments.extend(env::var("HOST").map(|host| format!("--target={host}"))),
        }
    }
    let header = include.join("infiniband/verbs.h");
    let bindings = TYPES
        .iter()
        .fold(bindgen::builder(), |builder, name| {
            builder.allowlist_type(name)
        })
        .header(header.display().to_string())
        .clang_arg(format!("-I{}", include.display()))
        .clang_args(&arguments)
        .allowlist_var("IBV_LINK_LAYER_ETHERNET|IBV_ACCESS_OPTIONAL_FIRST")
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

/// The headers of the macOS SDK, which has the verbs since 26.2. Nothing elsewhere.
fn sdk() -> Option<PathBuf> {
    let mut xcrun = Command::new("xcrun");
    let asked = xcrun.args(["--sdk", "macosx", "--show-sdk-path"]).output();
    let path = String::from_utf8(asked.ok()?.stdout).ok()?;
    (!path.is_empty()).then(|| Path::new(path.trim()).join("usr/include"))
}

/// Gives the exported functions the versions of `libibverbs.map`, which rustc has
/// no word for: it hands the linker a version script of its own, and a linker
/// takes versions from one script only. So the linker is GNU ld, found where the
/// compiler is told to look first, behind a script that puts our file in the place
/// of rustc's.
///
/// Without GNU ld the functions have no version. jaccl looks them up without.
fn version_symbols() {
    println!("cargo::rerun-if-changed=libibverbs.map");
    let Some(linker) = gnu_linker() else {
        println!(
            "cargo::warning=no GNU ld (apt-get install binutils): programs that are \
             linked to libibverbs will complain that the emulated one has no versions"
        );
        return;
    };
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("ld");
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let map = Path::new(&package).join("libibverbs.map");
    let script = folder.join("ld.bfd");
    let written = fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&script, stand_in(&linker, &map)))
        .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)));
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", script.display()));
    println!("cargo::rustc-cdylib-link-arg=-B{}", folder.display());
    println!("cargo::rustc-cdylib-link-arg=-fuse-ld=bfd");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libibverbs.so.1");
}

/// The path of GNU ld, if the compiler that links has one.
fn gnu_linker() -> Option<PathBuf> {
    let asked = Command::new("cc").arg("-print-prog-name=ld.bfd").output();
    let path = String::from_utf8(asked.ok()?.stdout).ok()?;
    let version = Command::new(path.trim()).arg("--version").output().ok()?;
    version.status.success().then(|| path.trim().into())
}

/// A program that is `linker` with another version script.
fn stand_in(linker: &Path, map: &Path) -> String {
    format!(
        "#!/bin/sh\n\
         for argument do\n\
         \tshift\n\
         \tcase $argument in\n\
         \t--version-script=*) argument='--version-script={map}' ;;\n\
         \tesac\n\
         \tset -- \"$@\" \"$argument\"\n\
         done\n\
         exec {linker} \"$@\"\n",
        map = map.display(),
        linker = linker.display(),
    )
}
