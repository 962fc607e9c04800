//! What the library says without any rank running.

use std::path::Path;

use jaccl::{Config, Error, Library, MatrixValidity};
use rail_matrix::{Matrix, Rig};
use rail_verify::{
    case::{Backend, Frames, Setting},
    setup::Setup,
};

use crate::harness::patched;

fn library() -> Library {
    Library::open(&patched().library).expect("a build of jaccl")
}

/// Every two of `ranks` nodes joined by `wires` cables.
fn full_rig(ranks: usize, wires: usize) -> Rig {
    let setting = Setting {
        backend: Backend::Ring,
        ranks,
        wires,
        frames: Frames::Small,
    };
    Setup::of(setting).rig
}

/// The rig without its cables between two ranks.
fn without(mut rig: Rig, a: usize, b: usize) -> Rig {
    let [a, b] = [a, b].map(|rank| rig.nodes[rank].name.clone());
    rig.cables.retain(|cable| !cable.joins(&a, &b));
    rig
}

/// rail-matrix repeats jaccl's rules so that a launcher can know what jaccl will
/// do; this holds the two against each other.
#[test]
fn jaccl_agrees_about_what_is_a_ring_and_what_a_mesh() {
    let mut uneven = full_rig(3, 2);
    uneven.cables.pop();
    let rigs = [
        full_rig(2, 1),
        full_rig(2, 4),
        full_rig(3, 2),
        full_rig(4, 1),
        without(full_rig(3, 1), 0, 2),
        without(full_rig(4, 2), 0, 2),
        without(full_rig(4, 2), 1, 2),
        uneven,
    ];
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    for rig in rigs {
        let matrix = Matrix::from_rig(&rig).expect("a rig with a matrix");
        std::fs::write(file.path(), matrix.to_jaccl_json()).expect("written");
        let validity = library().check_matrix(file.path()).expect("a matrix");
        let ours = MatrixValidity {
            ring: matrix.is_valid_ring(),
            mesh: matrix.is_valid_mesh(),
        };
        assert_eq!(validity, ours, "{}", rig.to_toml());
    }
}

#[test]
fn a_matrix_of_neither_kind_is_refused_in_jaccls_words() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "[[[]]]").expect("written");
    let config = Config {
        rank: 0,
        coordinator: "127.0.0.1:1".to_owned(),
        devices: file.path().to_owned(),
        prefer_ring: true,
    };
    match library().init(&config) {
        Err(Error::Jaccl(message)) => assert!(message.starts_with("[jaccl]"), "{message}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a group of one rank without devices"),
    }
}

#[test]
fn errors_name_the_file() {
    let missing = Path::new("/no/such/libjaccl_shim.so");
    let error = Library::open(missing).err().expect("no such file");
    assert!(
        error.to_string().contains("/no/such/libjaccl_shim.so"),
        "{error}"
    );

    let other = softrail::provider_library().expect("the provider");
    let error = Library::open(&other).err().expect("not jaccl");
    assert!(matches!(error, Error::NotJaccl { .. }), "{error}");

    let error = library()
        .check_matrix(Path::new("/no/such/devices.json"))
        .expect_err("no such file");
    assert!(
        error.to_string().contains("/no/such/devices.json"),
        "{error}"
    );
}
