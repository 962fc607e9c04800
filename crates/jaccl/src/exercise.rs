//! Runs a [`Job`] and checks every byte that comes out.
//!
//! Inputs are a function of rank, repetition and position, so every rank knows
//! what every other put in. Outputs lie between guard zones that differ per rank:
//! a message that lands in the wrong place cannot look like an intact guard.

use std::{fmt::Debug, ops::Add, time::Instant};

use crate::{
    Config, Dtype, Element, Error, Group, Job, Library, Operation, Reduction, Report, Step,
};

/// Bytes on either side of an output; a multiple of every element's size.
const GUARD: usize = 256;

/// Joins the group, does the steps and reports on each. Stops at the first step
/// that goes wrong, since what follows it proves nothing.
pub fn run(job: &Job, mut report: impl FnMut(Report)) {
    let last = match join_and_run(job, &mut report) {
        Ok(Some(fault)) => fault,
        Ok(None) => Report::Done,
        Err(error) => Report::Error {
            message: error.to_string(),
        },
    };
    report(last);
}

/// Gives the first fault, if there was one.
fn join_and_run(job: &Job, report: &mut impl FnMut(Report)) -> Result<Option<Report>, Error> {
    let group = Library::open(&job.library)?.init(&Config {
        rank: job.rank,
        coordinator: job.coordinator.clone(),
        devices: job.devices.clone(),
        prefer_ring: job.prefer_ring,
    })?;
    report(Report::Joined);
    let mut rank = Rank { group, job };
    for (step, wanted) in job.steps.iter().enumerate() {
        let mut nanos = Vec::with_capacity(wanted.repeat as usize);
        for repetition in 0..wanted.repeat {
            match rank.perform(wanted, repetition)? {
                Ok(time) => nanos.push(time),
                Err(Fault::Wrong(detail)) => return Ok(Some(Report::Wrong { step, detail })),
                Err(Fault::Overrun(detail)) => return Ok(Some(Report::Overrun { step, detail })),
            }
        }
        report(Report::Pass { step, nanos });
    }
    Ok(None)
}

/// What a check found.
enum Fault {
    Wrong(String),
    Overrun(String),
}

/// How long an operation took, in nanoseconds, or what was wrong with its result.
type Outcome = Result<u64, Fault>;

/// Numbers small enough that their sums are exact in every type.
trait Sample: Element + PartialOrd + Add<Output = Self> + Debug {
    /// The number, in this type.
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

/// This rank, at work.
struct Rank<'a> {
    group: Group,
    job: &'a Job,
}

impl Rank<'_> {
    fn perform(&mut self, step: &Step, repetition: u32) -> Result<Outcome, Error> {
        match step.operation {
            Operation::AllReduce { reduction, dtype } => {
                let reduce = match dtype {
                    Dtype::Int8 => Self::all_reduce::<i8>,
                    Dtype::Int16 => Self::all_reduce::<i16>,
                    Dtype::Int32 => Self::all_reduce::<i32>,
                    Dtype::Int64 => Self::all_reduce::<i64>,
                    Dtype::UInt8 => Self::all_reduce::<u8>,
                    Dtype::UInt16 => Self::all_reduce::<u16>,
                    Dtype::UInt32 => Self::all_reduce::<u32>,
                    Dtype::UInt64 => Self::all_reduce::<u64>,
                    Dtype::Float32 => Self::all_reduce::<f32>,
                    Dtype::Float64 => Self::all_reduce::<f64>,
                    Dtype::Bool | Dtype::Float16 | Dtype::BFloat16 | Dtype::Complex64 => {
                        return Err(Error::Unchecked { dtype });
                    }
                };
                reduce(self, reduction, step.bytes, repetition)
            }
            Operation::AllGather => self.all_gather(step.bytes, repetition),
            Operation::Send { from, to } => self.send(from, to, step.bytes, repetition),
        }
    }

    fn all_reduce<T: Sample>(
        &mut self,
        reduction: Reduction,
        bytes: usize,
        repetition: u32,
    ) -> Result<Outcome, Error> {
        let size = size_of::<T>();
        if !bytes.is_multiple_of(size) {
            let dtype = T::DTYPE;
            return Err(Error::Ragged { bytes, dtype, size });
        }
        let length = bytes / size;
        let rank = self.job.rank;
        let input: Vec<T> = (0..length).map(|i| small(rank, repetition, i)).collect();
        let mut output = Guarded::new(length, rank);
        let nanos = self.timed(|group| match reduction {
            Reduction::Sum => group.all_sum(&input, output.output()),
            Reduction::Max => group.all_max(&input, output.output()),
            Reduction::Min => group.all_min(&input, output.output()),
        })?;
        let combine = |a: T, b: T| match reduction {
            Reduction::Sum => a + b,
            Reduction::Max if b > a => b,
            Reduction::Min if b < a => b,
            Reduction::Max | Reduction::Min => a,
        };
        let expected = |i| {
            (1..self.group.size())
                .map(|rank| small(rank, repetition, i))
                .fold(small(0, repetition, i), combine)
        };
        Ok(output.check(expected).map(|()| nanos))
    }

    fn all_gather(&mut self, bytes: usize, repetition: u32) -> Result<Outcome, Error> {
        let rank = self.job.rank;
        let input: Vec<u8> = (0..bytes).map(|i| byte(rank, repetition, i)).collect();
        let mut output = Guarded::new(bytes * self.group.size(), rank);
        let nanos = self.timed(|group| group.all_gather(&input, output.output()))?;
        let expected = |i| byte(i / bytes, repetition, i % bytes);
        Ok(output.check(expected).map(|()| nanos))
    }

    fn send(
        &mut self,
        from: usize,
        to: usize,
        bytes: usize,
        repetition: u32,
    ) -> Result<Outcome, Error> {
        let rank = self.job.rank;
        if rank == from {
            let input: Vec<u8> = (0..bytes).map(|i| byte(from, repetition, i)).collect();
            Ok(Ok(self.timed(|group| group.send(&input, to))?))
        } else if rank == to {
            let mut output = Guarded::new(bytes, rank);
            let nanos = self.timed(|group| group.recv(output.output(), from))?;
            Ok(output.check(|i| byte(from, repetition, i)).map(|()| nanos))
        } else {
            Ok(Ok(self.timed(|_| Ok(()))?))
        }
    }

    /// Runs an operation whose input is ready, after waiting for the other ranks
    /// to be ready too if the job says so.
    fn timed(
        &mut self,
        operation: impl FnOnce(&mut Group) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        if self.job.synchronise {
            self.group.all_sum(&[0_u64], &mut [0_u64])?;
        }
        let started = Instant::now();
        operation(&mut self.group)?;
        Ok(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
