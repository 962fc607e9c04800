//! Programs on the nodes of a fabric. It does not matter here which programs they are.

use std::{path::Path, time::Duration};

use launch::Launcher;
use rig::Rig;
use softrail::{
    Fabric,
    up::{End, Job, Stream, UpError},
};

/// Runs a script with `sh` on both nodes of the embedded rig.
fn run(
    script: &str,
    limit: Option<Duration>,
    launcher: &Launcher,
    mut line: impl FnMut(usize, Stream, &str),
) -> Result<Vec<(usize, End)>, UpError> {
    let parent = tempfile::tempdir().expect("a folder");
    let fabric = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
    let command = ["sh", "-c", script].map(str::to_owned);
    let job = Job {
        command: &command,
        nodes: &[0, 1],
        // No process here opens libibverbs, so any file will do as the library.
        provider: Path::new("/bin/sh"),
        limit,
    };
    fabric.up(&["a", "b"], &job, launcher, |node, stream, text| {
        line(node, stream, text);
        Ok(())
    })
}

#[test]
fn every_node_has_a_process_that_knows_which_it_is() {
    let mut said = Vec::new();
    let script = "echo $RIG_NODE $RIG_RANK $RIG_NODES; echo no >&2; test -e ${LD_LIBRARY_PATH%%:*}/libibverbs.so.1";
    let ends = run(script, None, &Launcher::default(), |node, stream, line| {
        said.push((node, stream, line.to_owned()));
    });
    assert_eq!(ends.unwrap(), [(0, End::Code(0)), (1, End::Code(0))]);
    said.sort_by_key(|(node, stream, _)| (*node, *stream == Stream::Err));
    let said: Vec<_> = said
        .iter()
        .map(|(node, stream, line)| (*node, *stream, &**line))
        .collect();
    let (out, err) = (Stream::Out, Stream::Err);
    assert_eq!(
        said,
        [
            (0, out, "a 0 2"),
            (0, err, "no"),
            (1, out, "b 1 2"),
            (1, err, "no")
        ]
    );
}

#[test]
fn who_waits_for_one_that_failed_is_ended() {
    let script = "test $RIG_RANK = 0 || exit 3; exec sleep 1000";
    let ends = run(script, None, &Launcher::default(), |_, _, _| {});
    assert_eq!(ends.unwrap(), [(0, End::Ended), (1, End::Code(3))]);
}

#[test]
fn time_that_is_up_ends_all_and_what_they_started() {
    let mut started = Vec::new();
    let script = "sleep 1000 & echo $!; wait";
    let limit = Some(Duration::from_millis(300));
    let ends = run(script, limit, &Launcher::default(), |_, _, line| {
        started.push(line.to_owned());
    });
    assert_eq!(ends.unwrap(), [(0, End::Ended), (1, End::Ended)]);
    assert_eq!(started.len(), 2);
    assert!(started.iter().all(|pid| !alive(pid)), "{started:?}");
}

#[test]
fn an_interruption_leaves_nothing_behind() {
    let launcher = Launcher::default();
    let mut started = Vec::new();
    let script = "trap '' TERM; sleep 1000 & echo $!; wait; wait";
    let ends = run(script, None, &launcher, |_, _, line| {
        started.push(line.to_owned());
        launcher.cancel().cancel();
    });
    assert!(matches!(ends, Err(UpError::Interrupted(_))));
    assert!(started.iter().all(|pid| !alive(pid)), "{started:?}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let parent = tempfile::tempdir().expect("a folder");
    let fabric = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
    let command = ["no-such-program".to_owned()];
    let job = Job {
        command: &command,
        nodes: &[1],
        provider: Path::new("/bin/sh"),
        limit: None,
    };
    let error = fabric.up(&["a", "b"], &job, &Launcher::default(), |_, _, _| Ok(()));
    let message = error.unwrap_err().to_string();
    assert_eq!(message, "cannot start 'no-such-program' on node 'b'");
}

/// Whether a process runs. A process that is dead and not yet reaped does not.
fn alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status
        .rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}
