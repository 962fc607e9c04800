//! Programs that are run, interrupted and left behind by their launcher.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use launch::{
    Cancel, Death, End, Error, Heard, Launcher, Ranks, Together, capture, output, output_within,
    run, together,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A generous limit: on an idle machine every wait ends at once.
const PATIENCE: Duration = Duration::from_secs(60);

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn cancelled_by_line(script: &str) -> (Result<(), Error>, Vec<String>) {
    let cancel = Cancel::default();
    let launcher = Launcher::new(cancel.clone());
    let mut said = Vec::new();
    let outcome = run(&launcher, "looping", sh(script), None, |line| {
        said.push(line.to_owned());
        cancel.cancel();
    });
    (outcome, said)
}

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.trim().parse().expect("a process id")).expect("not 0")
}

/// A zombie that its parent does not reap counts as gone: it runs nothing.
fn runs(pid: Pid) -> bool {
    if test_kill_process(pid).is_err() {
        return false;
    }
    let ps = Command::new("ps")
        .args(["-o", "state=", "-p", &pid.as_raw_nonzero().to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8_lossy(&ps.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

fn ends(pid: Pid) -> bool {
    let until = Instant::now() + PATIENCE;
    while runs(pid) {
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn a_program_that_never_stops_printing_can_be_cancelled() {
    let script = "echo $$; while :; do echo x; sleep 0.02; done";
    let (outcome, said) = cancelled_by_line(script);
    assert!(matches!(outcome, Err(Error::Interrupted(_))), "{outcome:?}");
    assert!(ends(pid(&said[0])));
}

#[test]
fn what_a_program_started_ends_with_it() {
    let script = "sleep 600 & echo $!; wait";
    let (outcome, said) = cancelled_by_line(script);
    assert!(matches!(outcome, Err(Error::Interrupted(_))), "{outcome:?}");
    assert!(ends(pid(&said[0])));
}

#[test]
fn a_program_that_ignores_being_asked_is_killed() {
    let script = "trap '' TERM; echo $$; while :; do sleep 0.05; done";
    let (outcome, said) = cancelled_by_line(script);
    assert!(matches!(outcome, Err(Error::Interrupted(_))), "{outcome:?}");
    assert!(ends(pid(&said[0])));
}

#[test]
fn a_cancelled_launcher_starts_nothing() {
    let launcher = Launcher::default();
    launcher.cancel().cancel();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let mut touch = Command::new("touch");
    touch.arg(&mark);
    assert!(matches!(
        capture(&launcher, "touching", touch),
        Err(Error::Interrupted(_))
    ));
    assert!(!mark.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_whose_log_cannot_be_written_is_ended() {
    let mut said = String::new();
    let outcome = run(
        &Launcher::default(),
        "compiling",
        sh("sleep 600 & echo $!; wait"),
        Some(Path::new("/dev/full")),
        |line| said = line.to_owned(),
    );
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, Error::Log { log, .. } if log == Path::new("/dev/full")),
        "{error:?}"
    );
    assert!(!error.to_string().contains("No space"), "{error}");
}

#[test]
fn a_daemon_that_holds_the_pipe_is_not_waited_for_and_lives_on() {
    let mut said = String::new();
    let script = "sleep 600 & echo $!";
    let started = Instant::now();
    run(
        &Launcher::default(),
        "starting a daemon",
        sh(script),
        None,
        |line| said = line.to_owned(),
    )
    .unwrap();
    assert!(started.elapsed() < Duration::from_secs(300));
    let daemon = pid(&said);
    assert!(runs(daemon));
    kill_process(daemon, Signal::KILL).unwrap();
}

#[test]
fn a_failure_carries_the_last_lines_and_the_log_carries_all() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let script = "seq 100; echo broken >&2; exit 3";
    let outcome = run(
        &Launcher::default(),
        "counting",
        sh(script),
        Some(&log),
        |_| {},
    );
    let message = outcome.unwrap_err().to_string();
    assert!(
        message.contains("exited with status 3") && message.contains("broken"),
        "{message}"
    );
    assert!(!message.contains("\n1\n"), "{message}");
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.contains("\n50\n") && logged.contains("broken"));
}

#[test]
fn a_full_disk_is_told_from_other_failures() {
    let script = "echo 'as: x.o: No space left on device' >&2; exit 1";
    let error = run(&Launcher::default(), "compiling", sh(script), None, |_| {}).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_named_and_its_cause_said_once() {
    let missing = Command::new("no-such-program-of-ours");
    let error = capture(&Launcher::default(), "asking", missing).unwrap_err();
    assert!(
        error.to_string().contains("no-such-program-of-ours"),
        "{error}"
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(!error.to_string().contains(&cause), "{error}");
}

#[test]
fn output_keeps_the_streams_apart_and_tells_a_signal_from_a_refusal() {
    let launcher = Launcher::default();
    let refused = output(&launcher, "asking", sh("echo out; echo err >&2; exit 1")).unwrap();
    assert_eq!(refused.death, Death::Exited(1));
    assert_eq!((&*refused.stdout, &*refused.stderr), ("out\n", "err\n"));
    let killed = output(&launcher, "asking", sh("kill -INT $$; sleep 600")).unwrap();
    assert_eq!(killed.death.to_string(), "was killed by SIGINT");
}

#[test]
fn a_program_that_takes_too_long_is_ended_and_what_it_said_is_kept() {
    let launcher = Launcher::default();
    let script = sh("echo out; sleep 600");
    let late = output_within(&launcher, "asking", script, Duration::from_secs(3)).unwrap();
    assert!(late.late && !late.death.is_success());
    assert_eq!(late.stdout, "out\n");
    let long = Duration::from_secs(600);
    let done = output_within(&launcher, "asking", sh("echo out"), long).unwrap();
    assert!(!done.late && done.death.is_success());
}

#[test]
fn one_of_several_programs_that_fails_ends_all() {
    let mut said = Vec::new();
    let commands = vec![
        sh("sleep 600 & echo $!; wait"),
        sh("sleep 0.2; exit 3"),
        sh("exit 0"),
    ];
    let ends_of = together(&Launcher::default(), commands, None, |place, _, line| {
        said.push((place, line.to_owned()));
        Ok(())
    })
    .unwrap();
    assert_eq!(ends_of, [End::Ended, End::Code(3), End::Code(0)]);
    assert_eq!(said.len(), 1);
    assert!(ends(pid(&said[0].1)));
}

#[test]
fn a_reader_that_has_left_ends_all() {
    let mut said = String::new();
    let commands = vec![sh("sleep 600 & echo $!; wait")];
    let outcome = together(&Launcher::default(), commands, None, |_, _, line| {
        said = line.to_owned();
        Err(std::io::ErrorKind::BrokenPipe.into())
    });
    assert!(matches!(outcome, Err(Together::Output(_))), "{outcome:?}");
    assert!(ends(pid(&said)));
}

#[test]
fn ranks_answer_and_end_with_their_job() {
    let launcher = Launcher::default();
    let mut ranks = Ranks::new(&launcher);
    let script = "echo words >&2; echo $$; while read -r line; do echo got $line; done";
    for _ in 0..2 {
        ranks.start(sh(script), []).unwrap();
    }
    ranks.ask(1, "this");
    let mut pids = [None, None];
    let mut answer = None;
    let until = Instant::now() + PATIENCE;
    while (answer.is_none() || pids.contains(&None)) && Instant::now() < until {
        match ranks.listen().unwrap() {
            Some(Heard::Said { rank, text }) if text.starts_with("got") => {
                answer = Some((rank, text));
            }
            Some(Heard::Said { rank, text }) => pids[rank] = Some(pid(&text)),
            _ => {}
        }
    }
    assert_eq!(answer, Some((1, "got this".to_owned())));
    drop(ranks);
    assert!(pids.into_iter().flatten().all(ends));
}

#[test]
fn a_rank_that_closes_its_output_is_heard_of_with_its_last_words() {
    let mut ranks = Ranks::new(&Launcher::default());
    ranks.start(sh("echo oh no >&2; exit 4"), []).unwrap();
    let until = Instant::now() + PATIENCE;
    while !ranks.silent() && Instant::now() < until {
        ranks.listen().unwrap();
    }
    let process = ranks.process(0);
    assert_eq!(process.wait(PATIENCE), Some(Death::Exited(4)));
    assert_eq!(process.last_words(), ["oh no"]);
}

/// Runs one test of this test program in another process, with a task.
fn again(task: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "the_other_process", "--nocapture"])
        .env("LAUNCH_TEST_TASK", task);
    command
}

/// The task that [`again`] runs. Does nothing without a task.
#[test]
fn the_other_process() {
    match env::var("LAUNCH_TEST_TASK").as_deref() {
        Ok("run") => {
            let launcher = Launcher::default();
            let script = "echo started $$; trap '' HUP; sleep 600 & echo started $!; wait";
            let _ = run(&launcher, "sleeping", sh(script), None, |line| {
                println!("\n{line}")
            });
        }
        Ok("environment") => {
            let mut ranks = Ranks::new(&Launcher::default());
            let own = [("MLX_RANK".to_owned(), "7".to_owned())];
            ranks.start(Command::new("env"), own).unwrap();
            while !ranks.silent() {
                if let Ok(Some(Heard::Said { text, .. })) = ranks.listen() {
                    println!("\nrank: {text}");
                }
            }
        }
        _ => {}
    }
}

#[test]
fn a_launcher_that_is_killed_leaves_nothing() {
    let mut launcher = again("run").stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(launcher.stdout.take().unwrap());
    let started: Vec<Pid> = stdout
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("started ").map(pid))
        .take(2)
        .collect();
    assert!(started.iter().all(|pid| runs(*pid)), "{started:?}");
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    assert!(started.into_iter().all(ends));
}

#[test]
fn a_rank_inherits_nothing_that_jaccl_reads() {
    let output = again("environment")
        .env("JACCL_RING", "1")
        .env("JACCL_BIG_FRAMES", "1")
        .env("MLX_JACCL_COORDINATOR", "10.0.0.1:1")
        .env("MLX_RANK", "3")
        .env("KEPT", "yes")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = |what: &str| text.lines().any(|line| line == format!("rank: {what}"));
    assert!(said("KEPT=yes") && said("MLX_RANK=7"), "{text}");
    assert!(!text.contains("JACCL"), "{text}");
}
