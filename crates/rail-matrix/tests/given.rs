//! Matrices that somebody else made, over a rig.

use rail_matrix::{Backend, Given, GivenError};
use rig::{Link, Rig};

/// Four nodes whose cables close a ring in the order a, c, b, d.
fn ring_of_four() -> Rig {
    Rig::parse(include_str!(
        "../../../crates/rig/examples/ring-of-four.toml"
    ))
    .unwrap()
}

const RING: &str = r#"[
    [null, "en1", null, "en2"],
    ["en1", null, "en2", null],
    [null, "en1", null, "en2"],
    ["en2", null, "en1", null]
]"#;

#[test]
fn rows_are_the_rigs_nodes_in_their_order_where_the_document_names_none() {
    let three = br#"[[[], ["rdma_en5", "rdma_en6", "rdma_en7"]],
                     [["rdma_en7", "rdma_en5", "rdma_en6"], []]]"#;
    let given = Given::over(three, &Rig::embedded()).unwrap();
    assert_eq!(given.nodes(), ["a", "b"]);
    assert_eq!(given.backend(), Ok(Backend::Ring));
    assert_eq!(given.rails(), 3);
    let pairs: Vec<_> = given.pairs().collect();
    assert_eq!(pairs.len(), 3);
    let ends = pairs[2].1.each_ref().map(ToString::to_string);
    assert_eq!(
        (pairs[2].0, ends),
        (2, ["a:rdma_en7", "b:rdma_en6"].map(str::to_owned))
    );
}

#[test]
fn rows_are_the_nodes_that_the_document_names() {
    let host =
        |name: &str, cells: &str| format!(r#"{{"ssh": "{name}", "ips": [], "rdma": {cells}}}"#);
    let hostfile = [
        host("a", r#"[null, "en1", null, "en2"]"#),
        host("c", r#"["en1", null, "en2", null]"#),
        host("b", r#"[null, "en1", null, "en2"]"#),
        host("d", r#"["en2", null, "en1", null]"#),
    ];
    let hostfile = format!(
        r#"{{"backend": "jaccl-ring", "hosts": [{}]}}"#,
        hostfile.join(",")
    );
    let given = Given::over(hostfile.as_bytes(), &ring_of_four()).unwrap();
    assert_eq!(given.nodes(), ["a", "c", "b", "d"]);
    assert_eq!((given.backend(), given.rails()), (Ok(Backend::Ring), 1));

    let stranger = hostfile.replace(r#""ssh": "b""#, r#""ssh": "e""#);
    let error = Given::over(stranger.as_bytes(), &ring_of_four()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the matrix is of node 'e', which the rig does not have; its nodes are 'a', 'b', 'c', 'd'"
    );
    assert!(error.help().is_some());
    let twice = hostfile.replace(r#""ssh": "b""#, r#""ssh": "a""#);
    let error = Given::over(twice.as_bytes(), &ring_of_four()).unwrap_err();
    assert_eq!(error, GivenError::RepeatedNode("a".to_owned()));
}

#[test]
fn a_matrix_alone_states_its_cabling() {
    let (given, rig) = Given::alone(RING.as_bytes(), Link::default()).unwrap();
    assert_eq!(given.nodes(), ["rank-0", "rank-1", "rank-2", "rank-3"]);
    assert_eq!(given.backend(), Ok(Backend::Ring));
    assert_eq!(rig.cables.len(), 4);
    assert!(rig.cables_between("rank-0", "rank-3").len() == 1);
    assert_eq!(Given::over(RING.as_bytes(), &rig), Ok(given));

    let twice = br#"[[null, ["en1", "en1"]], [["en1", "en2"], null]]"#;
    let error = Given::alone(twice, Link::default()).unwrap_err();
    assert!(matches!(error, GivenError::NoCabling(_)));
    assert!(error.to_string().contains("rank-0:en1"), "{error}");
}

#[test]
fn what_jaccl_makes_of_it_is_told_or_why_it_makes_nothing() {
    let alone = |json: &str| Given::alone(json.as_bytes(), Link::default()).unwrap().0;
    let line = r#"[[null, "1", null], ["1", null, "2"], [null, "1", null]]"#;
    assert_eq!(alone(line).backend(), Err(GivenError::NoGroup));
    let five = r#"[[null, ["1", "2", "3", "4", "5"]], [["1", "2", "3", "4", "5"], null]]"#;
    assert_eq!(alone(five).backend(), Err(GivenError::TooManyRails(5)));
    let uneven = r#"[[null, ["1", "2"], "3"], [["1", "2"], null, "3"], ["1", "2", null]]"#;
    let uneven = alone(uneven);
    assert_eq!((uneven.backend(), uneven.rails()), (Ok(Backend::Mesh), 1));
    let nine: Vec<Vec<Option<String>>> = (0..9)
        .map(|i| (0..9).map(|j| (i != j).then(|| format!("en{j}"))).collect())
        .collect();
    let nine = alone(&serde_json::to_string(&nine).unwrap());
    assert_eq!(nine.backend(), Err(GivenError::TooManyRanks(9)));
}

#[test]
fn matrices_that_are_none_of_this_rig_are_refused_with_what_would_be_right() {
    let several = r#"{"topology": {"nodes": [], "connections": {}}, "instances": {
        "1": {"MlxJacclInstance": {"jacclDevices": [[null, "a"], ["b", null]]}},
        "2": {"MlxJacclInstance": {"jacclDevices": [[null, "a"], ["b", null]]}}}}"#;
    let cases = [
        (
            "{}",
            "not a device matrix: expected jacclDevices, or a list of rows",
        ),
        (
            r#"[[[], [5]], [[], []]]"#,
            "not a device matrix: [0][1][0]: expected a string, found 5",
        ),
        (several, "there are 2 matrices in it"),
        ("[[null]]", "the matrix has 1 rows, and the rig has 2 nodes"),
        ("[[null, null], [null]]", "row 1 of the matrix has 1 cells"),
        (
            r#"[[null, "rdma_en9"], ["rdma_en5", null]]"#,
            "rank 0 of the matrix has the device 'rdma_en9', which node 'a' of the rig does not \
             have; its devices are 'rdma_en5', 'rdma_en6', 'rdma_en7'",
        ),
        (
            r#"[[null, ["rdma_en5", "rdma_en6"]], ["rdma_en5", null]]"#,
            "2 devices on rank 0 towards rank 1 and 1 the other way",
        ),
        (
            r#"[["rdma_en5", null], [null, null]]"#,
            "rank 0 of the matrix has devices towards itself",
        ),
        (
            "[[null, null], [null, null]]",
            "the matrix has no rails, and an empty check proves nothing",
        ),
    ];
    for (json, words) in cases {
        let error = Given::over(json.as_bytes(), &Rig::embedded()).expect_err(json);
        assert!(error.to_string().contains(words), "{json}: {error}");
    }
}
