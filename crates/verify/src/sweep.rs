//! The cases of a level, and those of them that a selection keeps.

use jaccl::{Dtype, Features};

use crate::{
    case::{Backend, Case, Direction, Frames, Op, Setting},
    selection::{Level, Selection},
    sizes,
};

/// The length of one rank's part of an all-gather, one step beyond the end of 32-bit
/// offsets.
const BEYOND_32_BITS: usize = (1 << 31) + 4096;

/// Wires of [`Op::FiveWires`].
const TOO_MANY_WIRES: usize = 5;

/// The values of a level where the selection names none.
struct Extent {
    ranks: &'static [usize],
    /// Sequences for each setting.
    sequences: u64,
    /// Bytes of the longest step of a sequence.
    longest: usize,
}

impl Extent {
    const fn of(level: Level) -> Self {
        match level {
            Level::Quick => Extent {
                ranks: &[2, 3, 4],
                sequences: 1,
                longest: 100_000,
            },
            Level::Full | Level::Soak => Extent {
                ranks: &[2, 3, 4],
                sequences: 6,
                longest: 2_000_000,
            },
        }
    }
}

/// The longest step of a soak's sequences.
pub const SOAK_LONGEST: usize = Extent::of(Level::Soak).longest;

/// The cases of a level that the selection keeps, grouped by setting.
///
/// Cost: settings (backends x ranks x wires x frame modes) times lengths times
/// dtypes; lengths grow with the wires.
pub fn cases(level: Level, selection: &Selection, features: Features) -> Vec<Case> {
    let mut cases: Vec<Case> = Op::ALL
        .into_iter()
        .filter(|op| chosen(&selection.op, op))
        .filter(|op| op.is_in(features))
        .flat_map(|op| of_op(level, selection, op))
        .filter(|case| selected(selection, case))
        .collect();
    // The groups of a setting are joined once for all of its cases.
    cases.sort_by_key(|case| (case.setting, case.op.is_condition()));
    cases
}

fn chosen<T: PartialEq>(wanted: &[T], value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

/// The requested values, or else the level's.
fn asked<T: Clone>(wanted: &[T], level: &[T]) -> Vec<T> {
    if wanted.is_empty() { level } else { wanted }.to_vec()
}

fn selected(selection: &Selection, case: &Case) -> bool {
    let Setting {
        backend,
        ranks,
        wires,
        frames,
    } = case.setting;
    chosen(&selection.backend, &backend)
        && chosen(&selection.ranks, &ranks)
        && chosen(&selection.wires, &wires)
        && chosen(&selection.frames, &frames)
        && chosen(&selection.bytes, &case.bytes)
        && chosen(&selection.dtype, &case.dtype)
        && chosen(&selection.direction, &case.direction)
        && chosen(&selection.in_place, &case.in_place)
        && (selection.seed.is_empty() || selection.seed.contains(&case.seed))
        && selection.keeps(case)
}

fn of_op(level: Level, selection: &Selection, op: Op) -> Vec<Case> {
    let mut cases = Vec::new();
    for setting in settings(level, selection, op) {
        match op {
            _ if op.has_bytes() => {
                for direction in directions(op, setting, selection) {
                    cases.extend(of_data(level, selection, op, setting, direction));
                }
            }
            Op::Sequence => {
                let extent = Extent::of(level);
                let seeds: Vec<u64> = (1..=extent.sequences).collect();
                for seed in asked(&selection.seed, &seeds) {
                    for bytes in asked(&selection.bytes, &[extent.longest]) {
                        cases.push(Case {
                            seed,
                            bytes,
                            ..plain(op, setting)
                        });
                    }
                }
            }
            _ if op.is_within_operations() => {
                // A message, and the operations of all ranks.
                let message = Direction::Pair { from: 0, to: 1 };
                for direction in [message, Direction::All] {
                    cases.push(Case {
                        direction,
                        ..plain(op, setting)
                    });
                }
            }
            _ => cases.push(plain(op, setting)),
        }
    }
    if op == Op::AllGather && level == Level::Full && selection.bytes.is_empty() {
        cases.push(beyond_32_bits());
    }
    cases
}

/// Cases whose data has no length of its own.
fn plain(op: Op, setting: Setting) -> Case {
    let direction = match op {
        Op::NonNeighbour => Direction::Pair { from: 0, to: 2 },
        Op::FailedSend | Op::FailedWire | Op::UnequalFrames | Op::SendFirst => {
            Direction::Pair { from: 0, to: 1 }
        }
        _ => Direction::All,
    };
    Case {
        setting,
        op,
        bytes: 0,
        dtype: Dtype::UInt8,
        direction,
        in_place: false,
        seed: 0,
    }
}

/// In place, because separate buffers would leave no memory for other programs: it takes
/// 4 GiB a rank.
fn beyond_32_bits() -> Case {
    let setting = Setting {
        backend: Backend::Mesh,
        ranks: 2,
        wires: 1,
        frames: Frames::Big,
    };
    Case {
        bytes: BEYOND_32_BITS,
        in_place: true,
        ..plain(Op::AllGather, setting)
    }
}

fn settings(level: Level, selection: &Selection, op: Op) -> Vec<Setting> {
    let (backends, ranks, wires, frames): (&[Backend], &[usize], &[usize], &[Frames]) = match op {
        Op::FiveWires => (&[Backend::Ring], &[2], &[TOO_MANY_WIRES], &[Frames::Small]),
        Op::NonNeighbour => (&[Backend::Ring], &[4], &[1], &[Frames::Small]),
        // A matrix without devices fits a ring as well as a mesh, so one backend is
        // enough.
        Op::NoWires => (&[Backend::Ring], &[2, 3], &[1], &[Frames::Small]),
        // A mesh before MLX 0.32 uses only the first wire.
        Op::FailedWire => (&Backend::ALL, &[2], &[2], &Frames::ALL),
        Op::FailedSend => (&Backend::ALL, &[2, 3], &[1, 2], &Frames::ALL),
        // Small frames have one length, so they never differ. On a second wire another
        // number of messages would be a hang.
        Op::UnequalFrames => (&Backend::ALL, &[2, 3], &[1], &[Frames::Big]),
        Op::SendFirst => (&Backend::ALL, &[2], &[1, 2], &Frames::ALL),
        _ if op.is_within_operations() => (
            &Backend::ALL,
            Extent::of(level).ranks,
            &[1, 2],
            &Frames::ALL,
        ),
        Op::Init => (
            &Backend::ALL,
            Extent::of(level).ranks,
            &[1, 4],
            &[Frames::Small],
        ),
        _ if op.is_condition() => (&Backend::ALL, &[2, 3], &[1, 2], &[Frames::Small]),
        _ => (
            &Backend::ALL,
            Extent::of(level).ranks,
            &[1, 2, 3, 4],
            &Frames::ALL,
        ),
    };
    // Each takes seconds, so the quick level has one setting a backend, unless the caller
    // asks for others.
    let few = op.is_within_operations() && level == Level::Quick;
    let ranks = if few && selection.ranks.is_empty() {
        &[3]
    } else {
        ranks
    };
    let wires = if few && selection.wires.is_empty() {
        &[1]
    } else {
        wires
    };
    let frames = match few && selection.frames.is_empty() {
        true => &[Frames::Small],
        false => frames,
    };
    // A condition has fixed settings; an operation runs in any requested setting.
    let (ranks, wires) = if op.is_condition() {
        (ranks.to_vec(), wires.to_vec())
    } else {
        let wanted: Vec<usize> = asked(&selection.wires, wires);
        let possible = wanted.into_iter().filter(|n| *n < TOO_MANY_WIRES);
        (asked(&selection.ranks, ranks), possible.collect())
    };
    let mut settings = Vec::new();
    for &backend in backends {
        for &ranks in &ranks {
            for &wires in &wires {
                for &frames in frames {
                    settings.push(Setting {
                        backend,
                        ranks,
                        wires,
                        frames,
                    });
                }
            }
        }
    }
    settings
}

/// Both directions of a link, with another link for each number of ranks: the first, one
/// in the middle, the one that closes the ring, and in a mesh of four the diagonal too.
fn directions(op: Op, setting: Setting, selection: &Selection) -> Vec<Direction> {
    let Setting { backend, ranks, .. } = setting;
    if !op.is_message() {
        return vec![Direction::All];
    }
    let neighbours = |from: usize, to: usize| {
        let apart = from.abs_diff(to);
        backend == Backend::Mesh || apart == 1 || apart + 1 == ranks
    };
    if !selection.direction.is_empty() {
        let possible = |direction: &Direction| match *direction {
            Direction::Pair { from, to } => from < ranks && to < ranks && neighbours(from, to),
            Direction::All => false,
        };
        return selection
            .direction
            .iter()
            .copied()
            .filter(possible)
            .collect();
    }
    let links: &[(usize, usize)] = match (ranks, backend) {
        (2, _) => &[(0, 1)],
        (3, _) => &[(1, 2)],
        (_, Backend::Mesh) => &[(0, 3), (0, 2)],
        (_, Backend::Ring) => &[(0, ranks - 1)],
    };
    links
        .iter()
        .flat_map(|&(a, b)| [(a, b), (b, a)])
        .map(|(from, to)| Direction::Pair { from, to })
        .collect()
}

fn of_data(
    level: Level,
    selection: &Selection,
    op: Op,
    setting: Setting,
    direction: Direction,
) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in dtypes(level, selection, op) {
        let lengths = if !selection.bytes.is_empty() {
            let whole = |bytes: &usize| bytes.is_multiple_of(dtype.size());
            selection.bytes.iter().copied().filter(whole).collect()
        } else if dtype == principal(op) && op != Op::AllMax && op != Op::AllMin {
            sizes::lengths(level, op, setting, dtype)
        } else {
            sizes::lengths(Level::Quick, op, setting, dtype)
        };
        let in_place: &[bool] = match op {
            Op::AllSum | Op::AllGather => &[false, true],
            // Takes the same path through jaccl as all_sum, for every dtype.
            Op::AllMax | Op::AllMin if dtype == principal(op) => &[false, true],
            Op::AllMax | Op::AllMin if !selection.in_place.is_empty() => &[false, true],
            _ => &[false],
        };
        for bytes in lengths {
            for &in_place in in_place {
                cases.push(Case {
                    bytes,
                    dtype,
                    direction,
                    in_place,
                    ..plain(op, setting)
                });
            }
        }
    }
    cases
}

/// The dtype that gets every length. An operation that combines no elements handles only
/// bytes.
const fn principal(op: Op) -> Dtype {
    if op.reduces() {
        Dtype::Float32
    } else {
        Dtype::UInt8
    }
}

fn dtypes(level: Level, selection: &Selection, op: Op) -> Vec<Dtype> {
    let of_level: &[Dtype] = match (level, op) {
        (Level::Full, _) if op.reduces() => &Dtype::ALL,
        (_, Op::AllSum) => &[
            Dtype::Bool,
            Dtype::Int8,
            Dtype::BFloat16,
            Dtype::Float32,
            Dtype::Complex64,
        ],
        _ => &[principal(op)],
    };
    asked(&selection.dtype, of_level)
}
