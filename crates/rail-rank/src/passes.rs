//! Messages as the passes want them that show where a rank's time goes ([`Pass`]).

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use mlx_core::{Array, Dtype, Result, eval, evaluating};
use rail_bench::protocol::{Pass, Spent};

use crate::collective::{Absent, Collective};

/// Ranks whose messages can be left out, or be evaluated apart and timed.
#[derive(Debug)]
pub struct Watched<C> {
    ranks: C,
    /// None in measured runs: every message is then passed on as it is.
    pass: Cell<Option<Pass>>,
    waiting: Cell<Duration>,
    message: Cell<Duration>,
}

impl<C: Collective> Watched<C> {
    /// Ranks in no pass.
    pub fn new(ranks: C) -> Self {
        Self {
            ranks,
            pass: Cell::new(None),
            waiting: Cell::default(),
            message: Cell::default(),
        }
    }

    /// Begins a pass, or returns to measured runs.
    pub fn set_pass(&self, pass: Option<Pass>) {
        self.pass.set(pass);
    }

    /// Evaluates a message apart, after its input. `exchange` sends one number in the way of
    /// the message; see [`Pass::Apart`].
    fn apart(
        &self,
        input: Option<&Array>,
        exchange: impl Fn() -> Result<Array>,
        message: impl FnOnce() -> Result<Array>,
    ) -> Result<Array> {
        if let Some(input) = input {
            eval(&[input])?;
        }
        let (_, first) = evaluated(&exchange)?;
        let (_, second) = evaluated(&exchange)?;
        let (result, took) = evaluated(message)?;
        let waited = first.saturating_sub(second);
        self.waiting.set(self.waiting.get() + waited);
        self.message.set(self.message.get() + took);
        Ok(result)
    }

    fn absent(&self) -> Absent {
        Absent {
            rank: self.rank(),
            size: self.size(),
        }
    }

    fn sum_of_one(&self) -> Result<Array> {
        self.ranks.all_sum(&one()?)
    }
}

fn one() -> Result<Array> {
    Array::from_slice(&[1f32], &[1])
}

fn evaluated(make: impl FnOnce() -> Result<Array>) -> Result<(Array, Duration)> {
    let began = Instant::now();
    let array = make()?;
    eval(&[&array])?;
    Ok((array, began.elapsed()))
}

impl<C: Collective> Collective for Watched<C> {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn all_sum(&self, x: &Array) -> Result<Array> {
        match self.pass.get() {
            None => self.ranks.all_sum(x),
            Some(Pass::Without) => self.absent().all_sum(x),
            Some(Pass::Apart) => {
                self.apart(Some(x), || self.sum_of_one(), || self.ranks.all_sum(x))
            }
        }
    }

    fn all_gather(&self, x: &Array) -> Result<Array> {
        match self.pass.get() {
            None => self.ranks.all_gather(x),
            Some(Pass::Without) => self.absent().all_gather(x),
            Some(Pass::Apart) => {
                self.apart(Some(x), || self.sum_of_one(), || self.ranks.all_gather(x))
            }
        }
    }

    fn send(&self, x: &Array, destination: usize) -> Result<Array> {
        let send = |x: &Array| self.ranks.send(x, destination);
        match self.pass.get() {
            None => send(x),
            Some(Pass::Without) => self.absent().send(x, destination),
            Some(Pass::Apart) => self.apart(Some(x), || send(&one()?), || send(x)),
        }
    }

    fn recv(&self, shape: &[i32], dtype: Dtype, source: usize) -> Result<Array> {
        let recv = |shape: &[i32], dtype| self.ranks.recv(shape, dtype, source);
        match self.pass.get() {
            None => recv(shape, dtype),
            Some(Pass::Without) => self.absent().recv(shape, dtype, source),
            Some(Pass::Apart) => {
                self.apart(None, || recv(&[1], Dtype::Float32), || recv(shape, dtype))
            }
        }
    }
}

/// Takes the time of one token after the other.
pub(crate) struct Stopwatch {
    since: Instant,
    evaluating: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            since: Instant::now(),
            evaluating: evaluating(),
        }
    }

    /// What has been spent since the lap before, of which these ranks know the messages.
    pub(crate) fn lap<C>(&mut self, ranks: &Watched<C>) -> Spent {
        let nanos = |time: Duration| time.as_nanos() as u64;
        let (now, evaluating) = (Instant::now(), evaluating());
        let spent = Spent {
            ns: nanos(now - self.since),
            evaluating_ns: nanos(evaluating - self.evaluating),
            waiting_ns: nanos(ranks.waiting.take()),
            message_ns: nanos(ranks.message.take()),
        };
        (self.since, self.evaluating) = (now, evaluating);
        spent
    }
}
