//! The behaviour of the binary as a command.

mod common;

use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
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

/// The text of the rank's error, which comes last.
fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    match events(output).pop() {
        Some(Event::Error { message }) => message,
        last => panic!("the last event is {last:?}"),
    }
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

#[test]
fn a_job_is_done_in_lines_of_json() {
    let output = do_job(&single(small_model(None), 3, 1));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let events = events(&output);
    let build = mlx_core::build_key().to_owned();
    assert_eq!(events.first(), Some(&Event::Loaded { build }));
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
    let output = rank(&["--job", "no/such/job.json"]);
    assert!(matches!(events(&output)[0], Event::Loaded { .. }));
    let message = error(&output);
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

/// The launcher's part in [`a_rank_ends_when_its_launcher_is_killed`]: it starts a rank on
/// the job and is killed.
const LAUNCHER: &str = "RAIL_RANK_TEST_LAUNCHER";

/// Longer than any step here takes on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_rank_ends_when_its_launcher_is_killed() {
    if let Some(folder) = env::var_os(LAUNCHER) {
        env::set_current_dir(folder).unwrap();
        // With a pipe the rank would end by itself once its reader is gone.
        let events = File::create("events").unwrap();
        let mut rank = Command::new(env!("CARGO_BIN_EXE_rail-rank"))
            .args(["--job", "job.json"])
            .stdin(Stdio::piped())
            .stdout(events)
            .spawn()
            .unwrap();
        fs::write("rank", rank.id().to_string()).unwrap();
        // Waiting for a child closes its stdin.
        let lifeline = rank.stdin.take();
        panic!("the rank ended by itself: {:?}, {lifeline:?}", rank.wait());
    }

    let folder = tempfile::tempdir().unwrap();
    let job = single(small_model(None), 1_000_000, 1);
    let job = serde_json::to_string(&job).unwrap();
    fs::write(folder.path().join("job.json"), job).unwrap();
    let mut launcher = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_rank_ends_when_its_launcher_is_killed",
            "--nocapture",
        ])
        .env(LAUNCHER, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = launcher.stderr.take().unwrap();
    wait_for_a_token(&mut launcher, folder.path());
    launcher.kill().unwrap();
    launcher.wait().unwrap();

    if !closes(stderr) {
        let rank = fs::read_to_string(folder.path().join("rank")).unwrap();
        Command::new("kill")
            .args(["-KILL", &rank])
            .status()
            .unwrap();
        panic!("the rank outlived its launcher");
    }
}

/// Waits until the rank is running.
fn wait_for_a_token(launcher: &mut Child, folder: &std::path::Path) {
    let begun = Instant::now();
    loop {
        let said = fs::read_to_string(folder.join("events")).unwrap_or_default();
        if said.contains("\"token\"") {
            return;
        }
        let ended = launcher.try_wait().unwrap();
        assert!(
            ended.is_none() && begun.elapsed() < PATIENCE,
            "{ended:?}, and the rank said: {said}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a pipe closes, which it does when every process that could write to it is
/// gone.
fn closes(mut pipe: impl Read + Send + 'static) -> bool {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut said = Vec::new();
        let _ = pipe.read_to_end(&mut said);
        let _ = std::io::stderr().write_all(&said);
        done.send(())
    });
    !matches!(ended.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout))
}
