//! The command line as a user types it. No test here builds MLX or uses the network.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Stdio},
};

use assert_cmd::Command;
use tempfile::TempDir;
use toolchain::{Toolchain, fetch::Source, store::Store};

mod support;

/// xtask with an empty store of its own.
fn xtask(store: &TempDir) -> Command {
    let mut command = Command::cargo_bin("xtask").unwrap();
    command.env("MLX_RAILS_STORE", store.path());
    command
}

/// Runs it, expects the exit code for invalid flags or input, and returns its stderr.
fn refusal(command: &mut Command) -> String {
    ended(command, 2)
}

/// As [`refusal`], if a check failed.
fn finding(command: &mut Command) -> String {
    ended(command, 1)
}

/// As [`refusal`], if the machine failed rather than the user.
fn failure(command: &mut Command) -> String {
    ended(command, 70)
}

fn ended(command: &mut Command, code: i32) -> String {
    let assert = command.assert().code(code);
    let output = assert.get_output();
    assert!(
        output.stdout.is_empty(),
        "stdout is for data: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    let arguments = command.get_args();
    let arguments: Vec<_> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    support::is_a_good_complaint(&arguments, &message);
    message
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

/// The help of a verb and of its steps, each with the words that select it.
fn helps(words: &[&str], all: &mut Vec<(String, String)>) {
    let output = Command::cargo_bin("xtask")
        .unwrap()
        .args(words)
        .arg("--help")
        .assert()
        .code(0)
        .get_output()
        .stdout
        .clone();
    let help = String::from_utf8(output).unwrap();
    let steps = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for step in steps.take_while(|line| !line.is_empty()) {
        match step.split_whitespace().next() {
            Some("help") | None => {}
            // Continuations of the line above are indented further.
            Some(_) if step.starts_with("    ") => {}
            Some(step) => helps(&[words, &[step]].concat(), all),
        }
    }
    all.push((words.join("-"), help));
}

/// `INSTA_UPDATE=always cargo test -p xtask --test cli help` updates the snapshots.
#[test]
fn the_help_of_every_verb_is_what_it_was() {
    let mut all = Vec::new();
    helps(&[], &mut all);
    assert!(all.len() > 30, "every verb and every step");
    for (name, help) in all {
        let name = if name.is_empty() { "xtask" } else { &name };
        insta::assert_snapshot!(format!("help-{name}"), help);
    }
}

/// The table of `terminal::exit`, with a command for each code.
#[test]
fn every_exit_code_is_that_of_a_command() {
    let store = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = store.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    xtask(&store).arg("matrix").assert().code(0);

    let uneven = file("uneven.json", r#"[[[], ["a", "b"]], [["a"], []]]"#);
    let check = ["matrix", "check"];
    xtask(&store).args(check).arg(uneven).assert().code(1);

    xtask(&store).arg("matrixx").assert().code(2);
    xtask(&store).arg("patch").assert().code(2);
    xtask(&store)
        .args(["matrix", "--from", "/no/such"])
        .assert()
        .code(2);

    let mut nowhere = Command::cargo_bin("xtask").unwrap();
    nowhere.env("MLX_RAILS_STORE", file("store", ""));
    nowhere.args(["fetch", "--source"]).arg(store.path());
    nowhere.assert().code(70);

    let fabric = softrail::Fabric::create(store.path(), &rig::Rig::embedded()).unwrap();
    let mut watch = process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["cable", "stats", "--watch", "--fabric"])
        .arg(fabric.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.next().is_some(), "it watches");
    let kill = process::Command::new("kill")
        .args(["-INT", &watch.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(watch.wait().unwrap().code(), Some(130));
}

#[test]
fn a_reader_that_leaves_ends_a_verb_quietly() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["matrix"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Progress is not a verb's data.
#[test]
fn a_reader_of_progress_that_leaves_does_not_end_the_verb() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["matrix", "--format", "jaccl", "--max-rails", "1"])
        .stderr(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"[[[],"));
}

#[cfg(target_os = "linux")]
#[test]
fn data_that_cannot_be_written_is_no_success() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("matrix")
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.starts_with("error: cannot write to stdout: "),
        "{message}"
    );
}

#[test]
fn what_needs_no_store_runs_where_there_is_no_place_for_one() {
    let homeless = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("xtask").unwrap();
        for variable in ["HOME", "XDG_CACHE_HOME", "MLX_RAILS_STORE"] {
            command.env_remove(variable);
        }
        command.args(arguments).assert()
    };
    homeless(&["matrix"]).code(0);
    homeless(&["matrix", "check", "/dev/null"]).code(2);
    homeless(&["report", "/no/such"]).code(2);
    homeless(&["cable", "stats", "--fabric", "/no/such"]).code(2);
    let refused = homeless(&["gc"]).code(2);
    let message = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    names_all(&message, &["HOME", "MLX_RAILS_STORE"]);
}

#[test]
fn quiet_leaves_data_and_errors() {
    let store = TempDir::new().unwrap();
    let arguments = ["matrix", "--format", "jaccl", "--max-rails", "1"];
    let loud = xtask(&store).args(arguments).output().unwrap();
    assert!(!loud.stderr.is_empty());
    let quiet = xtask(&store).args(arguments).arg("-q").output().unwrap();
    assert!(quiet.stderr.is_empty());
    assert_eq!(quiet.stdout, loud.stdout);
    let refused = refusal(xtask(&store).args(["--quiet", "fetch", "--mlx", "0.0.9"]));
    names_all(&refused, &["error: ", "0.0.9"]);
    refusal(xtask(&store).args(["-q", "-v", "matrix"]));
}

#[test]
fn colours_are_as_asked_for_also_in_complaints_about_other_flags() {
    let store = TempDir::new().unwrap();
    let refused = |arguments: &[&str]| {
        let output = xtask(&store).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        output.stderr.contains(&0x1b)
    };
    for wrong in [&["--nonsense"][..], &["matrix", "--from", "/no/such"]] {
        assert!(!refused(wrong));
        assert!(refused(&[&["--color", "always"], wrong].concat()));
        assert!(refused(&[&["--color=always"], wrong].concat()));
        assert!(!refused(&[&["--color", "never"], wrong].concat()));
    }
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
    for verb in ["fetch", "patch apply", "build", "bench", "preflight"] {
        let words = verb.split(' ');
        let message = refusal(xtask(&store).args(words).args(["--mlx", "0.0.9"]));
        names_all(&message, &["0.0.9", "0.31.2"]);
    }
}

#[test]
fn sources_that_are_not_the_pin_leave_no_trace() {
    let store = TempDir::new().unwrap();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("CMakeLists.txt"), "project(not-mlx)\n").unwrap();
    let message = finding(xtask(&store).args(["fetch", "--source"]).arg(folder.path()));
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
fn a_pip_that_cannot_install_is_quoted_and_where_else_it_could_look_is_said() {
    let store = TempDir::new().unwrap();
    let folder = TempDir::new().unwrap();
    let python = folder.path().join("python");
    let script = "#!/bin/sh\ncase $* in *--version*) echo pip 99; exit;; esac\n\
                  echo 'no such index' >&2; exit 1\n";
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let message = failure(
        xtask(&store)
            .args(["wheel", "--rail-matrix", "--out-dir"])
            .arg(folder.path())
            .env("MLX_RAILS_PYTHON", &python),
    );
    names_all(
        &message,
        &["no such index", "\nhelp: pip asks", "PIP_INDEX_URL"],
    );
    assert!(is_empty(&store.path().join("tools")));
}

/// No variable of the environment disables the network here, so the flag must.
#[test]
fn offline_nothing_is_fetched_and_the_complaint_says_what_is_missing() {
    let store = TempDir::new().unwrap();
    let cargo_home = TempDir::new().unwrap();
    let message = failure(
        xtask(&store)
            .args(["fetch", "--offline"])
            .env("CARGO_HOME", cargo_home.path())
            .env_remove("CARGO_NET_OFFLINE"),
    );
    names_all(
        &message,
        &["MLX 0.31.2", "rlx-mlx-sys", "--offline", "--source PATH"],
    );
    assert!(is_empty(&store.path().join("sources")));

    let out = TempDir::new().unwrap();
    let wheel = ["--offline", "wheel", "--rail-matrix", "--out-dir"];
    let message = failure(xtask(&store).args(wheel).arg(out.path()));
    names_all(&message, &["maturin", "--offline"]);
    assert!(is_empty(&store.path().join("tools")));
}

#[test]
fn a_step_of_matrix_does_not_take_the_flags_of_the_plan() {
    let store = TempDir::new().unwrap();
    let check = |arguments: &[&str]| refusal(xtask(&store).arg("matrix").args(arguments));
    names_all(
        &check(&["--strict", "check", "/dev/null"]),
        &["--strict", "'check' has its own flags"],
    );
    names_all(
        &check(&["--from", "/no/such", "plan"]),
        &["--from", "'plan' has its own flags"],
    );
    // A global flag is not one of them.
    names_all(&check(&["-q", "check", "/dev/null"]), &["/dev/null: "]);
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
    names_all(&bench(&["--pp", "512,x"]), &["'x'", "--prompt-tokens"]);
    names_all(
        &bench(&["--resume", "/no/such"]),
        &["/no/such", "bench.jsonl"],
    );
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

    names_all(&bench(&["--model", "gpt"]), &["gpt", "qwen3-tiny"]);
    let folder = store.path().join("a-model");
    fs::create_dir(&folder).unwrap();
    let model = folder.to_str().unwrap();
    let of = |engine| bench(&["--engine", engine, "--model", model]);
    names_all(&of("mlx-lm"), &[model, "config.json"]);
    let config = r#"{"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "rms_norm_eps": 1e-5, "vocab_size": 49152}"#;
    fs::write(folder.join("config.json"), config).unwrap();
    names_all(&of("mlx-lm"), &[model, "safetensors"]);
    let weights = folder.join("model.safetensors");
    fs::write(&weights, "").unwrap();
    names_all(&of("mlx-lm"), &["model.safetensors is cut off"]);
    fs::write(&weights, b"\x02\0\0\0\0\0\0\0{}").unwrap();
    for engine in ["mlx-lm", "rust"] {
        names_all(&of(engine), &[model, "no tensor model.layers.0"]);
    }
    assert!(is_empty(&store.path().join("builds")));
}

#[test]
fn a_dry_run_of_the_benchmark_names_cells_and_minutes_and_starts_nothing() {
    let store = TempDir::new().unwrap();
    let reports = store.path().join("reports");
    let assert = xtask(&store)
        .args([
            "bench",
            "--pp",
            "512,2048",
            "--depth",
            "0,4096",
            "--dry-run",
            "--out-dir",
        ])
        .arg(&reports)
        .assert()
        .code(0);
    let said = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert!(
        said.starts_with("36 cells in 72 launches, about "),
        "{said}"
    );
    names_all(&said, &["pp2048+tg32 @ d4096", "tp ring-3", "rdma_en7"]);
    assert!(!reports.exists());
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
        &[
            "new", "edit", "refresh", "export", "drop", "lint", "try", "apply", "status", "record",
        ],
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
        &["try"],
        &["apply"],
        &["status"],
        &["record"],
    ] {
        let arguments = [arguments, &["--mlx", "0.0.9"]].concat();
        names_all(&patch(&arguments), &["0.0.9", "0.31.2"]);
    }
    names_all(&patch(&["try"]), &["--mlx"]);
    assert!(!Path::new(nowhere).exists());
}

#[test]
fn what_cannot_be_a_pin_is_refused_at_once() {
    let store = TempDir::new().unwrap();
    let add = |arguments: &[&str]| refusal(xtask(&store).args(["pin", "add"]).args(arguments));
    names_all(&add(&[]), &["TAG|COMMIT"]);
    names_all(&add(&["v0.31.2"]), &["patches/0.31.2", "already"]);
    names_all(&add(&["v99.0.0rc1"]), &["99.0.0rc1", "no release"]);
    names_all(
        &add(&["v99.0.0", "--from", "/no/such/mlx"]),
        &["/no/such/mlx", "upstream"],
    );
    names_all(
        &add(&["v99.0.0", "--offline"]),
        &["--offline", "https://github.com/ml-explore/mlx.git"],
    );
}

#[test]
fn a_new_pin_comes_with_what_is_left_to_do() {
    let checkout = miniature::Checkout::new();
    checkout.write("xtask/Cargo.toml", "");
    checkout.add_patch("port", "portability", &miniature::change_line(4, "ported"));
    let store = Store::at(checkout.path("store"));
    let origin = Source::Path(checkout.path("origin"));
    let toolchain = Toolchain::at(checkout.root(), store);
    toolchain.fetch(&checkout.pin().mlx, &origin).unwrap();
    let add = |name: &str, format: &str, code: i32| {
        let mut command = Command::cargo_bin("xtask").unwrap();
        command
            .args(["pin", "add", name, "--format", format, "--from"])
            .arg(checkout.path("origin"))
            .env("CARGO_MANIFEST_DIR", checkout.path("xtask"))
            .env("MLX_RAILS_STORE", checkout.path("store"));
        let assert = command.assert().code(code);
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let text = add("v1.3.0", "text", 0);
    insta::assert_snapshot!(
        "pin-add",
        text.replace(checkout.root().to_str().unwrap(), "ROOT")
    );

    let other = miniature::numbered_lines().replace("line 4\n", "otherwise\n");
    checkout.write("origin/mlx/array.cpp", &other);
    let report: serde_json::Value = serde_json::from_str(&add("v1.4.0", "json", 1)).unwrap();
    assert_eq!(report["schema"], "mlx-rails/pin-add/1");
    assert_eq!(report["from"], "1.3.0");
    assert_eq!(report["patches"][0]["fate"], "conflicts");
    assert_eq!(report["recorded"], false);
    let left = report["left"].as_array().unwrap();
    let refresh = left
        .iter()
        .any(|it| it.as_str().unwrap().contains("patch refresh port"));
    assert!(refresh, "{left:?}");
}

/// A wheel of ours in `folder`: one of a few files with a manifest.
fn wheel_of_ours(folder: &Path) -> PathBuf {
    let name = "mlx_metal-0.32.0-py3-none-macosx_26_0_arm64.whl";
    let official = miniature::write_wheel(folder, name, &[("mlx/lib/libjaccl.dylib", "")], &[]);
    let mut base = wheel::Wheel::open(&official).unwrap();
    let overlay = wheel::overlay::Overlay {
        version: "0.32.0+rails.1".parse().unwrap(),
        tag: base.name().tag.clone(),
        files: [("mlx/lib/libjaccl.dylib".to_owned(), b"patched".to_vec())].into(),
        manifest: br#"{"mlx": "0.32.0", "series": "patched", "revision": 1,
            "patched_tree": "d210627253581f150a106253697f82f1d8a751cc",
            "patches": [["no-wires", "00"]]}"#
            .to_vec(),
    };
    let path = folder.join(overlay.name(base.name()).to_string());
    let file = fs::File::create(&path).unwrap();
    overlay.write(&mut base, file, &path).unwrap();
    path
}

#[test]
fn a_snippet_is_printed_or_put_into_a_project() {
    let store = TempDir::new().unwrap();
    let wheel = wheel_of_ours(store.path());
    let project = store.path().join("pyproject.toml");
    fs::write(&project, "[project]\nname = \"p\"\n").unwrap();
    let snippet = |words: &[&str]| {
        let mut command = xtask(&store);
        command.args(["pin", "snippet"]).arg(&wheel).args(words);
        let assert = command.assert().code(0);
        let output = assert.get_output().clone();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    for (tool, part) in [
        ("uv", "mlx-metal==0.32.0+rails.1 ; sys_platform"),
        ("pip", "--find-links "),
    ] {
        let (stdout, stderr) = snippet(&["--for", tool]);
        assert!(stdout.contains(part), "{stdout}");
        assert!(stderr.contains("next: "), "{stderr}");
    }
    let nix = [
        "--for",
        "nix",
        "--url-prefix",
        "https://example.org/patches",
    ];
    let (stdout, _) = snippet(&nix);
    names_all(
        &stdout,
        &["https://example.org/patches/no-wires.patch", "sha256-"],
    );

    let apply = ["--for", "uv", "--apply", project.to_str().unwrap()];
    let (stdout, stderr) = snippet(&apply);
    names_all(&stdout, &["tool.uv.sources.mlx-metal: added"]);
    names_all(&stderr, &["`uv lock`", "has sha256:"]);
    let text = fs::read_to_string(&project).unwrap();
    names_all(
        &text,
        &["[project]\nname = \"p\"\n", "{ path = \"mlx_metal-"],
    );
    let (stdout, _) = snippet(&apply);
    names_all(&stdout, &["nothing was changed"]);
    assert_eq!(fs::read_to_string(&project).unwrap(), text);

    let (stdout, _) = snippet(&[&apply[..], &["--format", "json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["schema"], "mlx-rails/pin-snippet/1");
    assert_eq!(report["applied"]["changed"], false);
    assert_eq!(report["wheels"][0]["name"], "mlx-metal");
    assert_eq!(report["patches"][0]["name"], "no-wires");
}

#[test]
fn a_snippet_that_cannot_be_writes_nothing() {
    let store = TempDir::new().unwrap();
    let wheel = wheel_of_ours(store.path());
    let snippet = |words: &[&str]| {
        let mut command = xtask(&store);
        command.args(["pin", "snippet"]).args(words);
        refusal(&mut command)
    };
    let [ours, project] = [&wheel, &store.path().join("p.toml")].map(|it| it.display().to_string());
    let official = ours.replace("+rails.1", "");
    names_all(
        &snippet(&["--for", "uv", &official]),
        &["is not one of ours"],
    );
    names_all(
        &snippet(&["--for", "uv", &ours, &ours]),
        &["mlx-metal for macOS"],
    );
    names_all(&snippet(&["--for", "exo", &ours]), &["exo", "--for uv"]);
    names_all(
        &snippet(&["--for", "pip", &ours, "--apply", &project]),
        &["pip", "--apply"],
    );
    // Its one patch is not that of the checkout.
    names_all(
        &snippet(&["--for", "nix", &ours]),
        &["no-wires.patch", "--url-prefix"],
    );
    fs::write(&project, "[project]\nname = \n").unwrap();
    let damaged = snippet(&["--for", "uv", &ours, "--apply", &project]);
    names_all(&damaged, &["p.toml:2:", "nothing was written"]);
    assert_eq!(
        fs::read_to_string(&project).unwrap(),
        "[project]\nname = \n"
    );
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
    names_all(&preflight(&["--rig", path]), &["1 node can take part"]);
    assert!(is_empty(&store.path().join("builds")));
}

#[test]
fn a_given_matrix_that_does_not_fit_is_refused_before_anything_is_built() {
    let store = TempDir::new().unwrap();
    let file = store.path().join("devices.json");
    let path = file.to_str().unwrap();
    let rig = store.path().join("rig.toml");
    fs::write(&rig, rig::Rig::embedded().to_toml()).unwrap();
    let of_verbs = [
        &["bench", "--devices", path][..],
        &["preflight", "--devices", path],
        &["verify", "--rig", rig.to_str().unwrap(), "--devices", path],
    ];
    let hostfile = r#"{"hosts": [{"ssh": "a", "ips": [], "rdma": [null, "rdma_en5"]},
                                 {"ssh": "x", "ips": [], "rdma": ["rdma_en5", null]}]}"#;
    for (matrix, said) in [
        ("[[null]]", "the matrix has 1 rows, and the rig has 2 nodes"),
        (
            hostfile,
            "the matrix is of node 'x', which the rig does not have",
        ),
        (
            r#"[[null, "rdma_en9"], ["rdma_en5", null]]"#,
            "rank 0 of the matrix has the device 'rdma_en9', which node 'a' of the rig",
        ),
        ("{", "not a device matrix"),
    ] {
        fs::write(&file, matrix).unwrap();
        for verb in of_verbs {
            names_all(&refusal(xtask(&store).args(verb)), &[path, said]);
        }
    }
    fs::remove_file(&file).unwrap();
    for verb in of_verbs {
        names_all(
            &refusal(xtask(&store).args(verb)),
            &[path, "cannot read the matrix"],
        );
    }

    // A preflight checks any rail; a job needs a group.
    let five = r#"[[null, ["1", "2", "3", "4", "5"]], [["1", "2", "3", "4", "5"], null]]"#;
    fs::write(&file, five).unwrap();
    let alone = refusal(xtask(&store).args(["verify", "--devices", path]));
    names_all(&alone, &[path, "a ring of 5 rails"]);
    fs::write(&file, r#"[[null, ["1", "1"]], [["1", "2"], null]]"#).unwrap();
    let twice = refusal(xtask(&store).args(["verify", "--devices", path]));
    names_all(
        &twice,
        &["the matrix states no cabling by itself", "rank-0:1"],
    );
    let wide = ["verify", "--wires", "4", "--rig", rig.to_str().unwrap()];
    names_all(&refusal(xtask(&store).args(wide)), &["--rig", "4 cables"]);
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
        &["'rust'", "[possible values: no-gid, port-down"],
    );
    names_all(&cable(&["link", "cable-1", "--rate", "0 MB/s"]), &["cut"]);
    names_all(&cable(&["link", "cable-1"]), &["--rate"]);
}

#[test]
fn cables_are_changed_and_told_of_while_they_are_up() {
    let store = TempDir::new().unwrap();
    let rig = rig::Rig::embedded();
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
    let fabric = softrail::Fabric::create(store.path(), &rig::Rig::embedded()).unwrap();
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
    names_all(&delay("0 s"), &["--by", "greater than 0"]);
    names_all(
        &delay("5 parsecs"),
        &["'5 parsecs' is not a time", "\"2 s\""],
    );
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
        &up(&["--rig", "/no/such/rig.toml", "--", "true"]),
        &["/no/such/rig.toml", "help: ", "--rig"],
    );
    names_all(&up(&["--timeout", "0", "--", "true"]), &["--timeout"]);
    names_all(&up(&[]), &["<COMMAND>"]);
}

#[test]
fn a_wheel_whose_base_is_not_in_the_store_is_not_fetched_offline() {
    let store = TempDir::new().unwrap();
    let message = refusal(xtask(&store).args(["wheel", "-q", "--offline", "--platform", "macos"]));
    names_all(&message, &["mlx_metal-", "--offline", "--base"]);
}

#[test]
fn a_base_that_is_no_wheel_is_refused_by_its_name() {
    let store = TempDir::new().unwrap();
    let file = store.path().join("mlx.tar.gz");
    std::fs::write(&file, "").unwrap();
    let message = refusal(xtask(&store).args(["wheel", "--base"]).arg(&file));
    names_all(
        &message,
        &["mlx.tar.gz", "NAME-VERSION-PYTHON-ABI-PLATFORM.whl"],
    );
    assert!(
        refusal(xtask(&store).args(["wheel", "--rail-matrix", "--mlx", "0.31.2"]))
            .contains("--mlx")
    );
}

#[test]
fn a_wheel_that_has_nowhere_to_go_is_refused_before_anything_is_installed() {
    let store = TempDir::new().unwrap();
    let file = store.path().join("file");
    std::fs::write(&file, "").unwrap();
    let message = failure(
        xtask(&store)
            .args(["wheel", "--rail-matrix", "--out-dir"])
            .arg(&file),
    );
    names_all(&message, &["cannot create", "file"]);
}

/// A report with one cell, of a schema.
fn bench_json(schema: &str) -> String {
    format!(
        r#"{{"schema":"{schema}","build":{{"mlx":"0.31.2","series":"patched"}},"cells":[
          {{"strategy":"tp","backend":"ring","cables":1,"verdict":"pass",
            "ttft_ms":{{"median":4.0,"samples":[4.0,5.0]}}}}]}}"#
    )
}

/// The schema is the one that `bench` writes: a page of it must be possible.
#[test]
fn a_page_is_written_beside_its_report_or_where_it_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let bench = folder.path().join("bench.json");
    fs::write(&bench, bench_json(rail_bench::report::SCHEMA)).unwrap();
    let made = |arguments: &[&Path]| {
        let mut command = xtask(&folder);
        let assert = command.arg("report").args(arguments).assert().code(0);
        let said = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        let path = PathBuf::from(said.strip_suffix('\n').unwrap());
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains("tp ring-1"));
        path
    };
    let beside = folder.path().join("report.html");
    assert_eq!(made(&[&bench]), beside);
    assert_eq!(made(&[folder.path()]), beside);
    let out = folder.path().join("page.html");
    let against = [
        Path::new("--against"),
        folder.path(),
        Path::new("--out"),
        &out,
    ];
    assert_eq!(made(&[&[&*bench], &against[..]].concat()), out);
}

#[test]
fn a_page_of_what_is_no_report_is_refused_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("bench.json", &bench_json(rail_bench::report::SCHEMA));
    let cut = file("cut.json", r#"{"schema": "mlx-rails/ben"#);
    let other = file("other.json", r#"{"schema": "mlx-rails/verify/1"}"#);
    let newer = file("newer.json", &bench_json("mlx-rails/bench/99"));
    let empty = file(
        "empty.json",
        r#"{"schema": "mlx-rails/bench/2", "build": {"mlx": "1", "series": "a"}, "cells": []}"#,
    );
    let wrong = bench_json("mlx-rails/bench/2").replace("4.0,\"samples", "\"4\",\"samples");
    let wrong = file("wrong.json", &wrong);
    let missing = folder.path().join("missing.json").display().to_string();
    let places = [
        (&cut, "it is not JSON: EOF while parsing a string at line 1"),
        (
            &other,
            "its schema is mlx-rails/verify/1, not mlx-rails/bench/",
        ),
        (&newer, "its schema is mlx-rails/bench/99"),
        (&empty, "it has no cells"),
        (&wrong, "its field cells[0].ttft_ms.median is not as"),
        (&missing, "cannot read"),
    ];
    for (path, problem) in places {
        let message = refusal(xtask(&folder).args(["report", path]));
        names_all(&message, &[path, problem, "help: "]);
        let message = refusal(xtask(&folder).args(["report", &good, "--against", path]));
        names_all(&message, &["--against", path, problem, "help: "]);
    }
    let message = refusal(xtask(&folder).args(["report", &good, "--collectives", &good]));
    names_all(
        &message,
        &["--collectives", "not mlx-rails/collectives/1", "help: "],
    );
    let message = refusal(xtask(&folder).args(["report", &good, "--out", &good]));
    names_all(&message, &["would replace an input", "help: "]);
    let message = refusal(xtask(&folder).args(["report", &good, "--out", "/no/such/page.html"]));
    names_all(&message, &["cannot write /no/such/page.html", "--out"]);

    let pages = fs::read_dir(folder.path()).unwrap();
    let names = pages.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| name.ends_with(".json")));
}

#[test]
fn a_prediction_from_another_report_is_refused_before_anything_is_built() {
    let store = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = store.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let notes = file("notes.json", "{}");
    let other = file(
        "other.json",
        r#"{"schema": "mlx-rails/bench/2", "build": {"mlx": "0.31.2", "series": "patched"},
            "rig": {}, "model": {}, "cells": []}"#,
    );
    let absent = store.path().join("none.json").display().to_string();
    for (flags, said) in [
        (["--calibration", &*absent], "cannot read the report"),
        (["--against", &notes], "has schema none"),
        (["--calibration", &other], "is about another model"),
        (["--against", &other], "is about another model"),
        (["--fence", "soon"], "--fence"),
        (["--dilate", "0"], "--dilate"),
        (["--gen-tokens", "1"], "one token has no rate"),
        (["--published", "--cables=1"], "cannot be used with"),
    ] {
        let message = refusal(xtask(&store).arg("predict").args(flags));
        assert!(message.contains(said), "{flags:?}: {message}");
    }
}
