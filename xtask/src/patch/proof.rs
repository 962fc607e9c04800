//! The meaning of a patch's `X-Verdicts` for `cargo xtask verify`.

use patch_series::{Checks, Proof};
use rail_verify::{selection::Selection, verdict::Verdict};

use super::gain;

/// The verdict without the patch, and the cases that show it.
///
/// # Errors
/// The error in the proof, in one line.
pub fn read(proof: &Proof) -> Result<(Verdict, Selection), String> {
    let before = proof.before.parse()?;
    if before == Verdict::Pass {
        return Err("a fix cannot turn pass into pass".into());
    }
    let selection = Selection::parse(&proof.flags).map_err(|error| error.to_string())?;
    Ok((before, selection))
}

/// Like [`read`], if only the error matters.
pub fn check(proof: &Proof) -> Result<(), String> {
    read(proof).map(drop)
}

/// What `patch lint` holds the lines of patches to.
pub const CHECKS: Checks<'static> = Checks {
    proof: &check,
    gain: &gain::check,
};

#[cfg(test)]
mod tests {
    use pins::{Pin, Series};
    use toolchain::Toolchain;

    use super::*;

    #[test]
    fn every_proof_of_this_checkout_is_one_that_verify_can_run() {
        let toolchain = Toolchain::open().unwrap();
        for version in Pin::versions(&toolchain.patches_folder()).unwrap() {
            let pin = toolchain.pin(&version).unwrap();
            for patch in toolchain.series().patches(&pin, Series::Patched).unwrap() {
                patch.proofs(&check).unwrap();
            }
        }
    }

    #[test]
    fn a_proof_is_what_verify_can_run_and_fail() {
        let problem = |line: &str| check(&line.parse().unwrap()).err().unwrap_or_default();
        for good in [
            "hang -> pass: --op recv --backend ring --ranks 2",
            "wrong -> pass: --op send --direction '0->1' --frames big",
            "crash -> pass: --op no-library",
        ] {
            assert_eq!(problem(good), "", "{good}");
        }
        for (bad, named) in [
            ("stuck -> pass: --op recv", "stuck"),
            ("pass -> pass: --op recv", "pass into pass"),
            ("hang -> pass: --opp recv", "--opp"),
            ("hang -> pass: --op recieve", "recieve"),
            ("hang -> pass: --ranks 9", "9"),
        ] {
            let problem = problem(bad);
            assert!(problem.contains(named), "{bad}: {problem:?}");
            assert!(!problem.contains('\n'), "{problem:?}");
        }
    }
}
