//! A sweep that cannot fail proves nothing. Each of these tests takes one fix away, or
//! changes one line of a performance patch: without such a patch jaccl is only slower.

use std::{fs, os::unix::fs::symlink};

use pins::{DEFAULT_PIN, Series};
use rail_verify::{
    run::{Outcome, Variant},
    verdict::Verdict,
};
use toolchain::Toolchain;

use crate::{
    harness::{build, build_by, expect_all, expect_pass, patched, stock, sweep, tuned},
    tuned::sweep_beside,
};

fn without(fix: &str) -> Variant {
    // `cargo xtask test` builds the variants that are named there, and shows its
    // progress.
    let manifest = include_str!("../../Cargo.toml");
    assert!(
        manifest.contains(&format!("\"{fix}\"")),
        "name {fix} below package.metadata.tests"
    );
    build(DEFAULT_PIN, Series::Patched, Some(fix))
}

/// A line of a patch, and what takes its place.
struct Mutation {
    patch: &'static str,
    line: &'static str,
    other: &'static str,
}

impl Mutation {
    /// The default pin's tuned jaccl of a checkout whose patch has the other line, without
    /// one of its patches. Built here and not by `cargo xtask test`: where the tuned series
    /// has been built, only what includes the changed file is compiled again.
    fn build(&self, without: Option<&str>) -> Variant {
        let Mutation { patch, line, other } = self;
        let toolchain = Toolchain::open().unwrap_or_else(|error| panic!("{error}"));
        let checkout = tempfile::tempdir().expect("a temporary folder");
        // What is compiled with MLX.
        let crates = toolchain.root().join("crates");
        symlink(crates, checkout.path().join("crates")).expect("a link");
        let folder = checkout.path().join("patches").join(DEFAULT_PIN);
        miniature::copy_folder(&toolchain.patches_folder().join(DEFAULT_PIN), &folder);
        let file = folder.join(format!("{patch}.patch"));
        let text = fs::read_to_string(&file).expect("a patch");
        // With its sign, because a patch may have the same line as one that it removes.
        let [line, other] = [line, other].map(|text| format!("\n+{text}\n"));
        assert_eq!(text.matches(&line).count(), 1, "{patch} has once: {line}");
        fs::write(&file, text.replace(&line, &other)).expect("written");

        let mutated = Toolchain::at(checkout.path(), toolchain.store().clone());
        let record = mutated.series().pin(DEFAULT_PIN);
        let record = record.and_then(|pin| mutated.series().record(&pin));
        record.unwrap_or_else(|error| panic!("{error}"));
        build_by(&mutated, DEFAULT_PIN, Series::Tuned, without)
    }
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

/// RDMA over Thunderbolt fails a receive that has other frames than its message.
#[test]
fn receives_that_are_not_cut_like_their_messages_are_refused() {
    let mutation = Mutation {
        patch: "lanes",
        line: "    int64_t frames = (length(l, message) + FRAME_SIZE - 1) / FRAME_SIZE;",
        other: "    int64_t frames = (length(l, 0) + FRAME_SIZE - 1) / FRAME_SIZE;",
    };
    // 74 frames: the last message of a lane has fewer than the first.
    let flags = "--op recv --ranks 2 --wires 1,3 --bytes 300000 --frames big --direction 0->1";
    let outcome = sweep(&mutation.build(None), flags);
    expect_all(&outcome, Verdict::Error);
    expect_refused_receives(&outcome);
    expect_pass(&sweep(&tuned(), flags));
}

/// There are 32 receives at first, for 16 frames of each long collective.
#[test]
fn without_posting_receives_again_a_sequence_hangs() {
    let mutation = Mutation {
        patch: "receives-ahead",
        line: "      post_receive(at, FRAME_SIZE);",
        other: "      (void)at;",
    };
    let flags = "--op sequence --ranks 2 --wires 1 --bytes 1000000";
    let outcome = sweep(&mutation.build(None), flags);
    expect_all(&outcome, Verdict::Hang);
    let (_, finding) = outcome.failures().next().expect("a hang");
    assert!(finding.detail.contains("waits in"), "{}", finding.detail);
    expect_pass(&sweep(&tuned(), flags));
}

/// Without `receives-ahead`, whose queue pairs the other rank does not have either.
#[test]
fn lanes_that_one_rank_does_not_have_make_the_others_fail() {
    let mutation = Mutation {
        patch: "lanes",
        line: "        return Lanes();",
        other: "        continue;",
    };
    let flags = "--op all_sum,all_gather --ranks 2,3 --wires 1 --bytes 65536 --dtype f32 \
                 --frames big --in-place false";
    let mutated = mutation.build(Some("receives-ahead"));
    let outcome = sweep_beside(&patched(), &mutated, flags);
    expect_all(&outcome, Verdict::Error);
    expect_refused_receives(&outcome);
    expect_pass(&sweep_beside(&patched(), &tuned(), flags));
}

/// Asserts that the emulated device failed a receive in every case.
#[track_caller]
fn expect_refused_receives(outcome: &Outcome) {
    for (case, finding) in outcome.failures() {
        let detail = &finding.detail;
        assert!(
            detail.contains("Recv completed with error status"),
            "{case}: {detail}"
        );
    }
}
