//! Runs the steps that a launcher requests, and checks every byte of output.

use std::time::Instant;

use crate::{
    Config, Dtype, Error, Group, Job, Library, Operation, Reduction, Report, Request, Step,
    guarded::{Fault, Guarded},
    sample::{self, Source},
};

/// Handles requests until one asks to leave, there are no more, or jaccl refused or wrote
/// out of bounds, since later steps would prove nothing. After wrong data the ranks are
/// still in step, so the rank goes on. Returns whether it reached the end.
pub fn serve(requests: impl IntoIterator<Item = Request>, mut report: impl FnMut(Report)) -> bool {
    let mut group = None;
    for request in requests {
        let answer = match request {
            Request::Join(job) => match join(&job, &mut report) {
                Ok(joined) => {
                    group = Some(joined);
                    Report::Joined
                }
                Err(error) => failure(None, &error),
            },
            Request::Run(steps) => match &mut group {
                Some(group) => run(group, &steps),
                None => failure(None, &Error::NotJoined),
            },
            Request::Leave => {
                drop(group.take());
                report(Report::Left);
                return true;
            }
        };
        let over = matches!(answer, Report::Overrun { .. } | Report::Error { .. });
        report(answer);
        if over {
            return false;
        }
    }
    true
}

fn failure(step: Option<usize>, error: &Error) -> Report {
    Report::Error {
        step,
        message: error.with_cause(),
    }
}

fn join(job: &Job, report: &mut impl FnMut(Report)) -> Result<Group, Error> {
    let library = Library::open(&job.library)?;
    library.trace_signals();
    report(Report::Loaded {
        build: library.build_key(),
        available: library.is_available()?,
        features: library.features(),
    });
    library.init(&Config {
        rank: job.rank,
        coordinator: job.coordinator.clone(),
        devices: job.devices.clone(),
        prefer_ring: job.prefer_ring,
    })
}

fn run(group: &mut Group, steps: &[Step]) -> Report {
    let mut nanos = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        match perform(group, step) {
            Ok(Ok(time)) => nanos.push(time),
            Ok(Err(Fault::Wrong(detail))) => {
                return Report::Wrong {
                    step: index,
                    detail,
                };
            }
            Ok(Err(Fault::Overrun(detail))) => {
                return Report::Overrun {
                    step: index,
                    detail,
                };
            }
            Err(error) => return failure(Some(index), &error),
        }
    }
    Report::Passed { nanos }
}

/// The time of an operation in nanoseconds, or the error in its result.
type Outcome = Result<u64, Fault>;

fn perform(group: &mut Group, step: &Step) -> Result<Outcome, Error> {
    let size = step.dtype.size();
    if !step.bytes.is_multiple_of(size) {
        let Step { bytes, dtype, .. } = *step;
        return Err(Error::Ragged { bytes, dtype, size });
    }
    match step.operation {
        Operation::AllReduce(reduction) => all_reduce(group, step, reduction),
        Operation::AllGather => all_gather(group, step),
        Operation::SumScatter => sum_scatter(group, step),
        Operation::Barrier => Ok(Ok(timed(|| group.barrier())?)),
        Operation::Send { from, to } => match group.rank() {
            rank if rank == from => send(group, step, to),
            rank if rank == to => recv(group, step, from),
            _ => Ok(Ok(0)),
        },
    }
}

fn all_reduce(group: &mut Group, step: &Step, reduction: Reduction) -> Result<Outcome, Error> {
    let Step {
        bytes, dtype, salt, ..
    } = *step;
    let ranks = group.size();
    let expected = |at: usize, bytes: &mut [u8]| {
        sample::fill_reduced(dtype, reduction, (ranks, salt), at / dtype.size(), bytes);
    };
    if step.in_place {
        let mut buffer = own_input(group, step, "buffer", bytes);
        let nanos = timed(|| group.all_reduce_in_place(reduction, dtype, buffer.bytes_mut()))?;
        return Ok(checked(&buffer, dtype, expected).map(|()| nanos));
    }
    let input = own_input(group, step, "input", bytes);
    let mut output = Guarded::new("output", bytes, group.rank());
    let nanos = timed(|| group.all_reduce(reduction, dtype, input.bytes(), output.bytes_mut()))?;
    Ok(unchanged(group, step, &input)
        .and_then(|()| checked(&output, dtype, expected))
        .map(|()| nanos))
}

fn all_gather(group: &mut Group, step: &Step) -> Result<Outcome, Error> {
    let Step {
        bytes, dtype, salt, ..
    } = *step;
    let expected = |at: usize, block: &mut [u8]| gathered(step, at, block);
    let mut output = Guarded::new("output", bytes * group.size(), group.rank());
    if step.in_place {
        let own = bytes * group.rank()..bytes * (group.rank() + 1);
        let rank = group.rank();
        sample::fill(
            dtype,
            Source { rank, salt },
            0,
            &mut output.bytes_mut()[own],
        );
        let nanos = timed(|| group.all_gather_in_place(output.bytes_mut()))?;
        return Ok(checked(&output, dtype, expected).map(|()| nanos));
    }
    let input = own_input(group, step, "input", bytes);
    let nanos = timed(|| group.all_gather(input.bytes(), output.bytes_mut()))?;
    Ok(unchanged(group, step, &input)
        .and_then(|()| checked(&output, dtype, expected))
        .map(|()| nanos))
}

/// The expected contents of a gathered output from a position on; a block may span ranks.
fn gathered(step: &Step, mut at: usize, mut block: &mut [u8]) {
    let Step {
        bytes, dtype, salt, ..
    } = *step;
    while !block.is_empty() {
        let (rank, within) = (at / bytes, at % bytes);
        let (part, rest) = block.split_at_mut(block.len().min(bytes - within));
        sample::fill(dtype, Source { rank, salt }, within / dtype.size(), part);
        at += part.len();
        block = rest;
    }
}

fn sum_scatter(group: &mut Group, step: &Step) -> Result<Outcome, Error> {
    let Step {
        bytes, dtype, salt, ..
    } = *step;
    let ranks = group.size();
    let input = own_input(group, step, "input", bytes * ranks);
    let mut output = Guarded::new("output", bytes, group.rank());
    let nanos = timed(|| group.sum_scatter(dtype, input.bytes(), output.bytes_mut()))?;
    let first = bytes * group.rank();
    let expected = |at: usize, block: &mut [u8]| {
        let element = (first + at) / dtype.size();
        sample::fill_reduced(dtype, Reduction::Sum, (ranks, salt), element, block);
    };
    Ok(unchanged(group, step, &input)
        .and_then(|()| checked(&output, dtype, expected))
        .map(|()| nanos))
}

fn send(group: &mut Group, step: &Step, to: usize) -> Result<Outcome, Error> {
    let input = own_input(group, step, "input", step.bytes);
    let nanos = timed(|| group.send(input.bytes(), to))?;
    Ok(unchanged(group, step, &input).map(|()| nanos))
}

fn recv(group: &mut Group, step: &Step, rank: usize) -> Result<Outcome, Error> {
    let Step {
        bytes, dtype, salt, ..
    } = *step;
    let mut output = Guarded::new("output", bytes, group.rank());
    let nanos = timed(|| group.recv(output.bytes_mut(), rank))?;
    let expected = |at: usize, block: &mut [u8]| {
        sample::fill(dtype, Source { rank, salt }, at / dtype.size(), block);
    };
    Ok(checked(&output, dtype, expected).map(|()| nanos))
}

/// This rank's input.
fn own_input(group: &Group, step: &Step, what: &'static str, bytes: usize) -> Guarded {
    let mut input = Guarded::new(what, bytes, group.rank());
    sample::fill(step.dtype, own(group, step), 0, input.bytes_mut());
    input
}

fn own(group: &Group, step: &Step) -> Source {
    Source {
        rank: group.rank(),
        salt: step.salt,
    }
}

/// The guard zones come first: a message that ran over its buffer explains wrong bytes.
fn checked(
    memory: &Guarded,
    dtype: Dtype,
    expected: impl Fn(usize, &mut [u8]),
) -> Result<(), Fault> {
    memory.check_guards()?;
    memory.check(dtype, expected)
}

fn unchanged(group: &Group, step: &Step, input: &Guarded) -> Result<(), Fault> {
    let source = own(group, step);
    let size = step.dtype.size();
    checked(input, step.dtype, |at, block| {
        sample::fill(step.dtype, source, at / size, block);
    })
}

fn timed(operation: impl FnOnce() -> Result<(), Error>) -> Result<u64, Error> {
    let started = Instant::now();
    operation()?;
    Ok(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX))
}
