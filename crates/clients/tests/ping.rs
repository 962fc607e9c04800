//! `rails-ping` on the two ends of a cable.
#![cfg(target_os = "linux")]

use std::time::Duration;

use clients::{Client, Ran};
use rig::{CableFault, Defect, Fault, Rig, Span};
use serde_json::Value;
use softrail::up::End;

/// Longer than any of them takes while other processes compile.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs it on both nodes. Returns its result, and what each cable carried.
fn ping(rig: &Rig, arguments: &str) -> (Ran, Vec<u64>) {
    let (_parent, fabric) = clients::fabric(rig);
    let ran = clients::run(&fabric, &[0, 1], &Client::ping(), arguments, LIMIT);
    (ran, fabric.cable_bytes().into_values().collect())
}

#[track_caller]
fn is_well(ran: &Ran) {
    let (said, well) = (&ran.said, [(0, End::Code(0)), (1, End::Code(0))]);
    assert_eq!(ran.ends, well, "{}\n{}", said[0], said[1]);
}

/// The named number of a row.
fn number(row: &Value, pointer: &str) -> f64 {
    let it = row.pointer(pointer).and_then(Value::as_f64);
    it.unwrap_or_else(|| panic!("no {pointer} in {row}"))
}

#[test]
fn latency_over_both_kinds_of_connections_goes_over_the_cable_that_was_named() {
    let arguments = "latency --device rdma_en6 --size 4096 --iterations 100 --warm-up 10 --check \
                     --format json";
    let (ran, bytes) = ping(&clients::rig(), arguments);
    is_well(&ran);
    // Rank 0 answers, and the other rank prints.
    assert_eq!(ran.said[0], "");
    let report: Value = serde_json::from_str(&ran.said[1]).expect("JSON");
    assert_eq!(report["schema"], "mlx-rails/ping/1");
    assert_eq!(report["device"], "rdma_en6");
    let rows = report["rows"].as_array().expect("rows");
    let kinds: Vec<_> = rows.iter().map(|row| &row["transport"]).collect();
    assert_eq!(kinds, ["uc", "rc"]);
    for row in rows {
        // 4096 bytes at 200 MB/s, and 5 us.
        let [min, median, p99, max] =
            ["min", "median", "p99", "max"].map(|it| number(row, &format!("/microseconds/{it}")));
        assert!(min >= 25.0, "{row}");
        assert!(min <= median && median <= p99 && p99 <= max, "{row}");
        assert_eq!(row["samples_ns"].as_array().map(Vec::len), Some(100));
    }
    assert_eq!(bytes, [0, 2 * 2 * 110 * 4096, 0]);
}

#[test]
fn bandwidth_is_at_most_the_cables_and_every_byte_arrives() {
    let arguments = "bandwidth --device rdma_en7 --transport uc,rc --size 64KiB --iterations 100 \
                     --warm-up 20 --check --format json";
    let (ran, bytes) = ping(&clients::rig(), arguments);
    is_well(&ran);
    let report: Value = serde_json::from_str(&ran.said[1]).expect("JSON");
    for row in report["rows"].as_array().expect("rows") {
        let rate = number(row, "/bytes_per_second");
        assert!(rate > 0.0 && rate < 200e6, "{row}");
    }
    // Plus an acknowledgement of 8 bytes for every 16 messages, for the warm-up and for
    // the end.
    let acknowledgements = bytes[2] - 2 * 120 * 65536;
    assert_eq!((bytes[0], bytes[1], acknowledgements), (0, 0, 2 * 9 * 8));
}

#[test]
fn messages_shorter_than_their_number_and_as_long_as_the_port_takes() {
    for measure in ["latency", "bandwidth"] {
        let arguments = format!(
            "{measure} --size 1,7,9,1MiB --iterations 20 --warm-up 0 --transport uc --check"
        );
        let (ran, _) = ping(&clients::rig(), &arguments);
        is_well(&ran);
        let rows = ran.said[1].lines().filter(|line| line.starts_with(" UC "));
        assert_eq!(rows.count(), 4, "{}", ran.said[1]);
    }
}

#[test]
fn what_is_not_there_is_the_callers_mistake_and_named_beside_what_is() {
    for (arguments, part) in [
        ("--device rdma_en9", "rdma_en5, rdma_en6, rdma_en7"),
        (
            "--gid-index 7",
            "--gid-index 7: the port's table has 2 entries",
        ),
        ("--size 0", "from 1 B to 16 MiB"),
    ] {
        let (ran, _) = ping(&clients::rig(), arguments);
        for (said, (_, end)) in ran.said.iter().zip(&ran.ends) {
            assert!(said.contains(part), "{said}");
            assert_eq!(*end, End::Code(2), "{said}");
        }
    }
}

#[test]
fn a_message_that_never_arrives_is_a_failure_and_not_a_wait_without_end() {
    let defect = Defect::Cable {
        cable: "cable-1".to_owned(),
        kind: CableFault::Cut,
    };
    let span = Span::default();
    let rig = clients::rig().with_faults(vec![Fault { defect, span }]);
    let (ran, _) = ping(&rig, "latency --transport uc --timeout 500ms");
    assert!(
        ran.said
            .iter()
            .any(|said| said.contains("nothing arrived or left for 500ms")),
        "{:?}",
        ran.said
    );
    assert!(
        ran.ends.iter().all(|(_, end)| *end == End::Code(1)),
        "{:?}",
        ran.ends
    );
}
