//! A sweep that cannot fail proves nothing. Each of these tests takes one fix away.

use pins::{DEFAULT_PIN, Series};
use rail_verify::verdict::Verdict;

use crate::harness::{build, expect_all, expect_pass, patched, stock, sweep};

fn without(fix: &str) -> rail_verify::run::Variant {
    // `cargo xtask test` builds the variants that are named there, and shows its
    // progress.
    let manifest = include_str!("../../Cargo.toml");
    assert!(
        manifest.contains(&format!("\"{fix}\"")),
        "name {fix} below package.metadata.tests"
    );
    build(DEFAULT_PIN, Series::Patched, Some(fix))
}

#[test]
fn without_the_recv_prefill_fix_a_recv_hangs() {
    let flags = "--op recv --backend ring --ranks 2 --wires 3 --bytes 12288 --frames small";
    let outcome = sweep(&without("ring-recv-prefill"), flags);
    expect_all(&outcome, Verdict::Hang);
    let (_, finding) = outcome.failures().next().expect("a hang");
    assert!(
        finding.detail.contains("waits in jaccl::") && finding.detail.contains("is done"),
        "{}",
        finding.detail
    );
    // Everything that was sent was taken, so the sender has not sent everything that is
    // expected.
    let sent: u64 = finding.cables.iter().map(|it| it.messages).sum();
    let untaken: u64 = finding.cables.iter().map(|it| it.pending + it.lost).sum();
    assert!(sent > 0 && untaken == 0, "{:?}", finding.cables);
    expect_pass(&sweep(&patched(), flags));
}

#[test]
fn without_the_staging_fix_a_mesh_sum_is_wrong() {
    let flags = "--op all_sum --backend mesh --ranks 2,3 --wires 1 --bytes 100000 \
                 --dtype f32 --frames small --in-place false";
    let outcome = sweep(&without("mesh-all-sum-staging"), flags);
    expect_all(&outcome, Verdict::Wrong);
    let (_, finding) = outcome.failures().next().expect("wrong data");
    assert!(finding.detail.contains("expected"), "{}", finding.detail);
    expect_pass(&sweep(&patched(), flags));
}

#[test]
fn without_the_limits_fix_a_gather_of_fewer_bytes_than_wires_runs_over() {
    let flags = "--op all_gather --backend ring --ranks 2 --wires 3,4 --bytes 1 --frames small";
    let outcome = sweep(&without("ring-all-gather-limits"), flags);
    assert!(
        outcome.count()[&Verdict::Overrun] > 0,
        "{:?}",
        outcome.count()
    );
    expect_pass(&sweep(&patched(), flags));
}

#[test]
fn without_liveness_the_peers_of_a_dead_rank_wait_without_end() {
    let flags = "--op dead-peer,unplugged --backend ring --direction all";
    let outcome = sweep(&without("liveness"), flags);
    expect_all(&outcome, Verdict::Hang);
    let (_, finding) = outcome.failures().next().expect("a hang");
    // A rank may be stopped while it is in the verbs library.
    assert!(finding.detail.contains("waits in"), "{}", finding.detail);
    expect_pass(&sweep(&patched(), flags));
}

/// The defect depends on the length. A sweep that reported every case as a hang would be
/// as useless as one that reported none.
#[test]
fn what_stock_can_do_passes_on_stock() {
    let flags = "--op send,recv --backend ring --ranks 2 --wires 2 --bytes 4096 --frames small";
    expect_pass(&sweep(&stock(), flags));
}
