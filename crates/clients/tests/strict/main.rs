//! A program in C, on devices that are as strict as a Mac's.
#![cfg(target_os = "linux")]

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::Command,
    time::Duration,
};

use clients::Client;
use rig::Rig;
use softrail::{Fabric, up::End};

/// Longer than it takes while other processes compile.
const LIMIT: Duration = Duration::from_secs(120);

/// One cable between two nodes.
fn rig() -> Rig {
    let mut rig = Rig::embedded();
    rig.cables.truncate(1);
    rig
}

/// What each node's process printed.
fn run(nodes: &[usize], what: &str) -> [String; 2] {
    let (_parent, fabric) = clients::fabric(&rig());
    run_on(&fabric, nodes, what)
}

fn run_on(fabric: &Fabric, nodes: &[usize], what: &str) -> [String; 2] {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strict/strict.c");
    let folder = tempfile::tempdir().expect("a folder");
    let client = Client::compiled(&source, folder.path());
    let ran = clients::run(fabric, nodes, &client, what, LIMIT);
    let well: Vec<_> = nodes.iter().map(|node| (*node, End::Code(0))).collect();
    assert_eq!(ran.ends, well, "{:?}", ran.said);
    ran.said
}

#[test]
fn there_is_no_eleventh_queue_pair() {
    let [said, _] = run(&[0], "pairs");
    // EBUSY.
    assert!(said.contains("10 queue pairs, then errno 16\n"), "{said}");
}

/// The sender is told of success: a completed send says nothing about its arrival.
#[test]
fn a_receive_of_more_frames_than_its_message_fails() {
    let [sender, receiver] = run(&[0, 1], "frames");
    assert!(sender.contains("send 0: success\n"), "{sender}");
    assert!(
        receiver.contains("receive 0: local length error\n"),
        "{receiver}"
    );
}

#[test]
fn two_that_both_send_first_wait_for_each_other() {
    for said in run(&[0, 1], "first") {
        assert!(said.contains("send 0: nothing\n"), "{said}");
        let then = "receive 0: success and success\n";
        assert!(said.contains(then), "{said}");
    }
}

/// A child may hand back all that it inherited; its parent goes on with what it has.
#[test]
fn a_child_gives_nothing_of_its_parent_back() {
    let [sender, receiver] = run(&[0, 1], "fork");
    assert!(
        sender.contains("child 0, send 0: success, 9 left\n"),
        "{sender}"
    );
    assert!(
        receiver.contains("child 0, receive 0: success, 9 left\n"),
        "{receiver}"
    );
}

/// Names a folder in a file system of a few megabytes to the process that the test below
/// starts.
const SMALL: &str = "SOFTRAIL_TEST_SMALL";

/// Does nothing unless it is that process.
#[test]
fn runs_on_a_small_file_system() {
    if let Some(small) = env::var_os(SMALL) {
        let fabric = Fabric::create(Path::new(&small), &rig()).expect("room for a fabric");
        let [said, _] = run_on(&fabric, &[0], "pairs");
        println!("{said}");
    }
}

/// The sixth queue pair finds no memory for its messages. Without a reservation its first
/// message would end the process with a signal.
#[test]
fn a_full_file_system_is_an_error_and_no_signal() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = "mount -t tmpfs -o size=6m none \"$0\" || exit 77; exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", mount])
        .arg(folder.path())
        .arg(env::current_exe().expect("this test"))
        .args(["--exact", "--nocapture", "runs_on_a_small_file_system"])
        .env(SMALL, folder.path())
        .output();
    let Ok(output) = output else {
        let _ = writeln!(io::stderr(), "left out: a full file system: no unshare");
        return;
    };
    let [said, why] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    if !said.contains("running 1 test") {
        // Without the macro, whose output is shown for tests that fail alone.
        let _ = writeln!(io::stderr(), "left out: a full file system: {why}");
        return;
    }
    // ENOMEM.
    assert!(
        said.contains("5 queue pairs, then errno 12\n"),
        "{said}{why}"
    );
    assert!(said.contains("cannot reserve"), "{said}{why}");
}
