//! The binding to the emulated cables: what ranks are given, and what is left.

mod support;

use std::fs;

use rail_bench::cabling::{Cabling, Emulated};
use rail_matrix::Rig;
use support::{FakeRank, SHORT, run};

/// Emulated cables in a folder that nobody else uses.
fn emulated() -> (Emulated, tempfile::TempDir) {
    let parent = tempfile::tempdir().unwrap();
    let mut emulated = Emulated::beside_this_program().unwrap();
    emulated.parent = parent.path().to_owned();
    (emulated, parent)
}

#[test]
fn every_cell_gets_fresh_cables_and_leaves_none() {
    let (emulated, parent) = emulated();
    let line = format!("{SHORT} --strategy tp");
    let report = run(&line, &FakeRank::new(""), &emulated).unwrap();
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
