//! Ranks that end well, fail or fall silent, and the check that nothing is left of them.

mod support;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use launch::Launcher;
use rail_bench::{
    launch::{Ending, LaunchError, Limits, Outcome, RankProgram, RankStart, launch},
    model::Preset,
    protocol::{After, Event, Job, JobModel, Prompt, Strategy},
};
use support::{FakeRank, LIMITS};

fn job(rank: usize) -> Job {
    Job {
        strategy: Strategy::Tp,
        rank,
        ranks: 2,
        model: JobModel::Preset(Preset::find("qwen3-tiny").unwrap().spec),
        seed: 1,
        prompt: Prompt::Seeded { tokens: 8 },
        depth: 0,
        prefill_step: None,
        generation_tokens: 4,
        warmup: 1,
        repeat: 2,
        after: After::default(),
        split: 0,
        alone: false,
    }
}

fn starts() -> Vec<RankStart> {
    let coordinator = (
        "MLX_JACCL_COORDINATOR".to_owned(),
        "127.0.0.1:20000".to_owned(),
    );
    let env = |rank: usize| {
        vec![
            ("MLX_RANK".to_owned(), rank.to_string()),
            coordinator.clone(),
        ]
    };
    (0..2)
        .map(|rank| RankStart {
            job: job(rank),
            env: env(rank),
            seat: None,
        })
        .collect()
}

fn outcome_within(rules: &str, limits: Limits) -> Outcome {
    let rank = FakeRank::new(rules);
    let scratch = tempfile::tempdir().unwrap();
    let outcome = launch(
        &Launcher::default(),
        &rank.program(),
        &starts(),
        scratch.path(),
        limits,
        || 0,
        |_, _| {},
    )
    .unwrap();
    rank.assert_none_left();
    outcome
}

fn outcome(rules: &str) -> Outcome {
    outcome_within(rules, LIMITS)
}

#[test]
fn ranks_that_do_their_job_are_heard_to_the_end() {
    let outcome = outcome("*=chatter");
    assert_eq!(outcome.ending, Ending::Done);
    assert_eq!(outcome.detail(), None);
    for transcript in &outcome.transcripts {
        assert!(transcript.done());
        assert_eq!(transcript.runs.len(), 3);
        let warmups: Vec<_> = transcript.runs.iter().map(|run| run.warmup).collect();
        assert_eq!(warmups, [true, false, false]);
        assert!(
            transcript
                .runs
                .iter()
                .all(|run| run.ended && run.tokens.len() == 4)
        );
    }
}

#[test]
fn silence_is_a_hang_that_tells_where_each_rank_stood() {
    let outcome = outcome("tp mesh-0=hang");
    assert_eq!(
        outcome.ending,
        Ending::Hang {
            silence: LIMITS.silence
        }
    );
    assert_eq!(
        outcome.detail().unwrap(),
        "no rank said anything and no byte moved for 2s; rank 0: run 2, after token 2; rank 1: run 2, after token 2"
    );
}

#[test]
fn one_silent_rank_is_a_hang_when_the_other_is_done() {
    let detail = outcome("tp mesh-0@1=hang").detail().unwrap();
    assert!(
        detail.contains("rank 0: done; rank 1: run 2, after token 2"),
        "{detail}"
    );
}

#[test]
fn a_rank_that_is_done_and_stays_is_a_hang() {
    let detail = outcome("tp mesh-0@0=stay").detail().unwrap();
    assert!(
        detail.contains("rank 0: done, but did not exit"),
        "{detail}"
    );
}

#[test]
fn slowness_is_no_hang_however_long_the_whole_takes() {
    let limits = Limits {
        silence: Duration::from_secs(4),
        ..LIMITS
    };
    let begun = Instant::now();
    let mut starts = starts();
    for start in &mut starts {
        start.job.repeat = 1;
        start.job.warmup = 0;
        start.job.generation_tokens = 8;
        start
            .env
            .push(("FAKE_RANK".to_owned(), "tp mesh-0=crawl".to_owned()));
    }
    let rank = FakeRank::new("");
    let scratch = tempfile::tempdir().unwrap();
    let outcome = launch(
        &Launcher::default(),
        &rank.program(),
        &starts,
        scratch.path(),
        limits,
        || 0,
        |_, _| {},
    )
    .unwrap();
    assert_eq!(outcome.ending, Ending::Done);
    assert!(
        begun.elapsed() > limits.silence,
        "the test was too quick to show anything"
    );
}

#[test]
fn bytes_that_move_are_no_hang_however_long_the_ranks_say_nothing() {
    let rank = FakeRank::new("tp mesh-0=hang");
    let scratch = tempfile::tempdir().unwrap();
    let launcher = Launcher::default();
    let begun = Instant::now();
    let moved = || {
        // The ranks report nothing more, and the test has what it needs.
        if begun.elapsed() > 3 * LIMITS.silence {
            launcher.cancel().cancel();
        }
        begun.elapsed().as_micros() as u64
    };
    let result = launch(
        &launcher,
        &rank.program(),
        &starts(),
        scratch.path(),
        LIMITS,
        moved,
        |_, _| {},
    );
    assert!(
        matches!(result, Err(LaunchError::Interrupted(_))),
        "{result:?}"
    );
    rank.assert_none_left();
}

#[test]
fn a_killed_rank_is_a_crash_with_its_signal_and_last_words() {
    let outcome = outcome("tp mesh-0@1=abort;tp mesh-0@0=hang");
    assert_eq!(
        outcome.detail().unwrap(),
        "rank 1 was killed by SIGABRT (run 2, after token 2); \
         its stderr ends: Assertion failed: staging"
    );
}

#[test]
fn an_exception_of_jaccl_that_ended_a_rank_is_an_error_in_its_words() {
    let outcome = outcome("tp mesh-0@0=terminate;tp mesh-0@1=hang");
    assert_eq!(
        outcome.ending,
        Ending::Error {
            rank: 0,
            message: "[jaccl] Rank 1 is gone: its connection was closed.".into()
        }
    );
}

#[test]
fn a_crash_comes_with_what_jaccl_said_of_it_on_the_other_ranks() {
    let limits = Limits {
        grace: Duration::from_secs(60),
        ..LIMITS
    };
    let outcome = outcome_within("tp mesh-0@1=abort;tp mesh-0@0=terminate-late", limits);
    assert_eq!(
        outcome.detail().unwrap(),
        "rank 1 was killed by SIGABRT (run 2, after token 2); \
         its stderr ends: Assertion failed: staging; \
         rank 0: [jaccl] Rank 1 is gone: its connection was closed."
    );
}

#[test]
fn an_exit_status_is_a_crash_with_the_last_words() {
    let outcome = outcome("tp mesh-0@0=exit");
    let Ending::Crash {
        rank: 0,
        death,
        stderr,
        ..
    } = outcome.ending
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(death, "exited with status 3");
    assert_eq!(stderr, ["first line", "device not found"]);
}

#[test]
fn leaving_early_is_a_crash_even_with_status_0() {
    let outcome = outcome("tp mesh-0@0=leave;tp mesh-0@1=hang");
    let Ending::Crash { rank: 0, death, .. } = outcome.ending else {
        panic!("{outcome:?}")
    };
    assert_eq!(death, "exited with status 0 before it was done");
}

#[test]
fn a_reported_failure_is_told_in_the_ranks_own_words() {
    for rules in [
        "tp mesh-0@1=error",
        "tp mesh-0@1=error-and-linger;tp mesh-0@0=hang",
    ] {
        let outcome = outcome(rules);
        let message = "[jaccl] no device named rdma_en9".to_owned();
        assert_eq!(outcome.ending, Ending::Error { rank: 1, message });
    }
}

#[test]
fn an_interruption_ends_every_rank() {
    let rank = FakeRank::new("tp mesh-0=hang");
    let scratch = tempfile::tempdir().unwrap();
    let launcher = Launcher::default();
    let patient = Limits {
        silence: Duration::from_secs(60),
        ..LIMITS
    };
    let result = launch(
        &launcher,
        &rank.program(),
        &starts(),
        scratch.path(),
        patient,
        || 0,
        |_, event| {
            if matches!(event, Event::Token { run: 1, .. }) {
                launcher.cancel().cancel();
            }
        },
    );
    assert!(matches!(result, Err(LaunchError::Interrupted(_))));
    rank.assert_none_left();
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let program = RankProgram {
        args: vec![],
        path: "no-such-rank".into(),
        env: vec![],
    };
    let scratch = tempfile::tempdir().unwrap();
    let error = launch(
        &Launcher::default(),
        &program,
        &starts(),
        scratch.path(),
        LIMITS,
        || 0,
        |_, _| {},
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cannot start no-such-rank as rank 0"),
        "{error}"
    );
}

#[test]
fn a_rank_ends_when_its_launcher_is_gone() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("job.json");
    std::fs::write(&path, serde_json::to_vec(&job(0)).unwrap()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_fake-rank"))
        .arg("--job")
        .arg(&path)
        .env("FAKE_RANK", "*=hang")
        .env("MLX_RANK", "0")
        .env("MLX_JACCL_COORDINATOR", "127.0.0.1:20000")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        child.try_wait().unwrap().is_none(),
        "it waits while its launcher is there"
    );

    drop(child.stdin.take());
    let patience = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > patience {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the rank outlived its launcher");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
