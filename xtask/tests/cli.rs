//! The command line as its users meet it. Nothing here builds MLX or leaves the
//! machine.

use std::{fs, path::Path};

use assert_cmd::Command;
use tempfile::TempDir;

/// xtask with an empty store of its own.
fn xtask(store: &TempDir) -> Command {
    let mut command = Command::cargo_bin("xtask").unwrap();
    command.env("MLX_RAILS_STORE", store.path());
    command
}

/// Runs it, expects exit code 1, and gives what it said on stderr.
fn refusal(command: &mut Command) -> String {
    ended(command, 1)
}

/// As [`refusal`], where the machine failed and not the user.
fn failure(command: &mut Command) -> String {
    ended(command, 2)
}

fn ended(command: &mut Command, code: i32) -> String {
    let assert = command.assert().code(code);
    let output = assert.get_output();
    assert!(
        output.stdout.is_empty(),
        "stdout is for data: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names_all(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in:\n{message}");
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder)
        .map(|mut entries| entries.next().is_none())
        .unwrap_or(true)
}

#[test]
fn help_names_every_verb_and_the_exit_codes() {
    let store = TempDir::new().unwrap();
    let output = xtask(&store)
        .arg("--help")
        .assert()
        .code(0)
        .get_output()
        .stdout
        .clone();
    let help = String::from_utf8(output).unwrap();
    names_all(
        &help,
        &[
            "bench",
            "build",
            "doctor",
            "fetch",
            "gc",
            "patch",
            "preflight",
            "test",
            "wheel",
            "130 interrupted",
        ],
    );
}

#[test]
fn a_wrong_verb_or_flag_is_the_users() {
    let store = TempDir::new().unwrap();
    names_all(&refusal(xtask(&store).arg("bnech")), &["bnech", "bench"]);
    names_all(
        &refusal(xtask(&store).args(["build", "--series", "vanilla"])),
        &["vanilla", "stock", "patched"],
    );
    names_all(
        &refusal(xtask(&store).args(["build", "--jobs", "0"])),
        &["--jobs", "0"],
    );
}

#[test]
fn an_unknown_pin_is_answered_with_the_known_ones() {
    let store = TempDir::new().unwrap();
    for verb in ["fetch", "patch", "build", "bench", "preflight"] {
        let message = refusal(xtask(&store).args([verb, "--mlx", "0.0.9"]));
        names_all(&message, &["0.0.9", "0.31.2"]);
    }
}

#[test]
fn sources_that_are_not_the_pin_leave_no_trace() {
    let store = TempDir::new().unwrap();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("CMakeLists.txt"), "project(not-mlx)\n").unwrap();
    let message = refusal(xtask(&store).args(["fetch", "--source"]).arg(folder.path()));
    names_all(
        &message,
        &[
            "CMakeLists.txt: content differs",
            ": missing",
            "nothing was stored",
        ],
    );
    assert!(is_empty(&store.path().join("sources")));
    assert!(is_empty(&store.path().join("tmp")));
}

#[test]
fn a_store_that_cannot_be_written_is_named_with_the_way_out() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let source = TempDir::new().unwrap();
    let mut command = Command::cargo_bin("xtask").unwrap();
    command
        .env("MLX_RAILS_STORE", &file)
        .args(["fetch", "--source"])
        .arg(source.path());
    names_all(&failure(&mut command), &["a-file", "MLX_RAILS_STORE"]);
}

#[test]
fn without_network_and_with_nothing_stored_every_transport_is_accounted_for() {
    let store = TempDir::new().unwrap();
    let cargo_home = TempDir::new().unwrap();
    let message = failure(
        xtask(&store)
            .arg("fetch")
            .env("CARGO_HOME", cargo_home.path())
            .env("CARGO_NET_OFFLINE", "true")
            .env("GIT_ALLOW_PROTOCOL", "file"),
    );
    names_all(
        &message,
        &["rlx-mlx-sys", "ml-explore/mlx", "--source PATH"],
    );
    assert!(is_empty(&store.path().join("sources")));
}

#[test]
fn doctor_tells_programs_the_same_as_people() {
    let store = TempDir::new().unwrap();
    let json = xtask(&store)
        .args(["doctor", "--format", "json"])
        .output()
        .unwrap()
        .stdout;
    let report: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(report["schema"], "mlx-rails/doctor/1");
    let text = String::from_utf8(xtask(&store).arg("doctor").output().unwrap().stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.len() >= 8);
    for check in checks {
        names_all(&text, &[check["name"].as_str().unwrap()]);
        let here = check["status"] == "present";
        assert_eq!(
            here,
            check.get("remedy").is_none(),
            "{check}: what is not there has a remedy"
        );
    }
}

#[test]
fn a_bench_that_cannot_be_is_refused_before_anything_is_built() {
    let store = TempDir::new().unwrap();
    let rig = store.path().join("rig.toml");
    let two = "[[node]]\nname = \"a\"\n[[node]]\nname = \"b\"\n";
    let cable = |name: &str, a: &str, b: &str| {
        format!("[[cable]]\nname = \"{name}\"\nends = [\"{a}\", \"{b}\"]\n")
    };
    let with = |cables: String| fs::write(&rig, format!("{two}{cables}")).unwrap();
    let bench = |arguments: &[&str]| refusal(xtask(&store).arg("bench").args(arguments));

    names_all(&bench(&["--cables", "9"]), &["9"]);
    names_all(&bench(&["--prompt-tokens", "0"]), &["--prompt-tokens"]);
    names_all(&bench(&["--gen-tokens", "0"]), &["--gen-tokens"]);
    names_all(
        &bench(&["--rig", "/no/such/rig.toml"]),
        &["/no/such/rig.toml", "--rig"],
    );

    let path = rig.to_str().unwrap();
    with(cable("c1", "a:rdma_en5", "z:rdma_en5"));
    names_all(&bench(&["--rig", path]), &[path, "c1", "z"]);
    with(cable("c1", "a:rdma_en5", "b:rdma_en5") + &cable("c2", "a:rdma_en5", "b:rdma_en6"));
    names_all(&bench(&["--rig", path]), &[path, "c2", "rdma_en5"]);
    fs::write(&rig, "[[node]\n").unwrap();
    names_all(&bench(&["--rig", path]), &[path]);
    assert!(is_empty(&store.path().join("builds")));
}

#[test]
fn the_steps_of_a_patch_teach_themselves() {
    let store = TempDir::new().unwrap();
    let help = |arguments: &[&str]| {
        let mut command = xtask(&store);
        let assert = command.arg("patch").args(arguments).assert().code(0);
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    names_all(
        &help(&["--help"]),
        &["new", "edit", "refresh", "export", "drop", "lint", "--try"],
    );
    names_all(
        &help(&["new", "--help"]),
        &["--class", "--dir", "refresh NAME"],
    );
    names_all(
        &help(&["refresh", "--help"]),
        &["NAME", "--mlx", "--dir", "recorded"],
    );
    names_all(
        &help(&["drop", "--help"]),
        &["<NAME>...", "upstream", "Refused"],
    );
    names_all(&help(&["lint", "--help"]), &["--format", "exits with 1"]);
}

#[test]
fn a_step_that_cannot_be_says_what_would_do() {
    let store = TempDir::new().unwrap();
    let nowhere = store.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let patch = |arguments: &[&str]| refusal(xtask(&store).arg("patch").args(arguments));

    names_all(&patch(&["fold"]), &["fold"]);
    names_all(&patch(&["refresh"]), &["NAME"]);
    names_all(
        &patch(&["new", "a-b", "--class", "hack"]),
        &["hack", "portability"],
    );
    names_all(&patch(&["new", "Some Fix"]), &["Some Fix", "hyphens"]);
    names_all(
        &patch(&["new", "ring-recv-prefill"]),
        &["already", "patch refresh"],
    );
    for step in ["refresh", "export"] {
        let name: &[&str] = if step == "refresh" {
            &["ring-recv-prefill"]
        } else {
            &[]
        };
        let arguments = [&[step], name, &["--dir", nowhere]].concat();
        names_all(
            &patch(&arguments),
            &[nowhere, "cargo xtask patch edit --mlx 0.31.2"],
        );
    }
    for arguments in [
        &["new", "a"][..],
        &["edit"],
        &["refresh", "a"],
        &["export"],
        &["drop", "a"],
        &["lint"],
        &["--try"],
    ] {
        let arguments = [arguments, &["--mlx", "0.0.9"]].concat();
        names_all(&patch(&arguments), &["0.0.9", "0.31.2"]);
    }
    names_all(&patch(&["--try"]), &["--mlx"]);
    names_all(
        &patch(&["--try", "--status", "--mlx", "0.31.2"]),
        &["--try", "--status"],
    );
    assert!(!Path::new(nowhere).exists());
}

#[test]
fn a_preflight_over_no_matrix_of_the_rig_is_refused_before_anything_is_built() {
    let store = TempDir::new().unwrap();
    let file = store.path().join("devices.json");
    let path = file.to_str().unwrap();
    let preflight = |arguments: &[&str]| refusal(xtask(&store).arg("preflight").args(arguments));
    let with = |devices: &str| {
        fs::write(&file, devices).unwrap();
        preflight(&["--devices", path])
    };

    names_all(
        &preflight(&["--rig", "/no/such/rig.toml"]),
        &["/no/such/rig.toml", "--rig"],
    );
    names_all(
        &preflight(&["--devices", "/no/such.json"]),
        &["/no/such.json", "--devices"],
    );
    names_all(&preflight(&["--timeout", "0"]), &["--timeout"]);
    names_all(&with("[[]"), &[path, "not a device matrix", "line 1"]);
    names_all(
        &with(r#"[[[], ["rdma_en9"]], [["rdma_en5"], []]]"#),
        &[path, "rdma_en9", "node 'a'", "rdma_en5"],
    );
    fs::write(&file, "[[node]]\nname = \"a\"\n").unwrap();
    names_all(&preflight(&["--rig", path]), &["no rails"]);
    assert!(is_empty(&store.path().join("builds")));
}

#[test]
fn cables_of_no_fabric_and_faults_of_no_kind_are_refused() {
    let store = TempDir::new().unwrap();
    let cable = |arguments: &[&str]| refusal(xtask(&store).arg("cable").args(arguments));
    names_all(
        &cable(&["stats", "--fabric", "/no/such/fabric"]),
        &["/no/such/fabric/rig.toml"],
    );
    names_all(
        &cable(&["break", "a:rdma_en5", "rust"]),
        &["'rust'", "no-gid", "port-down"],
    );
    names_all(&cable(&["link", "cable-1", "--rate", "0 MB/s"]), &["cut"]);
    names_all(&cable(&["link", "cable-1"]), &["--rate"]);
}

#[test]
fn cables_are_changed_and_told_of_while_they_are_up() {
    let store = TempDir::new().unwrap();
    let rig = rail_matrix::Rig::embedded();
    let fabric = softrail::Fabric::create(store.path(), &rig).unwrap();
    let cable = |arguments: &[&str]| {
        let mut command = xtask(&store);
        command.args(["cable", "--fabric"]).arg(fabric.path());
        command
            .args(arguments)
            .assert()
            .success()
            .get_output()
            .stdout
            .clone()
    };
    cable(&["cut", "cable-2"]);
    cable(&["break", "a:rdma_en7", "port-down"]);
    cable(&["link", "cable-1", "--rate", "10 MB/s", "--latency", "1 ms"]);
    let told: serde_json::Value =
        serde_json::from_slice(&cable(&["stats", "--format", "json"])).unwrap();
    assert_eq!(told["schema"], "mlx-rails/cable-stats/1");
    let directions = told["directions"].as_array().unwrap();
    assert_eq!(directions.len(), 6);
    let first = &directions[0];
    assert_eq!(
        (&first["bytes_per_second"], &first["latency_ns"]),
        (&10_000_000.into(), &1_000_000.into())
    );
    assert!(
        directions
            .iter()
            .all(|it| it["cut"] == (it["cable"] == "cable-2"))
    );
    assert_eq!(directions[4]["faults"], serde_json::json!(["port-down"]));
    cable(&["mend", "cable-2"]);
    let table = String::from_utf8(cable(&["stats"])).unwrap();
    assert!(!table.contains("cut") && table.contains("| cable-1 | a:rdma_en5 | b:rdma_en5 |"));
}

#[test]
fn messages_and_nodes_that_are_not_there_cannot_be_broken() {
    let store = TempDir::new().unwrap();
    let fabric = softrail::Fabric::create(store.path(), &rail_matrix::Rig::embedded()).unwrap();
    let cable = |arguments: &[&str]| {
        let mut command = xtask(&store);
        command.args(["cable", "--fabric"]).arg(fabric.path());
        refusal(command.args(arguments))
    };
    names_all(&cable(&["kill", "c"]), &["'c'", "a, b"]);
    names_all(
        &cable(&["freeze", "b"]),
        &["'b'", "no process", "start one"],
    );
    names_all(
        &cable(&["drop", "a:rdma_en9"]),
        &["a:rdma_en9", "a:rdma_en5"],
    );
    names_all(&cable(&["delay", "a:rdma_en5"]), &["--by"]);
    let delay = |by| cable(&["delay", "a:rdma_en5", "--by", by]);
    names_all(&delay("0 s"), &["by no time"]);
    names_all(&delay("5"), &["'5' is not a time", "\"2 s\""]);
    let rest = ["--by", "5 ms", "--message", "-1"];
    names_all(
        &cable(&[&["delay", "a:rdma_en5"], &rest[..]].concat()),
        &["-1"],
    );
}

#[test]
fn a_program_on_no_node_of_the_rig_is_refused_before_anything_is_compiled() {
    let store = TempDir::new().unwrap();
    let up = |arguments: &[&str]| refusal(xtask(&store).args(["rig", "up"]).args(arguments));
    names_all(&up(&["--node", "c", "--", "true"]), &["--node c", "a, b"]);
    names_all(
        &up(&["/no/such/rig.toml", "--", "true"]),
        &["/no/such/rig.toml"],
    );
    names_all(&up(&[]), &["<COMMAND>"]);
}

#[test]
fn a_wheel_that_is_not_named_is_told_which_there_is() {
    let store = TempDir::new().unwrap();
    let message = refusal(xtask(&store).arg("wheel"));
    names_all(&message, &["--rail-matrix", "cargo xtask build"]);
    assert!(is_empty(store.path()));
}

#[test]
fn a_wheel_that_has_nowhere_to_go_is_refused_before_anything_is_installed() {
    let store = TempDir::new().unwrap();
    let file = store.path().join("file");
    std::fs::write(&file, "").unwrap();
    let message = failure(
        xtask(&store)
            .args(["wheel", "--rail-matrix", "--out"])
            .arg(&file),
    );
    names_all(&message, &["cannot create", "file"]);
}
