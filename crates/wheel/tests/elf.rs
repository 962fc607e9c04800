//! Libraries of Linux, as a compiler of this machine makes them.
#![cfg(target_os = "linux")]

use std::{fs, path::Path, process::Command};

use wheel::{SharedObject, elf::RunPath};

/// Compiles a library with the flags, and reads it.
fn compiled(folder: &Path, name: &str, source: &str, flags: &[&str]) -> SharedObject {
    let (file, code) = (folder.join(name), folder.join("code.c"));
    fs::write(&code, source).expect("written");
    let status = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()))
        .args(["-shared", "-fPIC", "-o"])
        .args([&file, &code])
        .args(flags)
        .status();
    assert!(status.expect("a C compiler").success());
    SharedObject::parse(name, &fs::read(file).expect("read")).expect("a library")
}

#[test]
fn a_library_says_what_it_exports_wants_and_loads() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = format!("-L{}", folder.path().display());
    let other = "int from_other(void) { return 1; }";
    compiled(
        folder.path(),
        "libother.so",
        other,
        &["-Wl,-soname,libother.so"],
    );
    let source = "
        #include <stdio.h>
        int from_other(void);
        int wanted(void);
        __attribute__((weak)) int optional(void);
        __attribute__((visibility(\"hidden\"))) int hidden(void) { return optional ? 1 : 0; }
        int shown(void) { return puts(\"\") + from_other() + wanted() + hidden(); }
    ";
    let flags = [
        &at,
        "-lother",
        "-Wl,-soname,libours.so",
        "-Wl,-rpath,$ORIGIN:$ORIGIN/lib",
        "-Wl,--disable-new-dtags",
    ];
    let ours = compiled(folder.path(), "libours.so", source, &flags);
    assert_eq!(ours.machine, std::env::consts::ARCH);
    assert_eq!(ours.soname.as_deref(), Some("libours.so"));
    assert_eq!(ours.needed, ["libother.so", "libc.so.6"]);
    let folders = vec!["$ORIGIN".to_owned(), "$ORIGIN/lib".to_owned()];
    let run_path = RunPath {
        folders,
        yields: false,
    };
    assert_eq!(ours.run_path, Some(run_path));
    assert!(ours.exports.contains("shown") && !ours.exports.contains("hidden"));
    for name in ["from_other", "wanted", "puts"] {
        assert!(ours.wants.contains(name), "{name}");
    }
    assert!(!ours.wants.contains("optional") && !ours.wants.contains("shown"));
    let glibc = ours.newest("GLIBC").expect("of puts");
    assert!(glibc.to_string().starts_with("GLIBC_2."), "{glibc}");
    assert_eq!(ours.newest("GLIBCXX"), None);

    let yields = compiled(
        folder.path(),
        "libx.so",
        other,
        &["-Wl,-rpath,/opt,--enable-new-dtags"],
    );
    let run_path = yields.run_path.expect("a run path");
    assert!(run_path.yields && run_path.folders == ["/opt"]);
}

#[test]
fn what_is_no_library_is_refused_by_name() {
    for content in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x01\x01"] {
        let error = SharedObject::parse("mlx/lib/libmlx.so", content).expect_err("no library");
        assert!(
            error.to_string().starts_with("mlx/lib/libmlx.so: "),
            "{error}"
        );
    }
}
