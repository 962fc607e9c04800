//! `rail-matrix` as a user types it. `cargo xtask matrix` has the same code behind it, and
//! more of its tests: `xtask/tests/matrix.rs` and `xtask/tests/discover.rs`.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{self, Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::{Command, assert::Assert};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A generous limit: on an idle machine every wait ends at once.
const PATIENCE: Duration = Duration::from_secs(120);

const STATE: &str = r#"{
  "topology": {
    "nodes": ["A", "B"],
    "connections": {
      "A": {"B": [{"sourceRdmaIface": "rdma_en6", "sinkRdmaIface": "rdma_en7"}]},
      "B": {"A": [{"sourceRdmaIface": "rdma_en7", "sinkRdmaIface": "rdma_en6"}]}
    }
  }
}"#;

/// A folder of files, and the command whose working directory it is.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        place.file("state.json", STATE);
        place.file("sound.json", r#"[[null, "rdma_en6"], ["rdma_en7", null]]"#);
        place.file(
            "crossed.json",
            r#"[[null, "rdma_en6"], ["rdma_en6", null]]"#,
        );
        place
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, args: &str) -> Assert {
        let mut command = Command::cargo_bin("rail-matrix").unwrap();
        let command = command.current_dir(self.0.path());
        command.args(args.split_whitespace()).assert()
    }

    /// Its stdout, if it ends with this code.
    fn answer(&self, args: &str, code: i32) -> String {
        text(&self.run(args).code(code).get_output().stdout)
    }

    /// Its stderr, if it refuses flags or input and prints no data.
    fn refusal(&self, args: &str) -> String {
        let refused = self.run(args).code(2);
        let output = refused.get_output();
        assert_eq!(text(&output.stdout), "", "stdout is for data");
        text(&output.stderr)
    }

    /// Starts the command with pipes.
    fn start(&self, args: &[&str]) -> Child {
        process::Command::new(env!("CARGO_BIN_EXE_rail-matrix"))
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `INSTA_UPDATE=always cargo test -p matrix-cli help` updates the snapshots.
#[test]
fn the_help_of_every_step_is_what_it_was_and_names_the_command() {
    let place = Place::new();
    for step in ["", "plan", "check", "discover", "doctor"] {
        let help = place.answer(&format!("{step} --help"), 0);
        assert!(
            help.contains(&format!("Usage: rail-matrix {step}")),
            "{help}"
        );
        assert!(
            !help.contains("xtask") && !help.contains("{command}"),
            "{help}"
        );
        let name = ["help", step].join("-");
        insta::assert_snapshot!(name.trim_end_matches('-'), help);
    }
}

#[test]
fn every_exit_code_is_that_of_a_command() {
    let place = Place::new();
    place.answer("plan --from state.json", 0);
    place.answer("check sound.json --from state.json", 0);
    place.answer("check crossed.json --from state.json", 1);
    place.refusal("check nowhere.json");
    place.refusal("");
    let interrupted = place.start(&["check", "-"]);
    assert_eq!(signalled(interrupted), Some(130));
}

#[test]
fn plans_and_verdicts_are_for_the_mlx_that_exo_pins() {
    let place = Place::new();
    assert!(place.answer("plan", 0).contains("MLX 0.32.0"));
    assert!(place.answer("check sound.json", 0).contains("MLX 0.32.0"));
    let json = place.answer("check sound.json --format json --mlx 0.32.4", 0);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["mlx"], "0.32.4");
}

#[test]
fn a_matrix_that_it_makes_is_one_that_it_passes() {
    let place = Place::new();
    let made = place.answer("plan --from state.json --format jaccl", 0);
    let value: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(value, json!([[[], ["rdma_en6"]], [["rdma_en7"], []]]));
    place.file("made.json", &made);
    let verdict = place.answer(
        "check made.json --from state.json --nodes A,B --backend mesh",
        0,
    );
    assert!(
        verdict.contains("Every rail is the two ends of one cable"),
        "{verdict}"
    );
}

#[test]
fn an_error_is_one_line_with_its_place_and_a_remedy() {
    let place = Place::new();
    place.file("cell.json", "[[null, 7]]");
    for (args, expected) in [
        (
            "check nowhere.json",
            "error: cannot read nowhere.json: No such file or directory (os error 2)\n\
             help: name a file, a folder of reports, or - for stdin\n",
        ),
        (
            "check cell.json",
            "error: cell.json: [0][1]: expected null, a device or a list of devices",
        ),
        ("plan --from cell.json", "error: cell.json: "),
        (
            "plan --nodes A,C --from state.json",
            "error: there is no node 'C'",
        ),
        (
            "discover one one",
            "error: host 'one' is named twice\nhelp: name every node once\n",
        ),
    ] {
        let message = place.refusal(args);
        assert!(message.starts_with(expected), "{args}:\n{message}");
    }
}

#[test]
fn a_doctor_tells_the_state_of_every_end_and_what_is_wrong() {
    let place = Place::new();
    let well = place.answer("doctor --from state.json", 0);
    assert!(well.contains("| rdma_en6 | to B:rdma_en7 | ?"), "{well}");
    assert!(well.ends_with("1 cable, and nothing is wrong with the description.\n"));

    let back = r#""B": {"A": [{"sourceRdmaIface": "rdma_en7", "sinkRdmaIface": "rdma_en6"}]}"#;
    place.file("one-sided.json", &STATE.replace(back, r#""B": {}"#));
    let ill = place.answer("doctor --from one-sided.json --format json", 1);
    let ill: Value = serde_json::from_str(&ill).unwrap();
    assert_eq!(ill["schema"], "mlx-rails/matrix-doctor/1");
    assert_eq!(ill["nodes"][1]["ends"][0]["state"], "stated-by-one-end");
    assert_eq!(ill["problems"][0]["kind"], "one-sided");
    assert_eq!(
        ill["problems"][0]["from"],
        json!({"node": "A", "device": "rdma_en6"})
    );
    place.answer("doctor --from one-sided.json --accept-one-sided", 0);
    place.refusal("doctor studio --from state.json");
}

#[test]
fn a_cable_that_one_end_states_can_be_accepted() {
    let place = Place::new();
    let back = r#""B": {"A": [{"sourceRdmaIface": "rdma_en7", "sinkRdmaIface": "rdma_en6"}]}"#;
    place.file("one-sided.json", &STATE.replace(back, r#""B": {}"#));
    let refused = place.refusal("plan --from one-sided.json");
    assert!(
        refused.contains("accept it (`--accept-one-sided`)"),
        "{refused}"
    );
    let made = place.answer("plan --from one-sided.json --accept-one-sided", 0);
    assert!(
        made.contains("accepted, although one end alone states it"),
        "{made}"
    );
    let check = "check sound.json --from one-sided.json";
    assert!(place.answer(check, 0).contains("cannot be judged"));
    let sure = place.answer(&format!("{check} --accept-one-sided"), 0);
    assert!(!sure.contains("cannot be judged"), "{sure}");
}

#[test]
fn what_stock_jaccl_does_wrong_is_told() {
    let place = Place::new();
    let ring = r#"[[null, ["rdma_en6", "rdma_en8"]], [["rdma_en7", "rdma_en9"], null]]"#;
    place.file("ring.json", ring);
    let stock = place.answer("check ring.json --mlx 0.31.2", 1);
    assert!(
        stock.contains("- hangs: ") && stock.contains("ring-recv-prefill"),
        "{stock}"
    );
    place.answer("check ring.json --mlx 0.31.2 --series patched", 0);
    place.answer("check ring.json --mlx 0.32.0", 0);
}

#[test]
fn colours_are_for_people_who_ask_for_them() {
    let place = Place::new();
    let refused = |when| {
        text(
            &place
                .run(&format!("--color {when} check x"))
                .get_output()
                .stderr,
        )
    };
    assert!(refused("always").starts_with("\u{1b}[1m\u{1b}[31merror:"));
    assert!(refused("never").starts_with("error:"));
    assert!(refused("auto").starts_with("error:"));
}

#[test]
fn what_goes_to_stderr_can_be_silenced() {
    let place = Place::new();
    let notes = |flags: &str| {
        let run = place.run(&format!("{flags} plan --from state.json --format jaccl"));
        text(&run.code(0).get_output().stderr)
    };
    assert!(notes("").contains("note: "));
    assert_eq!(notes("--quiet"), "");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let place = Place::new();
    let mut child = place.start(&["check", "-"]);
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(br#"[[null, "x"], ["x", null]]"#).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new())
    );
}

/// Interrupts a command that waits for more of its stdin, and returns its exit code.
fn signalled(mut child: Child) -> Option<i32> {
    let mut stdin = child.stdin.take().unwrap();
    // More than a pipe holds, so the command has begun to read.
    stdin.write_all(&[b' '; 1 << 20]).unwrap();
    let id = child.id().to_string();
    let sent = process::Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.unwrap().success());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it waits for stdin");
        thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said, "error: interrupted\n");
    status.code()
}
