//! How a sweep ends if it does not finish.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use launch::Launcher;
use rail_verify::{
    group::{GroupError, Programs},
    run::{RunError, Stop},
    verdict::Verdict,
};
use tempfile::TempDir;

use crate::harness::{patched, programs, sweep, sweep_with, try_sweep};

#[test]
fn a_selection_of_nothing_is_an_error() {
    let selection = "--op all_sum --dtype f32 --bytes 3";
    let error = try_sweep(&patched(), selection, &Launcher::default()).expect_err("no case");
    assert!(matches!(error, RunError::Nothing { .. }), "{error}");
    assert!(error.to_string().contains("MLX 0.31.2"), "{error}");
}

/// Conditions have no bytes, so a request for both leaves one out. A value that no case
/// has is also reported, even beside one that some cases have.
#[test]
fn what_is_asked_for_by_name_and_has_no_case_is_an_error_too() {
    for (selection, part) in [
        ("--op recv,init --bytes 64", "no case of init"),
        ("--op missing-device --ranks 2,7", "no case of --ranks 7"),
        (
            "--op recv --bytes 64 --dtype u8,f32,c64 --direction 0->1,0->7",
            "of --direction 0->7",
        ),
    ] {
        let error = try_sweep(&patched(), selection, &Launcher::default());
        let error = error.expect_err(selection).to_string();
        assert!(error.contains(part), "{selection}: {error}");
    }
}

#[test]
fn a_sweep_that_is_interrupted_at_once_has_no_case() {
    let cancelled = Launcher::default();
    cancelled.cancel().cancel();
    let outcome = try_sweep(&patched(), "--op all_sum", &cancelled);
    let outcome = outcome.expect("it is no failure");
    assert!(outcome.interrupted() && outcome.cases.is_empty() && !outcome.passed());
    assert!(outcome.planned > 100);
}

#[test]
fn a_sweep_that_is_interrupted_keeps_its_verdicts() {
    let launcher = Launcher::default();
    let starts = Wrapped::new("");
    let outcome = thread::scope(|scope| {
        let sweep = scope.spawn(|| {
            let flags = "--op all_sum,all_gather,recv,send";
            sweep_with(&starts.programs(), &patched(), flags, &launcher)
        });
        // The ranks of a second setting start when the cases of the first have ended.
        eventually(|| starts.count() > 4 || sweep.is_finished());
        launcher.cancel().cancel();
        sweep.join().expect("no panic").expect("it began")
    });
    assert!(outcome.interrupted() && !outcome.passed());
    let cases = outcome.cases.len();
    assert!(cases > 0 && cases < outcome.planned, "{cases}");
}

/// The program of the ranks exists only for the first starts. Two workers then stop
/// rather than go through the queue, from which they could start nothing more.
#[test]
fn a_worker_that_cannot_start_ranks_stops_the_sweep() {
    let starts = Wrapped::new("");
    let programs = starts.programs();
    let outcome = thread::scope(|scope| {
        let sweep = scope.spawn(|| {
            let flags = "--op all_sum,all_gather,recv,send";
            sweep_with(&programs, &patched(), flags, &Launcher::default())
        });
        eventually(|| starts.count() > 4 || sweep.is_finished());
        fs::remove_file(programs.rank.program()).expect("it was there");
        sweep.join().expect("no panic").expect("it began")
    });
    match &outcome.stopped {
        Some(Stop::Failed(GroupError::Start(error))) => {
            assert_eq!(error.program, programs.rank.program().display().to_string());
        }
        other => panic!("{other:?}"),
    }
    let cases = outcome.cases.len();
    assert!(
        cases > 0 && cases < outcome.planned,
        "what was judged is kept: {cases}"
    );
    assert!(!outcome.passed());
}

/// One worker has its ranks when the program disappears, so only the other one fails.
#[test]
fn the_other_worker_stops_before_its_next_case() {
    let starts = Wrapped::new(
        "starts() { wc -l < \"$0.starts\"; }\n\
         if [ $(starts) -ge 2 ]; then\n\
           for moment in $(seq 3000); do [ $(starts) -ge 3 ] && break; sleep 0.01; done\n\
           rm -f \"$0\"\n\
         fi\n",
    );
    let flags = "--op all_sum --backend ring --ranks 2 --wires 1,2,3,4 --frames small,big";
    let outcome = sweep_with(&starts.programs(), &patched(), flags, &Launcher::default());
    let outcome = outcome.expect("it began");
    assert!(
        matches!(outcome.stopped, Some(Stop::Failed(_))),
        "{:?}",
        outcome.stopped
    );
    let (cases, planned) = (outcome.cases.len(), outcome.planned);
    assert!(
        cases < planned / 2,
        "{cases} of {planned}, of which an eighth is one setting"
    );
}

/// As if another process had replaced the build between its making and its use.
#[test]
fn a_rank_that_has_loaded_another_build_ends_the_sweep() {
    let mut variant = patched();
    let loaded = std::mem::replace(&mut variant.build.key, "another".to_owned());
    let flags = "--op all_sum --backend ring --ranks 2 --wires 1 --bytes 64 --dtype u8";
    let outcome = try_sweep(&variant, flags, &Launcher::default()).expect("it began");
    match &outcome.stopped {
        Some(Stop::Failed(error @ GroupError::OtherBuild { .. })) => {
            let said = error.to_string();
            assert!(said.contains(&loaded) && said.contains("another"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    assert!(outcome.cases.is_empty());
}

/// Kills a rank, as a system does that is out of memory.
#[test]
fn a_rank_that_is_killed_from_outside_is_no_crash_of_jaccl() {
    let starts = Wrapped::new("kill -KILL $$\n");
    let flags = "--op all_sum --backend ring --ranks 2 --wires 1 --bytes 64 --dtype u8";
    let outcome = sweep_with(&starts.programs(), &patched(), flags, &Launcher::default());
    let outcome = outcome.expect("it began");
    assert_eq!(outcome.count()[&Verdict::Crash], 0);
    assert_eq!(outcome.killed.len(), outcome.planned);
    assert!(outcome.cases.is_empty() && outcome.stopped.is_none() && !outcome.passed());
}

#[test]
fn a_case_that_no_machine_has_the_memory_for_is_skipped() {
    let flags = "--op all_gather --backend mesh --ranks 2 --wires 1 --frames big \
                 --bytes 64,35184372088832 --in-place true";
    let outcome = sweep(&patched(), flags);
    assert_eq!(outcome.cases.len(), 1);
    assert_eq!(outcome.skipped.len(), 1);
    assert!(!outcome.passed());
}

fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "nothing happened");
        thread::sleep(Duration::from_millis(5));
    }
}

/// `jaccl-rank` behind a script that counts its starts.
pub struct Wrapped {
    folder: TempDir,
}

impl Wrapped {
    /// With lines of shell to run before it.
    pub fn new(lines: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let rank = programs().rank;
        let script = format!(
            "#!/bin/sh\necho >> \"$0.starts\"\n{lines}exec '{}'\n",
            rank.program().display()
        );
        let path = folder.path().join("rank");
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        Wrapped { folder }
    }

    pub fn programs(&self) -> Programs {
        Programs {
            rank: self.path().into(),
            ..programs()
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rank")
    }

    /// The number of starts.
    fn count(&self) -> usize {
        let starts = fs::read_to_string(self.folder.path().join("rank.starts"));
        starts.map_or(0, |lines| lines.lines().count())
    }
}
