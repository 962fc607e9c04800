//! How a library is loaded, tested with one that has no jaccl in it.

use std::{error::Error as _, path::Path, process::Command};

use jaccl::{Config, Error, Features, Job, Library, MatrixValidity, Report, Request};
use tempfile::TempDir;

/// Compiles `stand-in.c` and opens it; the folder must outlive the library.
fn stand_in(flags: &[&str]) -> (TempDir, Result<Library, Error>) {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("libjaccl_shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand-in.c");
    // The linker of Rust programs is a C compiler too.
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .args(flags)
        .status();
    assert!(compiled.expect("a C compiler").success());
    let opened = Library::open(&library);
    (folder, opened)
}

#[test]
fn a_library_says_of_which_build_it_is_and_what_it_has() {
    let (_folder, library) = stand_in(&[]);
    let library = library.expect("it has every function");
    assert_eq!(library.build_key(), "0123456789abcdef");
    let features = Features {
        barrier: true,
        sum_scatter: false,
    };
    assert_eq!(library.features(), features);
    let ring = MatrixValidity {
        ring: true,
        mesh: false,
    };
    let said = library.check_matrix(Path::new("ring.json"));
    assert_eq!(said.expect("no exception"), ring);
}

#[test]
fn the_words_of_an_exception_come_through() {
    let (_folder, library) = stand_in(&[]);
    let error = library.expect("a library").is_available();
    let error = error.expect_err("it throws");
    assert_eq!(error.to_string(), "[stand-in] no devices");
}

#[test]
fn a_group_that_is_none_is_an_error() {
    let (_folder, library) = stand_in(&[]);
    let config = Config {
        rank: 0,
        coordinator: "127.0.0.1:1".to_owned(),
        devices: "ring.json".into(),
        prefer_ring: true,
    };
    assert!(library.expect("a library").init(&config).is_err());
}

/// Such a library comes from an older shim and does not name its build.
#[test]
fn a_library_without_one_function_is_refused_and_the_function_named_once() {
    let (_folder, library) = stand_in(&["-DWITHOUT_KEY"]);
    let error = library.err().expect("it lacks a function");
    assert!(matches!(error, Error::NotJaccl { .. }), "{error}");
    assert!(!error.to_string().contains("rails_build_key"), "{error}");
    let cause = error.source().expect("the loader's reason").to_string();
    assert!(cause.contains("rails_build_key"), "{cause}");
}

#[test]
fn a_rank_tells_its_launcher_why_a_library_cannot_be_opened() {
    let job = Job {
        library: "/no/such/libjaccl_shim.so".into(),
        rank: 0,
        coordinator: "127.0.0.1:1".to_owned(),
        devices: "devices.json".into(),
        prefer_ring: false,
    };
    let mut said = Vec::new();
    assert!(!jaccl::serve([Request::Join(job)], |report| said.push(report)));
    let [
        Report::Error {
            step: None,
            message,
        },
    ] = &*said
    else {
        panic!("{said:?}")
    };
    assert!(
        message.starts_with("cannot open the jaccl build /no/such/"),
        "{message}"
    );
    assert!(message.contains("No such file"), "{message}");
}
