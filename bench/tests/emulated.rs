//! The connection to the emulated cables: the environment of ranks, and the cleanup.

mod support;

use std::{collections::BTreeMap, fs, sync::atomic::Ordering, time::Duration};

use rail_bench::{
    Options,
    cabling::{Cabling, Emulated, Metered},
    protocol::Strategy,
};
use rail_matrix::Backend;
use rig::{Defect, Fault, NodeFault, Rig};
use support::{FakeRank, HASTY, run, short};

/// Emulated cables in a folder of their own.
fn emulated() -> (Emulated, tempfile::TempDir) {
    let parent = tempfile::tempdir().unwrap();
    let mut emulated = Emulated::beside_this_program().unwrap();
    emulated.parent = parent.path().to_owned();
    (emulated, parent)
}

#[test]
fn every_cell_gets_fresh_cables_and_leaves_none() {
    let (emulated, parent) = emulated();
    let options = Options {
        strategies: vec![Strategy::Tp],
        ..short()
    };
    let report = run(options, &FakeRank::new(""), &emulated).unwrap();
    assert!(report.all_pass(), "{:?}", report.cells);
    for cell in &report.cells[1..] {
        assert_eq!(cell.cable_bytes.len(), cell.cables);
        assert!(cell.cable_bytes.values().all(|&bytes| bytes == 0));
        assert_eq!(cell.directions.len(), 2 * cell.cables);
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (mut emulated, _parent) = emulated();
    emulated.parent = "/no/such/folder".into();
    let Err(error) = emulated.plug(&Rig::embedded()) else {
        panic!("it was plugged in")
    };
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
}

/// The hanging rank leaves the fault seconds to begin, and no rank here has a queue pair.
#[test]
fn a_fault_of_the_rig_that_could_not_be_played_stands_in_the_report() {
    let (emulated, _parent) = emulated();
    let mut rig = Rig::embedded();
    let mut kill = Fault::from(Defect::Node {
        node: "b".to_owned(),
        kind: NodeFault::Kill,
    });
    kill.span.at = Duration::from_millis(1);
    rig.faults = vec![kill];
    let mut options = Options {
        rig,
        strategies: vec![Strategy::Tp],
        backends: vec![Backend::Mesh],
        cables: Some("1".parse().unwrap()),
        ..short()
    };
    options.settings.limits = HASTY;
    let report = run(options, &FakeRank::new("tp mesh-1=hang"), &emulated).unwrap();
    let [warning] = &*report.warnings else {
        panic!("{:?}", report.warnings)
    };
    for part in ["tp mesh-1: at 1 ms, node 'b'", "no process on node 'b'"] {
        assert!(warning.contains(part), "{warning}");
    }
}

/// The meter lies before the emulator, and what it counts of a device is of that device's
/// cable and direction.
#[test]
fn a_meter_in_the_ranks_counts_for_the_cables() {
    let (emulated, parent) = emulated();
    let meter = parent.path().join("librails_meter.so");
    fs::write(&meter, "a library").unwrap();
    let provider = fs::canonicalize(&emulated.provider).unwrap();
    let metered = Metered {
        cables: emulated,
        meter: meter.clone(),
    };
    let cables = metered.plug(&Rig::embedded()).unwrap();
    let variables = |node: &str| cables.env(node).into_iter().collect::<BTreeMap<_, _>>();
    let of_b = variables("b");
    let first = of_b[softrail::LIBRARY_PATH].split(':').next().unwrap();
    let found = |path: &str| fs::canonicalize(path).unwrap();
    assert_eq!(
        found(&format!("{first}/{}", softrail::LIBRARY)),
        found(meter.to_str().unwrap())
    );
    assert_eq!(found(&of_b[meter::NEXT_VARIABLE]), provider);

    let [a, b] = ["a", "b"].map(|node| variables(node)[meter::FILE_VARIABLE].clone());
    assert_ne!(a, b);
    let count = |file: &str, device: &str, frames| {
        let sheet = meter::Sheet::open(file.as_ref()).unwrap();
        let device = sheet.device(device).unwrap();
        device.sent_frames.fetch_add(frames, Ordering::Relaxed);
        device.sent.fetch_add(1, Ordering::Relaxed);
    };
    // Both nodes name their devices alike.
    count(&a, "rdma_en6", 1);
    count(&b, "rdma_en6", 2);
    let carried: Vec<_> = (cables.counters().into_iter())
        .filter(|it| it.messages > 0)
        .map(|it| (it.cable, it.from, it.bytes))
        .collect();
    let row = |end: &str, bytes| ("cable-2".to_owned(), end.to_owned(), bytes);
    assert_eq!(carried, [row("a:rdma_en6", 4096), row("b:rdma_en6", 8192)]);
    assert_eq!(cables.moved(), 4096 + 8192);
}
