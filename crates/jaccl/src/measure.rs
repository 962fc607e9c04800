//! Times an operation that is called back to back.

use std::time::Instant;

use crate::{
    Dtype, Error, Group, Measure, Operation, Reduction, Report, Step,
    guarded::{Fault, Guarded},
    work,
};

/// What waits for the other ranks: an all-reduce of so many bytes.
const MEETING: usize = 64;

/// What this rank does in a step.
#[derive(Clone, Copy)]
enum Part {
    Collective,
    /// Sends to this rank, and receives as much from it.
    Sends(usize),
    /// Receives from this rank, and sends as much to it.
    Receives(usize),
    Nothing,
}

impl Part {
    fn of(operation: Operation, rank: usize) -> Self {
        match operation {
            Operation::Send { from, to } if rank == from => Part::Sends(to),
            Operation::Send { from, to } if rank == to => Part::Receives(from),
            Operation::Send { .. } => Part::Nothing,
            _ => Part::Collective,
        }
    }
}

pub fn measure(group: &mut Group, measure: &Measure) -> Result<Report, Error> {
    let Measure {
        step,
        warmup,
        iterations,
    } = *measure;
    work::expect_whole(&step)?;
    let (rank, ranks) = (group.rank(), group.size());
    let part = Part::of(step.operation, rank);
    let other = Step {
        salt: step.salt.wrapping_add(1),
        ..step
    };
    // By turns, so that a message of the iteration before is no right one.
    let steps = [step, other];
    let of_turn = |turn: usize| &steps[turn % 2];
    let inputs = steps.map(|step| {
        let mut input = Guarded::new("input", work::input_bytes(&step, ranks), rank);
        work::fill_input(&step, rank, 0, input.bytes_mut());
        input
    });
    let output = || Guarded::new("output", work::output_bytes(&step, ranks), rank);
    let mut outputs = [output(), output(), output()];
    let turns = warmup + iterations;
    meet(group)?;
    let nanos = match part {
        Part::Nothing => Vec::new(),
        part => timed(warmup, iterations, |turn| {
            let input = inputs[turn % 2].bytes();
            let output = outputs[place(turn, turns)].bytes_mut();
            match part {
                Part::Sends(peer) => {
                    group.send(input, peer)?;
                    group.recv(output, peer)
                }
                Part::Receives(peer) => {
                    group.recv(output, peer)?;
                    group.send(input, peer)
                }
                _ => work::call(group, &step, input, output),
            }
        })?,
    };
    let (mut wrong, mut detail) = (0, None);
    let mut check = |memory: &Guarded, expected: &dyn Fn(usize, &mut [u8])| {
        memory.check_guards()?;
        let (more, first) = memory.wrong(step.dtype, expected);
        wrong += more;
        detail = detail.take().or(first);
        Ok(())
    };
    let mut checks = || {
        for (input, step) in inputs.iter().zip(&steps) {
            check(input, &|at, block| work::fill_input(step, rank, at, block))?;
        }
        for turn in last_in_each(turns) {
            let step = of_turn(turn);
            check(&outputs[place(turn, turns)], &|at, block| match part {
                Part::Sends(peer) | Part::Receives(peer) => {
                    work::fill_input(step, peer, at, block);
                }
                _ => work::fill_output(step, (rank, ranks), at, block),
            })?;
        }
        Ok(())
    };
    if !matches!(part, Part::Nothing)
        && let Err(Fault::Overrun(detail) | Fault::Wrong(detail)) = checks()
    {
        return Ok(Report::Overrun { step: 0, detail });
    }
    Ok(Report::Measured {
        nanos,
        wrong,
        detail,
    })
}

/// The output of a turn: the first and the last have one of their own.
fn place(turn: usize, turns: usize) -> usize {
    match turn {
        turn if turn + 1 == turns => 2,
        0 => 0,
        _ => 1,
    }
}

/// The last turn of each output that was used.
fn last_in_each(turns: usize) -> impl Iterator<Item = usize> {
    let first = (turns > 1).then_some(0);
    let between = (turns > 2).then(|| turns - 2);
    [first, between, turns.checked_sub(1)].into_iter().flatten()
}

/// Waits for the other ranks, which may still prepare their buffers.
fn meet(group: &mut Group) -> Result<(), Error> {
    let mut buffer = [0_u64; MEETING / size_of::<u64>()];
    let bytes = bytemuck::cast_slice_mut(&mut buffer);
    group.all_reduce_in_place(Reduction::Sum, Dtype::UInt8, bytes)
}

/// Takes turns, and returns the time of each after the first `warmup`, in nanoseconds.
fn timed(
    warmup: usize,
    iterations: usize,
    mut turn: impl FnMut(usize) -> Result<(), Error>,
) -> Result<Vec<u64>, Error> {
    for number in 0..warmup {
        turn(number)?;
    }
    let mut nanos = Vec::with_capacity(iterations);
    let mut before = Instant::now();
    for number in warmup..warmup + iterations {
        turn(number)?;
        let now = Instant::now();
        nanos.push(u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX));
        before = now;
    }
    Ok(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_turn_have_outputs_of_their_own() {
        for turns in 1..6 {
            let places: Vec<_> = (0..turns).map(|turn| place(turn, turns)).collect();
            let shared = |it: usize| places.iter().filter(|place| **place == it).count() > 1;
            assert!(
                !shared(places[0]) && !shared(places[turns - 1]),
                "{places:?}"
            );
            for turn in last_in_each(turns) {
                let later = &places[turn + 1..];
                assert!(!later.contains(&places[turn]), "{turn} of {places:?}");
            }
            let checked = last_in_each(turns).map(|turn| places[turn]);
            let mut used = places.clone();
            used.sort_unstable();
            used.dedup();
            let mut checked: Vec<_> = checked.collect();
            checked.sort_unstable();
            assert_eq!(checked, used);
        }
        assert_eq!(last_in_each(0).count(), 0);
    }

    #[test]
    fn warming_up_is_not_timed() {
        let mut turns = Vec::new();
        let nanos = timed(2, 3, |turn| {
            turns.push(turn);
            Ok(())
        });
        assert_eq!(nanos.map(|it| it.len()).ok(), Some(3));
        assert_eq!(turns, [0, 1, 2, 3, 4]);
    }
}
