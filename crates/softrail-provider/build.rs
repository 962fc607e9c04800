//! Links the emulator the way libibverbs is linked: under its name and with its symbol
//! versions.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|target| target == "linux") {
        version_symbols();
    }
}

/// Gives the exported functions the versions of `libibverbs.map`, which rustc cannot
/// express: it passes the linker a version script of its own, and a linker accepts
/// versions from one script only. So the linker is GNU ld, run by a script in the folder
/// that the compiler searches first, which puts our version script in the place of
/// rustc's.
///
/// Without GNU ld the functions have no version. jaccl looks them up without one.
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
    let asked = linker()?.arg("-print-prog-name=ld.bfd").output();
    let path = String::from_utf8(asked.ok()?.stdout).ok()?;
    let version = Command::new(path.trim()).arg("--version").output().ok()?;
    version.status.success().then(|| path.trim().into())
}

/// The linker that rustc uses: the one that cargo was configured with, else the C
/// compiler of the target.
fn linker() -> Option<Command> {
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        return Some(Command::new(linker));
    }
    let compiler = cc::Build::new().cargo_metadata(false).try_get_compiler();
    compiler.ok().map(|compiler| compiler.to_command())
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
