//! Ranks of unlike builds in one group.

use launch::Launcher;
use pins::{DEFAULT_PIN, Series};

use crate::{
    ends::Wrapped,
    harness::{build, expect_pass, programs, sweep_with},
};

/// Sweeps with rank 1 on another series than the rest, which are on the tuned one.
#[track_caller]
fn expect_company(version: &str, other: Series, flags: &str) {
    let tuned = build(version, Series::Tuned, None);
    let other = build(version, other, None).build;
    // The request to join names the rank and the library. What the rank says of its build
    // is put right again, because a sweep accepts no other build than its own.
    let ranks = Wrapped::new(&format!(
        "sed -u '/\"rank\":1,/s#{}#{}#' | '{}' | sed -u 's/{}/{}/'\nexit\n",
        tuned.build.library.display(),
        other.library.display(),
        programs().rank.program().display(),
        other.key,
        tuned.build.key,
    ));
    let outcome = sweep_with(&ranks.programs(), &tuned, flags, &Launcher::default());
    expect_pass(&outcome.expect("it began"));
}

#[test]
fn a_tuned_rank_beside_an_untuned_one_does_as_that_one_does() {
    let flags = "--op send,recv,all_sum,all_gather --ranks 2,3 --wires 1,3 \
                 --bytes 1,4096,65536 --dtype u8,f32 --in-place false";
    for version in [DEFAULT_PIN, "0.32.4"] {
        expect_company(version, Series::Patched, flags);
    }
    // Stock has no defect at this length of a ring's sums.
    let flags = "--op all_sum --backend ring --ranks 2 --wires 1,3 --bytes 65536 --dtype f32 \
                 --in-place false";
    expect_company(DEFAULT_PIN, Series::Stock, flags);
}
