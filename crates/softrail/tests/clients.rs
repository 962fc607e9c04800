//! Programs that nobody here wrote, unmodified, as two processes on the two ends of a
//! cable.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use softrail::up::End;
use toolchain::build_script;

mod support;

/// Longer than any of them takes where others compile meanwhile.
const LIMIT: Duration = Duration::from_secs(120);

/// What came of a program.
struct Ran {
    /// What each node wrote.
    said: [String; 2],
    /// What each cable carried.
    bytes: Vec<u64>,
}

/// Runs a program, one of the clients or a path, on these nodes, node 0 among them; it
/// must end well, and the loader must have nothing to say.
#[track_caller]
fn run(nodes: &[usize], program: &str, arguments: &str) -> Ran {
    let (_parent, fabric) = support::fabric(&support::rig());
    let ran = support::run(&fabric, nodes, program, arguments, LIMIT);
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
    Ran {
        said: ran.said,
        bytes: fabric.cable_bytes().into_values().collect(),
    }
}

/// Runs one program on both nodes, over the second cable.
#[track_caller]
fn pair(program: &str, arguments: &str) -> Ran {
    let arguments = format!("-d rdma_en6 -p $port {arguments} $host");
    run(&[0, 1], program, &arguments)
}

/// 50 round trips of 4096 bytes, whose ends are printed by both.
#[track_caller]
fn ping_pong(program: &str, arguments: &str) {
    let ran = pair(program, &format!("-g 1 -n 50 -c {arguments}"));
    for said in &ran.said {
        assert!(said.contains("50 iters in"), "{said}");
    }
    assert_eq!(ran.bytes, [0, 2 * 50 * 4096, 0]);
}

/// perftest's own checks end in its exit code; that it moved what it says it did, and
/// over this cable, is read from the cable.
#[track_caller]
fn perftest(program: &str, arguments: &str, bytes: u64) {
    let ran = pair(program, &format!("-x 1 -F {arguments}"));
    assert!(ran.said[1].contains("#iterations"), "{}", ran.said[1]);
    assert_eq!(ran.bytes, [0, bytes, 0], "{}", ran.said[1]);
}

#[test]
fn ibv_devices() {
    let said = &run(&[0], "ibv_devices", "").said[0];
    for device in ["rdma_en5", "rdma_en6", "rdma_en7"] {
        assert!(said.contains(device), "{said}");
    }
}

#[test]
fn a_node_that_the_rig_does_not_have_is_named_beside_those_it_has() {
    let (_parent, fabric) = support::fabric(&support::rig());
    let ran = support::run_as(&fabric, ["c", "b"], &[0], "ibv_devices", "", LIMIT);
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
    let said = &run(&[0], "ibv_devinfo", "-v").said[0];
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

/// Messages that arrive while those who wait for them sleep, frame by frame.
#[test]
fn ibv_uc_pingpong_with_events_and_long_messages() {
    let ran = pair("ibv_uc_pingpong", "-g 1 -n 50 -s 1000000 -e");
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

/// A Rust program that uses the crate `ibverbs`.
#[test]
fn ibverbs_crate() {
    let program = ibverbs_client();
    let ran = run(&[0, 1], &program.display().to_string(), "rdma_en6");
    for said in &ran.said {
        assert!(said.contains("100 messages each way over UC"), "{said}");
        assert!(said.contains("100 messages each way over RC"), "{said}");
    }
    assert_eq!(ran.bytes, [0, 2 * 2 * 100 * 4096, 0]);
}

/// Builds `ibverbs-client`. The crate's build script would have CMake compile all of
/// rdma-core and use nothing of it but the headers, which the toolchain has; so it gets a
/// CMake that does nothing.
fn ibverbs_client() -> PathBuf {
    let verbs = build_script::verbs().unwrap_or_else(|error| panic!("{error}"));
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ibverbs-client");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ibverbs-client");
    fs::create_dir_all(&target).expect("a folder of the build");
    // What it is linked to: it needs a library of this name, not this file.
    let library = target.join("libibverbs.so");
    let _ = fs::remove_file(&library);
    symlink(softrail::provider_library().expect("the provider"), library).expect("a link");
    let include = format!("-I'{}' ", verbs.include.display());
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env("CMAKE", "true")
        .env("LIBCLANG_PATH", &verbs.clang.libclang)
        .env(
            "BINDGEN_EXTRA_CLANG_ARGS",
            include + &verbs.clang.args.join(" "),
        )
        .env("LIBRARY_PATH", &target)
        .status();
    assert!(built.expect("cargo runs").success());
    target.join("debug/ibverbs-client")
}
