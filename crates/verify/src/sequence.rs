//! Random operations of random sizes, one after the other without a pause.
//!
//! A receive that was posted for too many bytes is satisfied by the *next* message, so
//! some defects show only between operations.

use fastrand::Rng;
use jaccl::{Dtype, Features, Operation, Reduction, Step};

use crate::case::{Backend, Case, Frames, Setting};

/// The number of steps of a sequence.
const LENGTH: usize = 40;

/// The steps of a sequence, which depend only on the case and on jaccl's features.
pub fn steps(case: &Case, features: Features) -> Vec<Step> {
    let mut random = Rng::with_seed(case.seed);
    (0..LENGTH)
        .map(|_| step(&mut random, case, features))
        .collect()
}

/// The setting of a soak's sequence, from its seed.
pub fn setting(seed: u64) -> Setting {
    // A seed other than that of the steps.
    let mut random = Rng::with_seed(!seed);
    Setting {
        backend: random.choice(Backend::ALL).unwrap_or(Backend::Ring),
        ranks: random.usize(2..=4),
        wires: random.usize(1..=4),
        frames: random.choice(Frames::ALL).unwrap_or(Frames::Small),
    }
}

fn step(random: &mut Rng, case: &Case, features: Features) -> Step {
    let dtype = random.choice(Dtype::ALL).unwrap_or(Dtype::UInt8);
    let operation = operation(random, case.setting, features);
    let in_place = !matches!(operation, Operation::SumScatter) && random.bool();
    Step {
        operation,
        bytes: length(random, case.bytes) / dtype.size() * dtype.size(),
        dtype,
        in_place,
        salt: 0,
    }
}

/// As many short lengths as long ones: what matters is the number of frames, and defects
/// occur where that is small.
fn length(random: &mut Rng, longest: usize) -> usize {
    let bits = longest.max(1).ilog2();
    let below = 1_usize << random.u32(0..=bits);
    random.usize(0..=below).min(longest)
}

fn operation(random: &mut Rng, setting: Setting, features: Features) -> Operation {
    let reductions = [Reduction::Sum, Reduction::Max, Reduction::Min];
    loop {
        return match random.u8(0..8) {
            0 | 1 => Operation::AllReduce(random.choice(reductions).unwrap_or(Reduction::Sum)),
            2 => Operation::AllGather,
            3 if features.sum_scatter => Operation::SumScatter,
            4 if features.barrier => Operation::Barrier,
            5..8 => message(random, setting),
            _ => continue,
        };
    }
}

/// Between any two ranks of a mesh, and between neighbours of a ring.
fn message(random: &mut Rng, setting: Setting) -> Operation {
    let Setting { backend, ranks, .. } = setting;
    let from = random.usize(0..ranks);
    let apart = match backend {
        Backend::Mesh => random.usize(1..ranks),
        Backend::Ring => random.choice([1, ranks - 1]).unwrap_or(1),
    };
    Operation::Send {
        from,
        to: (from + apart) % ranks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Direction, Op};

    fn case(seed: u64, backend: Backend) -> Case {
        Case {
            setting: Setting {
                backend,
                ranks: 4,
                wires: 2,
                frames: Frames::Small,
            },
            op: Op::Sequence,
            bytes: 50_000,
            dtype: Dtype::UInt8,
            direction: Direction::All,
            in_place: false,
            seed,
        }
    }

    const NOTHING_NEW: Features = Features {
        barrier: false,
        sum_scatter: false,
    };

    #[test]
    fn a_seed_gives_the_same_steps_again_and_another_gives_others() {
        let one = steps(&case(1, Backend::Ring), NOTHING_NEW);
        assert_eq!(one, steps(&case(1, Backend::Ring), NOTHING_NEW));
        assert_ne!(one, steps(&case(2, Backend::Ring), NOTHING_NEW));
    }

    #[test]
    fn steps_are_what_the_setting_and_jaccl_allow() {
        for seed in 0..200 {
            for step in steps(&case(seed, Backend::Ring), NOTHING_NEW) {
                assert!(step.bytes <= 50_000 && step.bytes.is_multiple_of(step.dtype.size()));
                match step.operation {
                    Operation::Send { from, to } => {
                        assert!([1, 3].contains(&from.abs_diff(to)), "{from} to {to}");
                    }
                    Operation::Barrier | Operation::SumScatter => panic!("jaccl has none"),
                    _ => {}
                }
            }
        }
    }
}
