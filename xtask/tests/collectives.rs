//! `cargo xtask collectives` as a user types it. No test looks at how long anything took.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn collectives(flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("collectives").args(flags.split_whitespace());
    command
}

fn run(flags: &str) -> Output {
    collectives(flags).output().expect("xtask runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs to the end, and returns the exit code and the report.
fn report(flags: &str) -> (Option<i32>, Value) {
    let output = run(&format!("{flags} --format json"));
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|error| panic!("{flags}: {error}: {}", stderr(&output)));
    (output.status.code(), json)
}

fn rows(report: &Value) -> &[Value] {
    report["rows"].as_array().expect("rows")
}

#[test]
fn mistakes_are_the_users_and_name_what_there_is() {
    for (flags, part) in [
        ("--mlx 9.9.9", "0.31.2"),
        ("--op recv", "send, all_sum"),
        ("--cables 5", "expected 1 to 4 cables"),
        ("--bytes 3", "not a whole number of f32"),
        ("--bandwidth 0MB/s", "would never deliver"),
        ("--bandwidth 1B/s --dilate 2", "less than a byte per second"),
        (
            "--op barrier --mlx 0.31.2",
            "barrier is in none of these builds",
        ),
        ("--bytes 1024GiB", "bytes of memory"),
        ("--out-dir /dev/null", "/dev/null"),
    ] {
        let output = run(flags);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flags}: {said}");
        assert!(said.contains(part), "{flags}: {said}");
        assert!(output.stdout.is_empty(), "{flags}");
    }
}

#[test]
fn two_builds_take_turns_and_every_operation_is_right() {
    let (code, json) = report(
        "--mlx 0.31.2,0.32.4 --op send,all_sum,all_max,all_min,all_gather,sum_scatter,barrier \
         --backend ring,mesh --cables 2 --frames small --bytes 4KiB,96KiB --warmup 1 --iterations 4",
    );
    assert_eq!(code, Some(0), "{json:#}");
    // sum_scatter and barrier are in the second alone.
    assert_eq!(rows(&json).len(), 2 * (2 * 5 * 2 + 2 + 1));
    for row in rows(&json) {
        assert_eq!(
            (&row["verdict"], &row["wrong"]),
            (&"pass".into(), &0.into()),
            "{row}"
        );
        assert_eq!(row["time_us"]["samples"].as_array().map(Vec::len), Some(4));
        assert!(row["time_us"]["min"].as_f64() > Some(0.0), "{row}");
        assert_eq!(row["busbw"].is_null(), row["op"] == "barrier", "{row}");
        let both = row["op"] != "barrier" && row["op"] != "sum_scatter";
        let compared = both && row["mlx"] == "0.32.4";
        assert_eq!(row["ratio"].is_null(), !compared, "{row}");
    }
}

/// Stock jaccl hangs in the message and not in the sum, which is measured all the same.
#[test]
fn a_hang_is_a_row() {
    let (code, json) = report(
        "--mlx 0.31.2 --series stock,patched --op send,all_sum --backend ring --cables 3 \
         --frames small --bytes 12288 --dtype u8 --warmup 1 --iterations 2",
    );
    assert_eq!(code, Some(1));
    let verdicts: Vec<_> = rows(&json)
        .iter()
        .map(|row| {
            let word = |name: &str| row[name].as_str().expect("a word");
            (word("op"), word("series"), word("verdict"))
        })
        .collect();
    assert_eq!(
        verdicts,
        [
            ("send", "stock", "hang"),
            ("send", "patched", "pass"),
            ("all_sum", "stock", "pass"),
            ("all_sum", "patched", "pass"),
        ]
    );
    let hang = &rows(&json)[0];
    assert!(hang["time_us"].is_null());
    assert!(
        hang["detail"]
            .as_str()
            .is_some_and(|it| it.contains("waits in jaccl::"))
    );
    assert!(
        rows(&json)[1]["ratio"].is_null(),
        "there is nothing to compare with"
    );
}

#[test]
fn three_ranks_in_virtual_time_and_mlxs_own_benchmark() {
    let (code, json) = report(
        "--ranks 3 --cables 1 --frames big --bytes 8KiB --warmup 0 --iterations 2 \
         --bandwidth 6.5GB/s --latency 5us --dilate 100 --foreign",
    );
    assert_eq!(code, Some(0), "{json:#}");
    assert_eq!(rows(&json).len(), 2);
    for row in rows(&json) {
        assert_eq!(
            (&row["dilate"], &row["latency"]),
            (&100.into(), &5.0.into())
        );
        assert_eq!(row["bandwidth"], 6_500_000_000_u64);
        assert_eq!(row["foreign"]["check"], "OK");
        assert!(row["foreign"]["time_us"].as_f64() > Some(0.0));
    }
}

#[test]
fn ctrl_c_keeps_the_rows_so_far() {
    let mut child = collectives(
        "--op barrier,all_sum --mlx 0.32.4 --backend mesh --cables 1 --frames small --bytes 4KiB \
         --iterations 1000000000 --format json",
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("xtask starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let begun = lines.any(|line| line.is_ok_and(|line| line.contains("Measuring")));
    assert!(begun, "it never began");
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&json["interrupted"], rows(&json).len()), (&true.into(), 0));
}
