//! Ranks of unlike builds in one group.

use launch::Launcher;
use pins::{DEFAULT_PIN, Series};
use rail_verify::run::{Outcome, Variant};

use crate::{
    ends::Wrapped,
    harness::{build, expect_pass, programs, stock, sweep_with, tuned},
};

/// Sweeps with rank 1 on another build than the rest.
pub fn sweep_beside(other: &Variant, variant: &Variant, flags: &str) -> Outcome {
    let (other, own) = (&other.build, &variant.build);
    // The request to join names the rank and the library. What the rank says of its build
    // is put right again, because a sweep accepts no other build than its own.
    let ranks = Wrapped::new(&format!(
        "sed -u '/\"rank\":1,/s#{}#{}#' | '{}' | sed -u 's/{}/{}/'\nexit\n",
        own.library.display(),
        other.library.display(),
        programs().rank.program().display(),
        other.key,
        own.key,
    ));
    let outcome = sweep_with(&ranks.programs(), variant, flags, &Launcher::default());
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_tuned_rank_beside_an_untuned_one_does_as_that_one_does() {
    let flags = "--op send,recv,all_sum,all_gather --ranks 2,3 --wires 1,3 \
                 --bytes 1,4096,65536 --dtype u8,f32 --in-place false";
    for version in [DEFAULT_PIN, "0.32.4"] {
        let [tuned, patched] =
            [Series::Tuned, Series::Patched].map(|series| build(version, series, None));
        expect_pass(&sweep_beside(&patched, &tuned, flags));
    }
    // Stock has no defect at this length of a ring's sums.
    let flags = "--op all_sum --backend ring --ranks 2 --wires 1,3 --bytes 65536 --dtype f32 \
                 --in-place false";
    expect_pass(&sweep_beside(&stock(), &tuned(), flags));
}
