//! Programs of other projects, unmodified, as two processes on the two ends of a cable.
//! If they are not available, each test reports that and passes.
#![cfg(target_os = "linux")]

use std::time::Duration;

use clients::Client;
use softrail::up::End;

/// Longer than any of them takes while other processes compile.
const LIMIT: Duration = Duration::from_secs(120);

/// The result of a program.
struct Ran {
    /// What each node wrote.
    said: [String; 2],
    /// What each cable carried.
    bytes: Vec<u64>,
}

/// Runs a program, if it is available, on these nodes, which include node 0. It must
/// succeed, and the loader must print nothing.
#[track_caller]
fn run(nodes: &[usize], program: &str, arguments: &str) -> Option<Ran> {
    let client = Client::debian(program)?;
    let (_parent, fabric) = clients::fabric(&clients::rig());
    let ran = clients::run(&fabric, nodes, &client, arguments, LIMIT);
    let well: Vec<_> = nodes.iter().map(|node| (*node, End::Code(0))).collect();
    let said = &ran.said;
    assert_eq!(ran.ends, well, "{}\n{}", said[0], said[1]);
    let of_loader = ["version information", "symbol lookup", "shared librar"];
    for line in said.iter().flat_map(|said| said.lines()) {
        assert!(
            !of_loader.iter().any(|words| line.contains(words)),
            "{line}"
        );
    }
    Some(Ran {
        said: ran.said,
        bytes: fabric.cable_bytes().into_values().collect(),
    })
}

/// Runs one program on both nodes, over the second cable.
#[track_caller]
fn pair(program: &str, arguments: &str) -> Option<Ran> {
    let arguments = format!("-d rdma_en6 -p $port {arguments} $host");
    run(&[0, 1], program, &arguments)
}

/// 50 round trips of 4096 bytes; both processes print their results.
#[track_caller]
fn ping_pong(program: &str, arguments: &str) {
    let Some(ran) = pair(program, &format!("-g 1 -n 50 -c {arguments}")) else {
        return;
    };
    for said in &ran.said {
        assert!(said.contains("50 iters in"), "{said}");
    }
    assert_eq!(ran.bytes, [0, 2 * 50 * 4096, 0]);
}

/// perftest's own checks show in its exit code. The counters of the cable show that it
/// moved as much as it reports, over this cable.
#[track_caller]
fn perftest(program: &str, arguments: &str, bytes: u64) {
    let Some(ran) = pair(program, &format!("-x 1 -F {arguments}")) else {
        return;
    };
    assert!(ran.said[1].contains("#iterations"), "{}", ran.said[1]);
    assert_eq!(ran.bytes, [0, bytes, 0], "{}", ran.said[1]);
}

#[test]
fn ibv_devices() {
    let Some(ran) = run(&[0], "ibv_devices", "") else {
        return;
    };
    let said = &ran.said[0];
    for device in ["rdma_en5", "rdma_en6", "rdma_en7"] {
        assert!(said.contains(device), "{said}");
    }
}

#[test]
fn a_node_that_the_rig_does_not_have_is_named_beside_those_it_has() {
    let Some(client) = Client::debian("ibv_devices") else {
        return;
    };
    let (_parent, fabric) = clients::fabric(&clients::rig());
    let ran = clients::run_as(&fabric, ["c", "b"], &[0], &client, "", LIMIT);
    let said = &ran.said[0];
    assert!(matches!(ran.ends[..], [(0, End::Code(_))]), "{said}");
    let ours: Vec<_> = said.lines().filter(|line| line.contains("'c'")).collect();
    assert!(
        matches!(ours[..], [line] if line.contains("a, b")),
        "{said}"
    );
}

#[test]
fn ibv_devinfo() {
    let Some(ran) = run(&[0], "ibv_devinfo", "-v") else {
        return;
    };
    let said = &ran.said[0];
    for line in [
        "PORT_ACTIVE",
        "::ffff:10.0.1.1, RoCE v2",
        "link_layer:\t\tEthernet",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    assert_eq!(said.matches("hca_id:").count(), 3);
}

#[test]
fn ibv_uc_pingpong() {
    ping_pong("ibv_uc_pingpong", "");
}

#[test]
fn ibv_uc_pingpong_with_events() {
    ping_pong("ibv_uc_pingpong", "-e");
}

/// Messages that arrive while their receivers sleep, frame by frame.
#[test]
fn ibv_uc_pingpong_with_events_and_long_messages() {
    let Some(ran) = pair("ibv_uc_pingpong", "-g 1 -n 50 -s 1000000 -e") else {
        return;
    };
    assert!(ran.said.iter().all(|said| said.contains("50 iters in")));
    assert_eq!(ran.bytes, [0, 2 * 50 * 1_000_000, 0]);
}

#[test]
fn ibv_rc_pingpong() {
    ping_pong("ibv_rc_pingpong", "");
}

#[test]
fn ibv_rc_pingpong_with_events() {
    ping_pong("ibv_rc_pingpong", "-e");
}

#[test]
fn ibv_rc_pingpong_by_the_other_way_to_send() {
    ping_pong("ibv_rc_pingpong", "-N");
}

#[test]
fn ib_send_bw_over_unreliable_connections() {
    perftest("ib_send_bw", "-c UC -n 100", 100 * 65536);
}

#[test]
fn ib_send_bw_over_reliable_connections() {
    perftest("ib_send_bw", "-n 100", 100 * 65536);
}

#[test]
fn ib_send_bw_over_several_queue_pairs() {
    perftest("ib_send_bw", "-n 100 -q 4", 4 * 100 * 65536);
}

#[test]
fn ib_send_lat_over_unreliable_connections() {
    perftest("ib_send_lat", "-c UC -n 100", 2 * 100 * 2);
}

#[test]
fn ib_send_lat_over_reliable_connections() {
    perftest("ib_send_lat", "-n 100", 2 * 100 * 2);
}

#[test]
fn ib_write_bw() {
    perftest("ib_write_bw", "-n 100", 100 * 65536);
}

#[test]
fn ib_write_lat() {
    perftest("ib_write_lat", "-n 100", 2 * 100 * 2);
}

#[test]
fn ib_read_bw() {
    perftest("ib_read_bw", "-n 100", 100 * 65536);
}

#[test]
fn ib_read_lat() {
    perftest("ib_read_lat", "-n 100", 100 * 2);
}
