//! `cargo xtask matrix` as a user types it.

use std::{fs, path::PathBuf};

use assert_cmd::{Command, assert::Assert};
use serde_json::{Value, json};
use tempfile::TempDir;

mod support;

/// The state of two of exo's nodes with two crossed cables.
const CROSSED: &str = r#"{
  "topology": {
    "nodes": ["12D3-a", "12D3-b"],
    "connections": {
      "12D3-a": {"12D3-b": [
        {"sourceRdmaIface": "rdma_en6", "sinkRdmaIface": "rdma_en7"},
        {"sourceRdmaIface": "rdma_en7", "sinkRdmaIface": "rdma_en6"}]},
      "12D3-b": {"12D3-a": [
        {"sourceRdmaIface": "rdma_en6", "sinkRdmaIface": "rdma_en7"},
        {"sourceRdmaIface": "rdma_en7", "sinkRdmaIface": "rdma_en6"}]}
    }
  },
  "nodeIdentities": {"12D3-a": {"friendlyName": "studio"}, "12D3-b": {"friendlyName": "mini"}}
}"#;

/// A folder of files, and an xtask whose working directory it is.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn matrix(&self, args: &str) -> Command {
        let mut command = Command::cargo_bin("xtask").unwrap();
        command
            .env("MLX_RAILS_STORE", self.0.path().join("store"))
            .current_dir(self.0.path())
            .arg("matrix")
            .args(args.split_whitespace());
        command
    }

    /// Its stdout and stderr, if it ends with 0.
    fn said(&self, args: &str) -> (String, String) {
        both(&self.matrix(args).assert().code(0))
    }

    fn json(&self, args: &str) -> Value {
        serde_json::from_str(&self.said(args).0).unwrap()
    }

    /// Its stderr, if it refuses its flags or input and prints no data.
    fn refusal(&self, args: &str) -> String {
        let (data, message) = both(&self.matrix(args).assert().code(2));
        assert_eq!(data, "", "stdout is for data");
        let arguments: Vec<_> = std::iter::once("matrix")
            .chain(args.split_whitespace())
            .map(str::to_owned)
            .collect();
        support::is_a_good_complaint(&arguments, &message);
        message
    }
}

fn both(assert: &Assert) -> (String, String) {
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn names_all(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in:\n{message}");
    }
}

#[test]
fn without_a_flag_it_shows_the_embedded_rig_to_people() {
    let (table, progress) = Place::new().said("");
    names_all(
        &table,
        &[
            "ring of 2 ranks, 3 rails a link",
            "| a - b | 2    | rdma_en7 | rdma_en7 | 50 MB/s | cable-3 |",
            "- ring: large all-reduces reach an estimated 150 MB/s on a ring of 3 rails a link",
        ],
    );
    assert_eq!(progress, "");
}

#[test]
fn without_a_step_it_plans() {
    let place = Place::new();
    place.file("state.json", CROSSED);
    for args in ["", "--from state.json --format jaccl --nodes mini,studio"] {
        assert_eq!(place.said(args), place.said(&format!("plan {args}")));
    }
}

#[test]
fn machine_outputs_are_data_alone_and_the_notes_go_to_stderr() {
    let place = Place::new();
    let (devices, notes) = place.said("--format jaccl --max-rails 2");
    assert_eq!(
        devices,
        "[[[],[\"rdma_en5\",\"rdma_en6\"]],[[\"rdma_en5\",\"rdma_en6\"],[]]]\n"
    );
    names_all(
        &notes,
        &["note: 'cable-3' between 'a' and 'b' not used: a pair gets at most 2 rails\n"],
    );
    for kind in ["json", "hostfile", "exo-2160", "exo-2195"] {
        place.json(&format!("--format {kind}"));
    }
    assert!(place.said("--format svg").0.starts_with("<svg"));
    assert!(place.said("--format dot").0.starts_with("graph"));
    assert!(
        place
            .said("--format env --devices-path /tmp/d.json")
            .0
            .contains("export MLX_IBV_DEVICES=/tmp/d.json\n")
    );
}

#[test]
fn exos_state_is_recognised_and_its_crossed_cables_aligned() {
    let place = Place::new();
    place.file("state.json", CROSSED);
    let aligned = json!([
        [[], ["rdma_en6", "rdma_en7"]],
        [["rdma_en7", "rdma_en6"], []]
    ]);
    assert_eq!(place.json("--from state.json --format jaccl"), aligned);
    let piped = place
        .matrix("--from - --input exo --format jaccl")
        .write_stdin(CROSSED)
        .assert()
        .code(0);
    assert_eq!(
        serde_json::from_str::<Value>(&both(&piped).0).unwrap(),
        aligned
    );
    let one = json!([[null, "rdma_en6"], ["rdma_en7", null]]);
    assert_eq!(place.json("--from state.json --format exo-main"), one);
}

#[test]
fn nodes_are_picked_by_name_or_label_in_the_order_given() {
    let place = Place::new();
    place.file("state.json", CROSSED);
    let json = place.json("--from state.json --nodes mini,12D3-a --format json");
    assert_eq!(json["ranks"][0]["node"], "12D3-b");
    assert_eq!(json["ranks"][1]["label"], "studio");
    names_all(
        &place.refusal("--from state.json --nodes mini,maxi"),
        &["error: there is no node 'maxi'", "12D3-b (mini)"],
    );
}

#[test]
fn the_backend_is_asked_for_or_follows_pin_and_messages() {
    let place = Place::new();
    let backend = |args: &str| {
        let json = place.json(&format!("{args} --format json"));
        (json["backend"].clone(), json["rails"].clone())
    };
    let (mesh, ring) = (json!("mesh"), json!("ring"));
    assert_eq!(backend(""), (ring.clone(), json!(3)));
    assert_eq!(backend("--messages 4KiB"), (mesh.clone(), json!(1)));
    assert_eq!(backend("--messages 4KiB,16MiB"), (ring, json!(3)));
    assert_eq!(backend("--mlx 0.32.4"), (mesh.clone(), json!(3)));
    assert_eq!(backend("--backend mesh"), (mesh, json!(1)));
}

#[test]
fn a_dialect_gets_the_best_plan_that_it_carries() {
    let place = Place::new();
    let (matrix, notes) = place.said("--format exo-main");
    assert_eq!(matrix, "[[null,\"rdma_en5\"],[\"rdma_en5\",null]]\n");
    names_all(
        &notes,
        &["'cable-2', 'cable-3' between 'a' and 'b' not used"],
    );
    let (_, notes) = place.said("--format exo-2195");
    names_all(
        &notes,
        &["whether exo-2195 sets MLX_JACCL_RING is not known here; this ring"],
    );
    names_all(
        &place.refusal("--format exo-main --backend ring"),
        &[
            "error: exo-main cannot carry a ring of 1 rail",
            "plan for a mesh",
        ],
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_place() {
    let place = Place::new();
    names_all(
        &place.refusal("--from nowhere.json"),
        &["error: cannot read nowhere.json: ", "or - for stdin"],
    );
    place.file("cut.json", &CROSSED[..200]);
    names_all(&place.refusal("--from cut.json"), &["error: cut.json: "]);
    place.file("wrong.json", &CROSSED.replace("\"rdma_en7\"", "7"));
    names_all(
        &place.refusal("--from wrong.json"),
        &[
            "error: wrong.json: topology.connections.12D3-a.12D3-b[0].sinkRdmaIface",
            "line 6",
        ],
    );
    place.file(
        "rig.toml",
        "[[node]]\nname = \"a\"\n[[cable]]\nname = \"c\"\nends = [\"a\", \"b\"]\n",
    );
    names_all(
        &place.refusal("--from rig.toml"),
        &["error: rig.toml: line 5"],
    );
    names_all(
        &place.refusal("--from rig.toml --input hostfile"),
        &["error: rig.toml: "],
    );
}

#[test]
fn what_cannot_be_planned_names_the_nodes() {
    let place = Place::new();
    place.file(
        "rig.toml",
        r#"
        node = [{ name = "a" }, { name = "b" }, { name = "c" }]
        [[cable]]
        name = "only"
        ends = ["a:rdma_en5", "b:rdma_en5"]
        "#,
    );
    names_all(
        &place.refusal("--from rig.toml"),
        &["error: the nodes cannot be joined", "'c'"],
    );
    let stale = CROSSED.replacen(
        "\"sinkRdmaIface\": \"rdma_en7\"",
        "\"sinkRdmaIface\": \"rdma_en8\"",
        1,
    );
    place.file("stale.json", &stale);
    let (_, notes) = place.said("--from stale.json --format jaccl");
    names_all(
        &notes,
        &["note: left out: 12D3-a:rdma_en6 is said to lead to 12D3-b:rdma_en8"],
    );
    names_all(
        &place.refusal("--from stale.json --strict"),
        &["error: 12D3-a:rdma_en6 is said to lead to 12D3-b:rdma_en8"],
    );
    let one_sided = CROSSED.replacen("\"12D3-b\": {\"12D3-a\"", "\"12D3-b\": {\"12D3-b\"", 1);
    place.file("one-sided.json", &one_sided);
    names_all(
        &place.refusal("--from one-sided.json"),
        &[
            "note: left out: 12D3-a:rdma_en6 is said to lead to 12D3-b:rdma_en7",
            "error: the nodes cannot be joined",
        ],
    );
}

#[test]
fn a_matrix_is_checked_over_the_cabling_and_without_one() {
    let place = Place::new();
    place.file("state.json", CROSSED);
    place.file(
        "sorted.json",
        r#"[[[],["rdma_en6","rdma_en7"]],[["rdma_en6","rdma_en7"],[]]]"#,
    );
    let (alone, _) = place.said("check sorted.json");
    names_all(
        &alone,
        &["jaccl makes a ring", "- note: without a topology"],
    );

    let over = "check sorted.json --from state.json --nodes studio,mini";
    let crossed = place.matrix(over).assert().code(1);
    names_all(
        &both(&crossed).0,
        &[
            "- hangs (0, 1)[0]: crossed: studio:rdma_en6 is paired with mini:rdma_en6, and its \
             cable leads to mini:rdma_en7",
        ],
    );
    let json = place
        .matrix(&format!("{over} --format json --mlx 0.32.4"))
        .assert()
        .code(1);
    let json: Value = serde_json::from_str(&both(&json).0).unwrap();
    assert_eq!(
        (&json["safe"], &json["mlx"]),
        (&json!(false), &json!("0.32.4"))
    );

    place.file(
        "aligned.json",
        &place.said("--from state.json --format jaccl").0,
    );
    let over = "check aligned.json --from state.json --backend ring";
    let (sound, _) = place.said(&format!("{over} --nodes studio,mini"));
    names_all(&sound, &["Every rail is the two ends of one cable"]);
    names_all(&place.said(over).0, &["in their order: 'studio', 'mini'"]);
}

/// Exo's state of [`CROSSED`] with instances, each by id, second and first node, and matrix.
fn state(instances: &[(&str, [&str; 2], &str)]) -> String {
    let instance = |(id, [second, first], devices): &(&str, [&str; 2], &str)| {
        format!(
            r#""{id}": {{"MlxJacclInstance": {{"jacclDevices": {devices}, "shardAssignments": {{
                "nodeToRunner": {{"{second}": "r1", "{first}": "r0"}},
                "runnerToShard": {{"r0": {{"TensorShardMetadata": {{"deviceRank": 0}}}},
                                  "r1": {{"TensorShardMetadata": {{"deviceRank": 1}}}}}}}}}}}}"#
        )
    };
    let instances: Vec<_> = instances.iter().map(instance).collect();
    let state = CROSSED.trim_end().strip_suffix('}').unwrap();
    format!(r#"{state}, "instances": {{{}}}}}"#, instances.join(", "))
}

const ALIGNED: &str = r#"[[null, "rdma_en7"], ["rdma_en6", null]]"#;
const NODES: [&str; 2] = ["12D3-a", "12D3-b"];

#[test]
fn every_jaccl_instance_of_a_live_state_is_checked() {
    let place = Place::new();
    let bad = r#"[[null, "rdma_en6"], ["rdma_en6", null]]"#;
    let state = state(&[("good", NODES, ALIGNED), ("bad", NODES, bad)]);
    let mut command = place.matrix("check - --format json");
    let json = command.write_stdin(state).assert().code(1);
    let json: Value = serde_json::from_str(&both(&json).0).unwrap();
    let matrices = json["matrices"].as_array().unwrap();
    let safe = matrices
        .iter()
        .map(|m| (m["instance"].as_str(), m["safe"].as_bool()));
    assert_eq!(
        safe.collect::<Vec<_>>(),
        [(Some("good"), Some(true)), (Some("bad"), Some(false))]
    );
    assert_eq!(
        matrices[1]["findings"][0]["cell"],
        json!({"from": 0, "to": 1, "rail": 0})
    );
}

#[test]
fn an_instance_whose_node_is_gone_does_not_keep_others_from_being_checked() {
    let place = Place::new();
    let instances = [
        ("gone", ["12D3-a", "12D3-z"], ALIGNED),
        ("good", NODES, ALIGNED),
    ];
    place.file("state.json", &state(&instances));
    let checked = place.matrix("check state.json").assert().code(1);
    names_all(
        &both(&checked).0,
        &[
            "instance gone",
            "- fails: there is no node '12D3-z'",
            "instance good",
            "- wasted (0, 1): no cell has '12D3-a:rdma_en7 = 12D3-b:rdma_en6'",
        ],
    );
    names_all(
        &place.refusal("check state.json --nodes studio,mini"),
        &["error: state.json has 2 matrices, and --nodes names the nodes of one"],
    );
}

#[test]
fn a_matrix_without_names_comes_with_its_ranks_where_they_are_others_than_the_inputs() {
    let place = Place::new();
    place.file("state.json", CROSSED);
    let note = "note: ranks: 12D3-b, 12D3-a (check: --nodes 12D3-b,12D3-a)\n";
    for format in ["jaccl", "exo-2160"] {
        let args = format!("--from state.json --format {format}");
        names_all(
            &place.said(&format!("{args} --nodes mini,studio")).1,
            &[note],
        );
        assert!(!place.said(&args).1.contains("note: ranks:"));
    }
}

#[test]
fn names_in_notes_stay_on_their_line() {
    let place = Place::new();
    place.file(
        "state.json",
        &CROSSED.replace("12D3-a", r"12D3\nnote: evil"),
    );
    let (_, notes) = place.said("--from state.json --format jaccl --nodes 12D3-b,studio");
    names_all(&notes, &[r"12D3\nnote: evil"]);
    assert!(!notes.contains("\nnote: evil"));
}

#[test]
fn what_cannot_be_checked_names_the_file() {
    let place = Place::new();
    place.file("state.json", CROSSED);
    place.file("cell.json", "[[null, 7]]");
    place.file(
        "three.json",
        r#"[[null,"x","x"],["x",null,"x"],["x","x",null]]"#,
    );
    names_all(
        &place.refusal("check nowhere.json"),
        &["error: cannot read nowhere.json"],
    );
    names_all(
        &place.refusal("check cell.json"),
        &["error: cell.json: [0][1]: expected null, a device or a list of devices"],
    );
    names_all(
        &place.refusal("check three.json --from state.json"),
        &["error: three.json: the matrix has 3 rows, and there are 2 nodes"],
    );
    place.file(
        "gone.json",
        r#"{"instanceId": "i1", "jacclDevices": [[null,"x"],["x",null]], "shardAssignments": {
            "nodeToRunner": {"12D3-a": "r0", "12D3-z": "r1"},
            "runnerToShard": {"r0": {"T": {"deviceRank": 0}}, "r1": {"T": {"deviceRank": 1}}}}}"#,
    );
    names_all(
        &place.refusal("check gone.json --from state.json"),
        &["error: gone.json: instance i1: there is no node '12D3-z'"],
    );
    names_all(
        &place.refusal("check three.json --from cell.json"),
        &["error: cell.json: cannot tell what this is"],
    );
    names_all(
        &place.refusal("check three.json --format yaml"),
        &["'yaml'", "md", "json"],
    );
}

#[test]
fn a_wrong_flag_is_answered_with_what_there_is() {
    let place = Place::new();
    names_all(
        &place.refusal("--format yaml"),
        &["'yaml'", "possible values", "exo-2160", "hostfile"],
    );
    names_all(&place.refusal("--input yaml"), &["'yaml'", "rig", "exo"]);
    names_all(&place.refusal("--mlx newest"), &["newest", "0.31.2"]);
    names_all(&place.refusal("--messages big"), &["'big'", "16MiB"]);
    names_all(
        &place.refusal("--max-rails 5"),
        &["error: at most 5 rails a pair", "1 to 4"],
    );
    let (help, _) = place.said("--help");
    names_all(
        &help,
        &["/state/topology", "mlx.launch", "Exit codes: 0 done"],
    );
}
