//! A job from its checks to its last run.

use std::{io, time::Instant};

use anyhow::{Context, Result, ensure};
use mlx_core::distributed::{Backend, Group};
use rail_bench::protocol::{Event, Job, Phase, Strategy};

use crate::{
    collective::{Alone, Collective},
    generate::Session,
    weights::prompt,
};

/// Runs a job, and reports the events to `say`.
///
/// # Errors
/// The rank cannot run the job, MLX or jaccl fails, or `say` fails.
pub fn run(job: &Job, say: &mut dyn FnMut(Event) -> io::Result<()>) -> Result<()> {
    check(job)?;
    if job.strategy == Strategy::Single {
        return run_as(job, Alone, say);
    }
    say(Event::Phase { phase: Phase::Init })?;
    let group = Group::init(Backend::Jaccl, true).context("cannot join the other ranks")?;
    ensure!(
        (group.rank(), group.size()) == (job.rank, job.ranks),
        "the job is for rank {} of {}, but jaccl's environment makes this rank {} of {}; \
         make MLX_RANK and MLX_IBV_DEVICES agree with the job",
        job.rank,
        job.ranks,
        group.rank(),
        group.size()
    );
    run_as(job, group, say)
}

fn check(job: &Job) -> Result<()> {
    ensure!(
        job.rank < job.ranks,
        "there is no rank {} of {}",
        job.rank,
        job.ranks
    );
    ensure!(
        job.prompt_tokens > 0,
        "prompt_tokens is 0; a prompt has at least one token"
    );
    ensure!(
        job.generation_tokens > 0,
        "generation_tokens is 0; generate at least one token"
    );
    ensure!(
        job.model.vocab > 0 && job.model.layers > 0,
        "the model has no vocabulary or no layers"
    );
    match job.strategy {
        Strategy::Single => ensure!(job.ranks == 1, "single is one rank, not {}", job.ranks),
        Strategy::Tp => job.model.check_tensor_split(job.ranks)?,
        Strategy::Pp => job.model.check_pipeline_split(job.ranks)?,
    }
    Ok(())
}

/// The smaller of two margins, where NaN is smaller than any number: it must not be lost
/// among the others, as it would be with `f32::min`.
fn least(a: f32, b: f32) -> f32 {
    if a.is_nan() || a <= b { a } else { b }
}

fn run_as(
    job: &Job,
    ranks: impl Collective,
    say: &mut dyn FnMut(Event) -> io::Result<()>,
) -> Result<()> {
    say(Event::Phase { phase: Phase::Load })?;
    let mut session = Session::new(job.strategy, &job.model, job.seed, ranks)?;
    let prompt = prompt(job.seed, job.prompt_tokens, job.model.vocab);

    for run in 0..job.warmup + job.repeat {
        let warmup = run < job.warmup;
        say(Event::Phase {
            phase: if warmup { Phase::Warmup } else { Phase::Run },
        })?;

        session.barrier()?;
        let start = Instant::now();
        let mut choice = session.prefill(&prompt)?;
        let mut min_margin = choice.margin;
        for index in 0..job.generation_tokens {
            if index > 0 {
                choice = session.decode(choice.token)?;
                min_margin = least(min_margin, choice.margin);
            }
            say(Event::Token {
                run,
                index,
                id: choice.token,
                ns: start.elapsed().as_nanos() as u64,
            })?;
        }
        say(Event::Run {
            run,
            warmup,
            prompt_tokens: job.prompt_tokens,
            min_margin: Some(min_margin),
        })?;
    }
    say(Event::Done)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_that_is_not_a_number_is_never_lost() {
        for margins in [
            [f32::NAN, 0.5, 0.25],
            [0.5, f32::NAN, 0.25],
            [0.5, 0.25, f32::NAN],
        ] {
            let kept = margins.into_iter().reduce(least);
            assert!(kept.is_some_and(f32::is_nan), "{margins:?}");
        }
        assert_eq!(
            [0.5, 0.25, f32::INFINITY].into_iter().reduce(least),
            Some(0.25)
        );
    }
}
