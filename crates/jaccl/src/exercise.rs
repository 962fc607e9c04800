//! Runs a [`Job`] and checks every byte that comes out.
//!
//! Inputs are a function of rank, repetition and position, so every rank knows
//! what every other put in. Outputs lie between guard zones that differ per rank:
//! a message that lands in the wrong place cannot look like an intact guard.

use std::time::Instant;

use crate::{Dtype, Element, Error, Group, Job, Library, Operation, Reduction, Report, Step};

/// Bytes on either side of an output; a multiple of every element's size.
const GUARD: usize = 256;

/// Joins the group, does the steps and reports on each. Stops at the first step
/// that goes wrong, since what follows it proves nothing.
pub fn run(job: &Job, mut report: impl FnMut(Report)) {
    match join_and_run(job, &mut report) {
        Ok(true) => report(Report::Done),
        Ok(false) => {}
        Err(error) => report(Report::Error {
            message: error.to_string(),
        }),
    }
}

fn join_and_run(job: &Job, report: &mut impl FnMut(Report)) -> Result<bool, Error> {
    let mut group = Library::open(&job.library)?.init(&crate::Config {
        rank: job.rank,
        coordinator: job.coordinator.clone(),
        devices: job.devices.clone(),
        prefer_ring: job.prefer_ring,
    })?;
    report(Report::Joined);
    for (index, step) in job.steps.iter().enumerate() {
        let outcome = match step.operation {
            Operation::AllReduce { reduction, dtype } => {
                all_reduce_of(&mut group, job, step, reduction, dtype)?
            }
            Operation::AllGather => all_gather(&mut group, job, step)?,
            Operation::Send { from, to } => send(&mut group, job, step, from, to)?,
        };
        let failed = outcome.is_err();
        report(match outcome {
            Ok(nanos) => Report::Pass { step: index, nanos },
            Err(Fault::Wrong(detail)) => Report::Wrong {
                step: index,
                detail,
            },
            Err(Fault::Overrun(detail)) => Report::Overrun {
                step: index,
                detail,
            },
        });
        if failed {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a check found.
enum Fault {
    Wrong(String),
    Overrun(String),
}

/// The time each repetition took, or the first fault.
type Outcome = Result<Vec<u64>, Fault>;

/// Numbers small enough that their sums are exact in every type.
trait Sample: Element + PartialEq + std::fmt::Debug {
    fn of(value: u8) -> Self;
}

macro_rules! samples {
    ($($rust:ty),*) => {
        $(impl Sample for $rust {
            fn of(value: u8) -> Self {
                value as $rust
            }
        })*
    };
}

samples!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

/// The byte that a rank puts at a position, in 0..=255.
fn byte(rank: usize, repetition: u32, position: usize) -> u8 {
    let mixed = (position as u64)
        .wrapping_add((rank as u64) << 40)
        .wrapping_add(u64::from(repetition) << 48)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

/// A small element for reductions: eight ranks' sum still fits seven bits.
fn small<T: Sample>(rank: usize, repetition: u32, position: usize) -> T {
    T::of(byte(rank, repetition, position) % 16)
}

/// An output between two guard zones.
struct Guarded<T> {
    elements: Vec<T>,
    margin: usize,
    fill: T,
}

impl<T: Sample> Guarded<T> {
    fn new(length: usize, rank: usize) -> Self {
        let margin = GUARD / size_of::<T>();
        let fill = T::of(100 + rank as u8);
        Guarded {
            elements: vec![fill; length + 2 * margin],
            margin,
            fill,
        }
    }

    fn output(&mut self) -> &mut [T] {
        let end = self.elements.len() - self.margin;
        &mut self.elements[self.margin..end]
    }

    /// Compares the output with what it should be, and the guards with what they
    /// were.
    fn check(&self, expected: impl Fn(usize) -> T) -> Result<(), Fault> {
        let (before, rest) = self.elements.split_at(self.margin);
        let (output, after) = rest.split_at(rest.len() - self.margin);
        for (guard, place) in [(before, "before"), (after, "behind")] {
            if guard.iter().any(|element| *element != self.fill) {
                return Err(Fault::Overrun(format!(
                    "bytes {place} the output were written"
                )));
            }
        }
        match output
            .iter()
            .enumerate()
            .find(|(position, got)| **got != expected(*position))
        {
            None => Ok(()),
            Some((position, got)) => Err(Fault::Wrong(format!(
                "element {position} of {} is {got:?}, not {:?}",
                output.len(),
                expected(position)
            ))),
        }
    }
}

fn all_reduce_of(
    group: &mut Group,
    job: &Job,
    step: &Step,
    reduction: Reduction,
    dtype: Dtype,
) -> Result<Outcome, Error> {
    match dtype {
        Dtype::Int8 => all_reduce::<i8>(group, job, step, reduction),
        Dtype::Int16 => all_reduce::<i16>(group, job, step, reduction),
        Dtype::Int32 => all_reduce::<i32>(group, job, step, reduction),
        Dtype::Int64 => all_reduce::<i64>(group, job, step, reduction),
        Dtype::UInt8 => all_reduce::<u8>(group, job, step, reduction),
        Dtype::UInt16 => all_reduce::<u16>(group, job, step, reduction),
        Dtype::UInt32 => all_reduce::<u32>(group, job, step, reduction),
        Dtype::UInt64 => all_reduce::<u64>(group, job, step, reduction),
        Dtype::Float32 => all_reduce::<f32>(group, job, step, reduction),
        Dtype::Float64 => all_reduce::<f64>(group, job, step, reduction),
        Dtype::Bool | Dtype::Float16 | Dtype::BFloat16 | Dtype::Complex64 => {
            Err(Error::Unchecked { dtype })
        }
    }
}

fn all_reduce<T: Sample + PartialOrd + std::ops::Add<Output = T>>(
    group: &mut Group,
    job: &Job,
    step: &Step,
    reduction: Reduction,
) -> Result<Outcome, Error> {
    let length = step.bytes / size_of::<T>();
    let ranks = group.size();
    repeat(group, job, step, |group, repetition| {
        let input: Vec<T> = (0..length)
            .map(|i| small(job.rank, repetition, i))
            .collect();
        let mut output = Guarded::new(length, job.rank);
        let started = Instant::now();
        match reduction {
            Reduction::Sum => group.all_sum(&input, output.output())?,
            Reduction::Max => group.all_max(&input, output.output())?,
            Reduction::Min => group.all_min(&input, output.output())?,
        }
        let nanos = elapsed(started);
        let combine = |a: T, b: T| match reduction {
            Reduction::Sum => a + b,
            Reduction::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
            Reduction::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
        };
        let expected = |i| {
            (1..ranks).fold(small(0, repetition, i), |sum, rank| {
                combine(sum, small(rank, repetition, i))
            })
        };
        Ok(output.check(expected).map(|()| nanos))
    })
}

fn all_gather(group: &mut Group, job: &Job, step: &Step) -> Result<Outcome, Error> {
    let ranks = group.size();
    repeat(group, job, step, |group, repetition| {
        let input: Vec<u8> = (0..step.bytes)
            .map(|i| byte(job.rank, repetition, i))
            .collect();
        let mut output = Guarded::new(step.bytes * ranks, job.rank);
        let started = Instant::now();
        group.all_gather(&input, output.output())?;
        let nanos = elapsed(started);
        let expected = |i| byte(i / step.bytes, repetition, i % step.bytes);
        Ok(output.check(expected).map(|()| nanos))
    })
}

fn send(
    group: &mut Group,
    job: &Job,
    step: &Step,
    from: usize,
    to: usize,
) -> Result<Outcome, Error> {
    repeat(group, job, step, |group, repetition| {
        if job.rank == from {
            let input: Vec<u8> = (0..step.bytes).map(|i| byte(from, repetition, i)).collect();
            let started = Instant::now();
            group.send(&input, to)?;
            Ok(Ok(elapsed(started)))
        } else if job.rank == to {
            let mut output = Guarded::new(step.bytes, job.rank);
            let started = Instant::now();
            group.recv(output.output(), from)?;
            let nanos = elapsed(started);
            Ok(output.check(|i| byte(from, repetition, i)).map(|()| nanos))
        } else {
            Ok(Ok(0))
        }
    })
}

fn repeat(
    group: &mut Group,
    job: &Job,
    step: &Step,
    mut once: impl FnMut(&mut Group, u32) -> Result<Result<u64, Fault>, Error>,
) -> Result<Outcome, Error> {
    let mut nanos = Vec::with_capacity(step.repeat as usize);
    for repetition in 0..step.repeat {
        if job.synchronise {
            group.all_sum(&[0_u64], &mut [0_u64])?;
        }
        match once(group, repetition)? {
            Ok(time) => nanos.push(time),
            Err(fault) => return Ok(Err(fault)),
        }
    }
    Ok(Ok(nanos))
}

fn elapsed(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
