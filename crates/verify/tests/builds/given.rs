//! Sweeps over a matrix that somebody else made.

use launch::Launcher;
use rail_matrix::Given;
use rail_verify::{
    case::{Backend, Op},
    report::Report,
    run::{Outcome, RunError},
    selection::Level,
    setup::GivenMatrix,
    verdict::Verdict,
};
use rig::Rig;

use crate::harness::{expect_all, expect_pass, patched, programs, sweep_over};

/// Two cables; the matrix names them in another order on the second rank.
const CROSSED: &str = r#"[[[], ["rdma_en5", "rdma_en6"]], [["rdma_en6", "rdma_en5"], []]]"#;

fn over(json: &str, rig: &Rig) -> GivenMatrix {
    let given = Given::over(json.as_bytes(), rig).expect("a matrix of the rig");
    let flags = "--devices 'devices.json' --rig 'rig.toml'".to_owned();
    GivenMatrix::new(given, rig.clone(), flags).expect("jaccl makes a group of it")
}

fn alone(json: &str) -> GivenMatrix {
    let flags = "--devices 'devices.json'".to_owned();
    GivenMatrix::alone(json.as_bytes(), flags).expect("it states a cabling")
}

fn try_sweep(given: &GivenMatrix, flags: &str) -> Result<Outcome, RunError> {
    let launcher = Launcher::default();
    sweep_over(Some(given), &programs(), &patched(), flags, &launcher)
}

fn sweep(given: &GivenMatrix, flags: &str) -> Outcome {
    try_sweep(given, flags).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_level_runs_in_the_ranks_wires_and_backend_of_the_matrix() {
    let outcome = sweep(&alone(CROSSED), "");
    expect_pass(&outcome);
    for (case, _) in &outcome.cases {
        let setting = case.setting;
        let extent = (setting.backend, setting.ranks, setting.wires);
        assert_eq!(extent, (Backend::Ring, 2, 2), "{case}");
        assert!(!case.op.is_condition(), "{case}");
    }
    for op in [
        Op::Send,
        Op::Recv,
        Op::AllSum,
        Op::AllGather,
        Op::Sequence,
        Op::Init,
    ] {
        assert!(outcome.cases.iter().any(|(case, _)| case.op == op), "{op}");
    }
}

/// The document names the nodes in the order of the ring; the rig lists them in another.
#[test]
fn ranks_run_on_the_nodes_that_the_document_names() {
    let rig = Rig::parse(include_str!(
        "../../../../crates/rig/examples/ring-of-four.toml"
    ))
    .expect("a rig");
    let hosts = [
        ("a", r#"[null, "en1", null, "en2"]"#),
        ("c", r#"["en1", null, "en2", null]"#),
        ("b", r#"[null, "en1", null, "en2"]"#),
        ("d", r#"["en2", null, "en1", null]"#),
    ];
    let hosts =
        hosts.map(|(node, row)| format!(r#"{{"ssh": "{node}", "ips": [], "rdma": {row}}}"#));
    let hostfile = format!(
        r#"{{"backend": "jaccl-ring", "hosts": [{}]}}"#,
        hosts.join(",")
    );
    let given = over(&hostfile, &rig);
    assert_eq!(given.given().nodes(), ["a", "c", "b", "d"]);
    expect_pass(&sweep(&given, "--op send,recv,all_sum --bytes 12288"));
}

#[test]
fn a_matrix_that_crosses_the_true_cables_hangs_and_the_command_names_both_files() {
    let given = over(CROSSED, &Rig::embedded());
    let flags = "--op all_gather --bytes 65536 --dtype u8 --frames small --in-place false";
    let outcome = sweep(&given, flags);
    assert_eq!(outcome.cases.len(), 1);
    expect_all(&outcome, Verdict::Hang);
    let outcomes = [outcome];
    let report = Report::new(Level::Quick, &outcomes);
    let text = report.markdown();
    assert!(
        text.contains("--devices 'devices.json' --rig 'rig.toml' --op all_gather"),
        "{text}"
    );
    assert!(
        text.contains("ran over the matrix that was given, with ranks on a, b"),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    let given = &json["variants"][0]["given"];
    assert_eq!(given["nodes"], serde_json::json!(["a", "b"]));
    assert_eq!(given["devices"][1][0][0], "rdma_en6");
}

#[test]
fn what_no_case_of_the_matrix_has_is_refused_by_name() {
    for (flags, of) in [
        ("--backend mesh", "--backend mesh"),
        ("--backend ring,mesh", "--backend mesh"),
        ("--ranks 3", "--ranks 3"),
        ("--wires 1", "--wires 1"),
        ("--op five-wires", "five-wires"),
    ] {
        let error = try_sweep(&alone(CROSSED), flags)
            .expect_err(flags)
            .to_string();
        assert!(
            error.contains(&format!("no case of {of} for MLX")),
            "{error}"
        );
    }
}
