//! jaccl's operations over emulated cables, every byte checked.

use crate::harness::{Backend, Frames, Group, Verdict, once};
use jaccl::{Dtype, Operation, Reduction, Step};

/// Lengths around one frame, around a window of two, and around the lengths at
/// which work is shared among two, three and four wires.
fn sizes(frame: usize) -> Vec<usize> {
    let mut sizes = vec![4, 8, 64, 1000, 100_000];
    for frames in [1, 2, 3, 4, 8] {
        sizes.extend([frames * frame - 4, frames * frame, frames * frame + 4]);
    }
    sizes
}

fn all_sum(dtype: Dtype) -> Operation {
    Operation::AllReduce {
        reduction: Reduction::Sum,
        dtype,
    }
}

/// Every operation that two neighbours need, at every size.
fn steps(ranks: usize, sizes: &[usize]) -> Vec<Step> {
    sizes
        .iter()
        .flat_map(|&bytes| {
            [
                once(all_sum(Dtype::Float32), bytes),
                once(Operation::AllGather, bytes),
                once(Operation::Send { from: 0, to: 1 }, bytes),
                once(
                    Operation::Send {
                        from: ranks - 1,
                        to: 0,
                    },
                    bytes,
                ),
            ]
        })
        .collect()
}

fn expect_pass(group: &Group) {
    assert_eq!(group.run().verdict, Verdict::Pass, "{group:#?}");
}

#[test]
fn two_ranks_in_a_ring_of_one_to_four_cables() {
    for cables in 1..=4 {
        expect_pass(&Group::new(
            2,
            cables,
            Backend::Ring,
            steps(2, &sizes(4096)),
        ));
    }
}

#[test]
fn two_ranks_in_a_mesh() {
    expect_pass(&Group::new(2, 1, Backend::Mesh, steps(2, &sizes(4096))));
}

#[test]
fn three_and_four_ranks_in_a_ring() {
    for (ranks, cables) in [(3, 1), (3, 3), (4, 1), (4, 2)] {
        expect_pass(&Group::new(
            ranks,
            cables,
            Backend::Ring,
            steps(ranks, &sizes(4096)),
        ));
    }
}

#[test]
fn three_and_four_ranks_in_a_mesh() {
    for ranks in [3, 4] {
        expect_pass(&Group::new(
            ranks,
            1,
            Backend::Mesh,
            steps(ranks, &sizes(4096)),
        ));
    }
}

#[test]
fn big_frames_in_ring_and_mesh() {
    let sizes = [8, 4096, 8192, 300_000, 524_288, 1_048_580, 3_000_000];
    for (cables, backend) in [(1, Backend::Ring), (3, Backend::Ring), (1, Backend::Mesh)] {
        expect_pass(&Group::new(2, cables, backend, steps(2, &sizes)).frames(Frames::Big));
    }
}

#[test]
fn every_reduction_and_several_types() {
    let mut steps = Vec::new();
    for reduction in [Reduction::Sum, Reduction::Max, Reduction::Min] {
        for dtype in [
            Dtype::Int8,
            Dtype::UInt16,
            Dtype::Int32,
            Dtype::Float32,
            Dtype::Float64,
        ] {
            steps.push(once(Operation::AllReduce { reduction, dtype }, 70_000));
        }
    }
    expect_pass(&Group::new(2, 2, Backend::Ring, steps));
}

#[test]
fn a_long_all_sum_loads_all_cables_alike() {
    let step = once(all_sum(Dtype::Float32), 6_000_000);
    let run = Group::new(2, 3, Backend::Ring, vec![step]).run();
    assert_eq!(run.verdict, Verdict::Pass);
    let bytes: Vec<u64> = run.cable_bytes.into_values().collect();
    let (least, most) = (bytes.iter().min().copied(), bytes.iter().max().copied());
    assert!(least > Some(3_900_000), "{bytes:?}");
    assert!(most <= least.map(|least| least + least / 20), "{bytes:?}");
}

#[test]
fn a_short_all_sum_uses_one_cable() {
    let step = Step {
        repeat: 10,
        ..once(all_sum(Dtype::Float32), 4096)
    };
    let run = Group::new(2, 3, Backend::Ring, vec![step]).run();
    assert_eq!(run.verdict, Verdict::Pass);
    let used = run.cable_bytes.values().filter(|bytes| **bytes > 0).count();
    assert_eq!(used, 1, "{:?}", run.cable_bytes);
}
