//! Operations that jaccl must refuse, and the findings if it does not.

use launch::Launcher;
use pins::Series;
use rail_verify::verdict::Verdict;

use crate::{
    ends::Wrapped,
    harness::{build, expect_all, expect_pass, patched, programs, stock, sweep, sweep_with},
};

const CONDITIONS: &str = "--op missing-device,missing-gid,no-devices,no-library,port-down,\
                          no-queue-pairs,no-regions,no-wires,five-wires,non-neighbour,bad-rank,\
                          failed-send,failed-wire,unequal-frames,send-first --ranks 2,4";

#[test]
fn patched_builds_refuse_every_condition_in_jaccls_words() {
    expect_pass(&sweep(&patched(), CONDITIONS));
    expect_pass(&sweep(&build("0.32.4", Series::Patched, None), CONDITIONS));
}

/// It posts receives while joining, so the refusal comes there.
#[test]
fn a_tuned_build_refuses_a_failed_wire_while_joining() {
    let tuned = build("0.32.4", Series::Tuned, None);
    expect_pass(&sweep(&tuned, "--op failed-wire"));
}

/// Ranks that say in jaccl's words that they could not join, but have posted nothing that
/// the wire could have refused.
#[test]
fn a_refusal_while_joining_has_another_cause_where_nothing_is_posted() {
    let ranks = Wrapped::new(&format!(
        "'{}' | sed -u 's/{{\"event\":\"joined\"}}/{}/'\nexit\n",
        programs().rank.program().display(),
        r#"{"event":"error","step":null,"message":"[jaccl] No"}"#,
    ));
    let launcher = Launcher::default();
    let outcome = sweep_with(&ranks.programs(), &patched(), "--op failed-wire", &launcher);
    let outcome = outcome.expect("it began");
    expect_all(&outcome, Verdict::Error);
    let (_, finding) = outcome.failures().next().expect("an error");
    assert!(
        finding.detail.contains("while joining"),
        "{}",
        finding.detail
    );
}

#[test]
fn patched_builds_notice_what_is_lost_and_wait_for_what_is_not() {
    let flags = "--op dead-peer,unplugged,frozen-peer,unequal";
    expect_pass(&sweep(&patched(), flags));
    expect_pass(&sweep(&build("0.32.4", Series::Patched, None), flags));
}

/// A system may have a libibverbs of its own. Here a working one is in the caller's
/// library path, which ranks inherit after the paths that a group sets for them.
#[cfg(target_os = "linux")]
#[test]
fn a_system_with_a_libibverbs_does_not_change_what_no_library_means() {
    let system = tempfile::tempdir().expect("a temporary folder");
    let library = system.path().join("libibverbs.so.1");
    std::os::unix::fs::symlink(programs().provider, library).expect("a link");
    let path = system.path().display();
    let inherit = format!("export LD_LIBRARY_PATH=\"$LD_LIBRARY_PATH:{path}\"\n");
    let ranks = Wrapped::new(&inherit);
    let flags = "--op no-library --ranks 2 --wires 1";
    let launcher = Launcher::default();
    let patched = sweep_with(&ranks.programs(), &patched(), flags, &launcher);
    expect_pass(&patched.expect("it began"));
    let stock = sweep_with(&ranks.programs(), &stock(), flags, &launcher);
    expect_all(&stock.expect("it began"), Verdict::Crash);
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
