//! What must be refused, and by what it is told when it is not.

use rail_verify::verdict::Verdict;
use toolchain::series::Series;

use crate::harness::{build, expect_all, expect_pass, patched, stock, sweep};

const CONDITIONS: &str = "--op missing-device,missing-gid,no-devices,no-library,port-down,\
                          no-wires,five-wires,non-neighbour,bad-rank,failed-send,failed-wire \
                          --ranks 2,4";

#[test]
fn patched_builds_refuse_every_condition_in_jaccls_words() {
    expect_pass(&sweep(&patched(), CONDITIONS));
    expect_pass(&sweep(&build("0.32.4", Series::Patched, None), CONDITIONS));
}

#[test]
fn a_device_that_is_not_there_is_a_crash_on_stock_and_says_where() {
    let outcome = sweep(&stock(), "--op missing-device --ranks 2 --wires 1");
    expect_all(&outcome, Verdict::Crash);
    let (_, finding) = outcome.failures().next().expect("a crash");
    assert!(
        finding.detail.contains("died of signal") && finding.detail.contains("in jaccl::"),
        "{}",
        finding.detail
    );
}

#[test]
fn a_matrix_without_devices_is_taken_for_a_ring_by_stock() {
    let outcome = sweep(&stock(), "--op no-wires --ranks 2");
    assert!(!outcome.passed(), "{:?}", outcome.count());
}
