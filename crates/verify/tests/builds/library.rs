//! The library's functions that need no running rank.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use jaccl::{Config, Error, Library};
use proptest::{prelude::*, test_runner::TestRunner};
use rail_matrix::{Backend, Devices, Jaccl, Options, RankOrder, Topology, check, plan};

use crate::harness::patched;

fn library() -> Library {
    Library::open(&patched().build.library).expect("a build of jaccl")
}

/// rail-matrix repeats jaccl's rules so that a launcher can predict jaccl's behaviour;
/// this compares the two, for any number of devices in each cell.
#[test]
fn jaccl_agrees_about_what_is_a_ring_and_what_a_mesh() {
    let full = |ranks: usize, devices: usize| {
        let cell = |i, j| vec!["en".to_owned(); if i == j { 0 } else { devices }];
        let row = |i| (0..ranks).map(|j| cell(i, j)).collect();
        (0..ranks).map(row).collect::<Devices>()
    };
    let without = |mut matrix: Devices, a: usize, b: usize| {
        matrix[a][b].pop();
        matrix[b][a].pop();
        matrix
    };
    let matrices = [
        full(2, 1),
        full(2, 4),
        full(3, 2),
        full(4, 1),
        without(full(3, 1), 0, 2),
        without(full(4, 1), 0, 2),
        without(full(4, 1), 1, 2),
        without(full(4, 2), 0, 2),
        without(full(3, 2), 1, 2),
    ];
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    for matrix in matrices {
        let json = serde_json::to_vec(&matrix).expect("JSON");
        std::fs::write(file.path(), &json).expect("written");
        let validity = library().check_matrix(file.path()).expect("a matrix");
        let document = check::read(&json).expect("a matrix");
        let made = |wanted| {
            let existing = &document.matrices[0];
            let verdict = check::check(existing, None, Some(wanted), &Jaccl::default());
            verdict.expect("a verdict").backend == Some(wanted)
        };
        let (ring, mesh) = (made(Backend::Ring), made(Backend::Mesh));
        assert_eq!(ring, validity.ring, "{matrix:?}");
        // Where it is both, jaccl makes a mesh without the variable.
        assert_eq!(mesh, validity.mesh, "{matrix:?}");
    }
}

/// Topologies of 2 to 7 nodes with 0 to 5 cables for each pair, with different rates.
fn topologies() -> impl Strategy<Value = Topology> {
    (2..=7_usize).prop_flat_map(|nodes| {
        let pairs = (0..nodes).flat_map(|b| (0..b).map(move |a| (a, b)));
        let pairs: Vec<_> = pairs.collect();
        let counts = prop::collection::vec((0..=5_usize, 1..4_u64), pairs.len());
        counts.prop_map(move |counts| {
            let mut topology = Topology::new();
            let nodes: Vec<_> = (0..nodes)
                .map(|n| topology.add_node(&format!("n{n}")))
                .collect();
            for (&(a, b), &(count, rate)) in pairs.iter().zip(&counts) {
                for cable in 0..count {
                    let ends = [(a, b), (b, a)].map(|(here, there)| {
                        let port = topology.port(nodes[here], &format!("to-{there}-{cable}"));
                        topology.set_rate(port, rate * (cable as u64 + 1));
                        port
                    });
                    topology.add_cable(&format!("{a}-{b}-{cable}"), ends);
                }
            }
            topology
        })
    })
}

fn plan_options() -> impl Strategy<Value = Options> {
    let backend = prop_oneof![
        Just(None),
        Just(Some(Backend::Ring)),
        Just(Some(Backend::Mesh))
    ];
    let order = prop_oneof![Just(RankOrder::Pinned), Just(RankOrder::Widest)];
    let mlx = prop_oneof![Just([0, 31, 2]), Just([0, 32, 4])];
    (backend, order, mlx).prop_map(|(backend, order, mlx)| {
        Options::default()
            .backend(backend)
            .order(order)
            .jaccl(Jaccl::of(mlx))
    })
}

/// jaccl makes the planned backend of every plan of rail-matrix.
#[test]
fn jaccl_takes_a_thousand_plans_for_what_they_are() {
    let (library, file) = (library(), tempfile::NamedTempFile::new().expect("a file"));
    let planned = AtomicUsize::new(0);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    // Topologies that neither a ring nor a mesh can join have no plan to compare with
    // jaccl.
    let plans = (topologies(), plan_options()).prop_filter_map("a plan", |(topology, options)| {
        plan(&topology, &options).ok()
    });
    let outcome = runner.run(&plans, |plan| {
        planned.fetch_add(1, Ordering::Relaxed);
        std::fs::write(file.path(), plan.matrix.to_jaccl_json()).expect("written");
        let validity = library.check_matrix(file.path()).expect("a matrix");
        match plan.backend {
            Backend::Ring => prop_assert!(validity.ring),
            Backend::Mesh => prop_assert!(validity.mesh),
        }
        prop_assert_eq!(validity.ring, plan.matrix.is_valid_ring());
        prop_assert_eq!(validity.mesh, plan.matrix.is_valid_mesh());
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(planned.into_inner() >= 1000);
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
