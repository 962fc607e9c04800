//! What a step takes: its lengths, its call, and the bytes that it must produce.

use crate::{
    Error, Group, Operation, Reduction, Step,
    sample::{self, Source},
};

/// The bytes of a rank's input.
pub fn input_bytes(step: &Step, ranks: usize) -> usize {
    match step.operation {
        Operation::Barrier => 0,
        Operation::SumScatter => step.bytes * ranks,
        Operation::AllReduce(_) | Operation::AllGather | Operation::Send { .. } => step.bytes,
    }
}

/// The bytes of a rank's output.
pub fn output_bytes(step: &Step, ranks: usize) -> usize {
    match step.operation {
        Operation::Barrier => 0,
        Operation::AllGather => step.bytes * ranks,
        Operation::AllReduce(_) | Operation::SumScatter | Operation::Send { .. } => step.bytes,
    }
}

/// Fails if the bytes of a step are not whole elements.
pub fn expect_whole(step: &Step) -> Result<(), Error> {
    let Step { bytes, dtype, .. } = *step;
    let size = dtype.size();
    match bytes.is_multiple_of(size) {
        true => Ok(()),
        false => Err(Error::Ragged { bytes, dtype, size }),
    }
}

/// Writes a rank's input of a step from a position on.
pub fn fill_input(step: &Step, rank: usize, at: usize, block: &mut [u8]) {
    let Step { dtype, salt, .. } = *step;
    sample::fill(dtype, Source { rank, salt }, at / dtype.size(), block);
}

/// Writes the expected output of a collective from a position on.
pub fn fill_output(
    step: &Step,
    (rank, ranks): (usize, usize),
    mut at: usize,
    mut block: &mut [u8],
) {
    let Step {
        bytes, dtype, salt, ..
    } = *step;
    let mut reduced = |reduction, at: usize| {
        sample::fill_reduced(dtype, reduction, (ranks, salt), at / dtype.size(), block);
    };
    match step.operation {
        Operation::Barrier | Operation::Send { .. } => {}
        Operation::AllReduce(reduction) => reduced(reduction, at),
        Operation::SumScatter => reduced(Reduction::Sum, bytes * rank + at),
        // A block may span ranks.
        Operation::AllGather => {
            while !block.is_empty() {
                let (rank, within) = (at / bytes, at % bytes);
                let (part, rest) = block.split_at_mut(block.len().min(bytes - within));
                fill_input(step, rank, within, part);
                at += part.len();
                block = rest;
            }
        }
    }
}

/// Calls a collective. A message is [`Group::send`] on one rank and [`Group::recv`] on
/// another, and nothing here.
pub fn call(group: &mut Group, step: &Step, input: &[u8], output: &mut [u8]) -> Result<(), Error> {
    match step.operation {
        Operation::AllReduce(reduction) => group.all_reduce(reduction, step.dtype, input, output),
        Operation::AllGather => group.all_gather(input, output),
        Operation::SumScatter => group.sum_scatter(step.dtype, input, output),
        Operation::Barrier => group.barrier(),
        Operation::Send { .. } => Ok(()),
    }
}
