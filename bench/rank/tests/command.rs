//! The binary's manners.

mod common;

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use rail_bench::protocol::{Event, Job, Strategy};

use common::{single, small_model, tokens};

fn rank(arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rail-rank"))
        .args(arguments)
        .env_remove("MLX_RANK")
        .env_remove("MLX_IBV_DEVICES")
        .env_remove("MLX_JACCL_COORDINATOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A rank ends when its stdin closes.
    let stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    output
}

fn do_job(job: &Job) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.json");
    fs::write(&file, serde_json::to_string(job).unwrap()).unwrap();
    rank(&["--job", file.to_str().unwrap()])
}

fn events(output: &Output) -> Vec<Event> {
    let lines = String::from_utf8_lossy(&output.stdout);
    lines
        .lines()
        .map(|line| Event::parse(line).unwrap())
        .collect()
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    match events(output).pop() {
        Some(Event::Error { message }) => message,
        last => panic!("the last event is {last:?}"),
    }
}

#[test]
fn a_job_is_done_in_lines_of_json() {
    let output = do_job(&single(small_model(None), 3, 1));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let events = events(&output);
    assert_eq!(tokens(&events, 0).len(), 3);
    assert_eq!(events.last(), Some(&Event::Done));
}

#[test]
fn jaccls_refusal_is_an_event() {
    let job = Job {
        strategy: Strategy::Tp,
        ranks: 2,
        ..single(small_model(None), 3, 1)
    };
    let message = error(&do_job(&job));
    assert!(message.contains("[jaccl]"), "{message}");
}

#[test]
fn a_file_that_is_no_job_is_named() {
    let message = error(&rank(&["--job", "no/such/job.json"]));
    assert!(message.contains("no/such/job.json"), "{message}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.json");
    fs::write(&file, "{\"strategy\":\"sideways\"}").unwrap();
    let message = error(&rank(&["--job", file.to_str().unwrap()]));
    assert!(
        message.contains("job.json") && message.contains("sideways"),
        "{message}"
    );
}

#[test]
fn a_wrong_command_line_is_status_2() {
    assert_eq!(rank(&[]).status.code(), Some(2));
}
