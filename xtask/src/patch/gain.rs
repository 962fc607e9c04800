//! The meaning of a patch's `X-Gain` for `cargo xtask collectives`.

use collectives::Cells;
use patch_series::Gain;

/// What is measured.
///
/// # Errors
/// The error in the gain, in one line.
pub fn read(gain: &Gain) -> Result<Cells, String> {
    Cells::parse(&gain.flags.join(" ")).map_err(|error| error.to_string())
}

/// Like [`read`], if only the error matters.
pub fn check(gain: &Gain) -> Result<(), String> {
    read(gain).map(drop)
}

#[cfg(test)]
mod tests {
    use pins::{Pin, Series};
    use toolchain::Toolchain;

    use super::*;

    #[test]
    fn every_gain_of_this_checkout_is_one_that_collectives_can_measure() {
        let toolchain = Toolchain::open().unwrap();
        for version in Pin::versions(&toolchain.patches_folder()).unwrap() {
            let pin = toolchain.pin(&version).unwrap();
            for patch in toolchain.series().patches(&pin, Series::Tuned).unwrap() {
                patch.gains(&check).unwrap();
            }
        }
    }

    #[test]
    fn a_gain_is_what_collectives_can_measure() {
        let problem = |line: &str| check(&line.parse().unwrap()).err().unwrap_or_default();
        for good in [
            "time 1 -> 0.30: --op all_sum --backend ring --ranks 2 --cables 3 --bytes 8192",
            "time 1391 -> 470: --op all_sum,send --bytes 64KiB..1MiB --frames small,big",
            "time 1 -> 0.9: --op barrier",
        ] {
            assert_eq!(problem(good), "", "{good}");
        }
        for (bad, named) in [
            ("time 1 -> 0.3: --wires 3", "--wires"),
            ("time 1 -> 0.3: --op receive", "receive"),
            ("time 1 -> 0.3: --cables 9", "cables"),
            ("time 1 -> 0.3: --bytes 3", "whole number"),
        ] {
            let problem = problem(bad);
            assert!(problem.contains(named), "{bad}: {problem:?}");
        }
    }
}
