//! Runs the steps that a launcher requests, and checks every byte of output.

use std::time::Instant;

use crate::{
    Config, Dtype, Error, Group, Job, Library, Operation, Reduction, Report, Request, Step,
    guarded::{Fault, Guarded},
    measure, work,
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
            Request::Measure(measure) => match &mut group {
                Some(group) => measure::measure(group, &measure)
                    .unwrap_or_else(|error| failure(Some(0), &error)),
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
    work::expect_whole(step)?;
    match (step.operation, step.in_place) {
        (Operation::AllReduce(reduction), true) => all_reduce_in_place(group, step, reduction),
        (Operation::AllGather, true) => all_gather_in_place(group, step),
        (Operation::Send { from, to }, _) => match group.rank() {
            rank if rank == from => send(group, step, to),
            rank if rank == to => recv(group, step, from),
            _ => Ok(Ok(0)),
        },
        _ => collective(group, step),
    }
}

fn collective(group: &mut Group, step: &Step) -> Result<Outcome, Error> {
    let (rank, ranks) = (group.rank(), group.size());
    let input = own_input(group, step, "input");
    let mut output = Guarded::new("output", work::output_bytes(step, ranks), rank);
    let nanos = timed(|| work::call(group, step, input.bytes(), output.bytes_mut()))?;
    Ok(unchanged(group, step, &input)
        .and_then(|()| checked(&output, step.dtype, expected(step, (rank, ranks))))
        .map(|()| nanos))
}

fn all_reduce_in_place(
    group: &mut Group,
    step: &Step,
    reduction: Reduction,
) -> Result<Outcome, Error> {
    let dtype = step.dtype;
    let place = (group.rank(), group.size());
    let mut buffer = own_input(group, step, "buffer");
    let nanos = timed(|| group.all_reduce_in_place(reduction, dtype, buffer.bytes_mut()))?;
    Ok(checked(&buffer, dtype, expected(step, place)).map(|()| nanos))
}

fn all_gather_in_place(group: &mut Group, step: &Step) -> Result<Outcome, Error> {
    let (rank, ranks) = (group.rank(), group.size());
    let mut output = Guarded::new("output", work::output_bytes(step, ranks), rank);
    let own = step.bytes * rank..step.bytes * (rank + 1);
    work::fill_input(step, rank, 0, &mut output.bytes_mut()[own]);
    let nanos = timed(|| group.all_gather_in_place(output.bytes_mut()))?;
    Ok(checked(&output, step.dtype, expected(step, (rank, ranks))).map(|()| nanos))
}

fn expected(step: &Step, place: (usize, usize)) -> impl Fn(usize, &mut [u8]) {
    move |at, block| work::fill_output(step, place, at, block)
}

fn send(group: &mut Group, step: &Step, to: usize) -> Result<Outcome, Error> {
    let input = own_input(group, step, "input");
    let nanos = timed(|| group.send(input.bytes(), to))?;
    Ok(unchanged(group, step, &input).map(|()| nanos))
}

fn recv(group: &mut Group, step: &Step, from: usize) -> Result<Outcome, Error> {
    let mut output = Guarded::new("output", step.bytes, group.rank());
    let nanos = timed(|| group.recv(output.bytes_mut(), from))?;
    let expected = |at: usize, block: &mut [u8]| work::fill_input(step, from, at, block);
    Ok(checked(&output, step.dtype, expected).map(|()| nanos))
}

/// This rank's input.
fn own_input(group: &Group, step: &Step, what: &'static str) -> Guarded {
    let mut input = Guarded::new(what, work::input_bytes(step, group.size()), group.rank());
    work::fill_input(step, group.rank(), 0, input.bytes_mut());
    input
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
    let rank = group.rank();
    checked(input, step.dtype, |at, block| {
        work::fill_input(step, rank, at, block);
    })
}

fn timed(operation: impl FnOnce() -> Result<(), Error>) -> Result<u64, Error> {
    let started = Instant::now();
    operation()?;
    Ok(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX))
}
