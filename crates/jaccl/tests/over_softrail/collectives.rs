//! jaccl's operations over emulated cables, every byte checked.

use crate::harness::{Backend, Frames, Group, Verdict, once};
use jaccl::{Dtype, Operation, Reduction, Step};

/// jaccl's small frame.
const FRAME: usize = 4096;

/// Lengths around one frame, around a window of two, and around those at which
/// two, three and four wires share them; in whole `f32`s.
fn sizes() -> Vec<usize> {
    let around = |frames| [frames * FRAME - 4, frames * FRAME, frames * FRAME + 4];
    let mut sizes: Vec<_> = [1, 2, 3, 4, 8].into_iter().flat_map(around).collect();
    sizes.extend([4, 8, 64, 1000, 100_000]);
    sizes
}

/// Lengths of messages: also those that leave wires without a byte, or one wire
/// with a frame more than the others.
fn message_sizes() -> Vec<usize> {
    let around = |frames| [frames * FRAME - 1, frames * FRAME, frames * FRAME + 1];
    let mut sizes: Vec<_> = [1, 2, 3, 4, 8].into_iter().flat_map(around).collect();
    sizes.extend([1, 2, 3, 4, 5, 100_001]);
    sizes
}

fn all_sum(dtype: Dtype) -> Operation {
    Operation::AllReduce {
        reduction: Reduction::Sum,
        dtype,
    }
}

/// Every operation at every size, messages between rank 0 and both neighbours.
fn steps(ranks: usize) -> Vec<Step> {
    let mut steps = collectives(&sizes());
    steps.extend(messages(ranks, &message_sizes()));
    steps
}

fn collectives(sizes: &[usize]) -> Vec<Step> {
    let operations = |bytes| {
        [
            once(all_sum(Dtype::Float32), bytes),
            once(Operation::AllGather, bytes),
        ]
    };
    sizes.iter().copied().flat_map(operations).collect()
}

fn messages(ranks: usize, sizes: &[usize]) -> Vec<Step> {
    let last = ranks - 1;
    let there_and_back = |bytes| {
        [(0, 1), (1, 0), (0, last), (last, 0)]
            .map(|(from, to)| once(Operation::Send { from, to }, bytes))
    };
    sizes.iter().copied().flat_map(there_and_back).collect()
}

fn expect_pass(group: &Group) {
    assert_eq!(group.run().verdict, Verdict::Pass, "{group:#?}");
}

#[test]
fn two_ranks_in_a_ring_of_one_to_four_cables() {
    for cables in 1..=4 {
        expect_pass(&Group::new(2, cables, Backend::Ring, steps(2)));
    }
}

#[test]
fn two_ranks_in_a_mesh() {
    expect_pass(&Group::new(2, 1, Backend::Mesh, steps(2)));
}

#[test]
fn three_and_four_ranks_in_a_ring() {
    for (ranks, cables) in [(3, 1), (3, 3), (4, 1), (4, 2)] {
        expect_pass(&Group::new(ranks, cables, Backend::Ring, steps(ranks)));
    }
}

#[test]
fn three_and_four_ranks_in_a_mesh() {
    for ranks in [3, 4] {
        expect_pass(&Group::new(ranks, 1, Backend::Mesh, steps(ranks)));
    }
}

#[test]
fn big_frames_in_ring_and_mesh() {
    let sizes = [8, 4096, 8192, 300_000, 524_288, 1_048_580, 3_000_000];
    let mut steps = collectives(&sizes);
    steps.extend(messages(2, &sizes));
    for (cables, backend) in [(1, Backend::Ring), (3, Backend::Ring), (1, Backend::Mesh)] {
        expect_pass(&Group::new(2, cables, backend, steps.clone()).frames(Frames::Big));
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
