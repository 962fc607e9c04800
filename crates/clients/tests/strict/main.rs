//! A program in C, on devices that are as strict as a Mac's.
#![cfg(target_os = "linux")]

use std::{path::Path, time::Duration};

use clients::Client;
use rail_matrix::Rig;
use softrail::up::End;

/// Longer than it takes while other processes compile.
const LIMIT: Duration = Duration::from_secs(120);

/// What each node's process printed.
fn run(nodes: &[usize], what: &str) -> [String; 2] {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strict/strict.c");
    let folder = tempfile::tempdir().expect("a folder");
    let client = Client::compiled(&source, folder.path());
    let mut rig = Rig::embedded();
    rig.cables.truncate(1);
    let (_parent, fabric) = clients::fabric(&rig);
    let ran = clients::run(&fabric, nodes, &client, what, LIMIT);
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
